/** The edge to HTTP: one request, one answer, within one time limit. Retries are not its business. */
import type { LookupFunction } from 'node:net';
import type { Clock } from '../clock.js';
import type { Endpoint } from '../endpoint.js';
import { messageOf } from '../errors.js';
import { printable } from '../printable.js';
import type { Outcome, Prevented, ResponseFaults } from '../vocabulary.js';
import { Connections, KEEP_ALIVE_MS } from './connections.js';
import { type Answer, type Ending, Exchange } from './exchange.js';
import { CONNECT_TIMEOUT_CODE, causeOf, codeOf, preventionOf } from './failure.js';
import type { WebhookRequest } from './request.js';
import { answeredAtMs, readRetryAfter } from './retry-policy.js';

/** What is shown of an answer's body. */
const ANSWER_CHARS_LOGGED_MAX = 200;

/** Shown instead of an answer that repeats what the relay has sent, as debug pages do. */
const WITHHELD = '[withheld: it repeats a header or the query of this endpoint]';

/**
 * A run of letters and digits in a value that gives it away. Runs, since an answer may escape what
 * stands between them; a short one already, since a token may be short.
 */
const TELLING_RUN = /[\p{L}\p{N}]{4,}/gu;

/** Less in a query is a switch or a version, such as 1. */
const QUERY_VALUE_CHARS_MIN = 4;

/** Authentication schemes and switches: no secret, and common in answers. */
const COMMON_WORD = /^(bearer|basic|token|true|false)$/i;

/** So much of a run gives it away, also where the answer is cut in its middle. */
const TELLING_CHARS = 16;

export interface Sender {
  /** Never rejects: whatever goes wrong is an outcome, or has prevented the attempt. */
  send(request: WebhookRequest): Promise<Outcome | Prevented>;
  /** Breaks off what is under way. */
  close(): Promise<void>;
}

/** @param current the endpoint as it is now: its certificates and headers may change */
export function createSender(
  current: () => Endpoint,
  clock: Clock,
  lookup: LookupFunction,
): Sender {
  const connections = new Connections(current, clock, lookup);
  let lastAnswerAtMs = Number.NEGATIVE_INFINITY;

  /**
   * A receiver may close an idle connection just as it is used again. It has not seen the request
   * then, so that sending it once more is still the same attempt.
   */
  function isWorthRepeating(ending: Ending): boolean {
    if (ending.kind === 'answered' || ending.hasBegun) return false;
    const wasIdle = clock.monotonicMs() - lastAnswerAtMs <= KEEP_ALIVE_MS;
    return wasIdle && !connections.isClosed && causeOf(ending.error) === 'connection_reset';
  }

  async function send({
    method,
    path,
    headers,
    body,
  }: WebhookRequest): Promise<Outcome | Prevented> {
    const endpoint = current();
    const options = { method, path, headers, body } as const;
    const dispatched = () => {
      const exchange = new Exchange();
      connections.dispatch(options, exchange);
      return exchange;
    };
    let exchange = dispatched();
    let isTooLate = false;
    const cancel = clock.after(endpoint.timeoutMs, async () => {
      // A process that stood still reads first what has come meanwhile.
      await clock.turn();
      isTooLate = true;
      exchange.abort(new Error('the time limit of the attempt'));
    });
    let ending = await exchange.ended;
    if (!isTooLate && isWorthRepeating(ending)) {
      exchange = dispatched();
      ending = await exchange.ended;
    }
    cancel();
    const { answer, error } = ending;
    if (answer !== null) {
      lastAnswerAtMs = clock.monotonicMs();
      const malformed = malformedText(ending, isTooLate, endpoint);
      return outcomeOf(answer, malformed, endpoint, clock.nowMs());
    }
    const prevention = preventionOf(error);
    if (prevention !== null) return prevention;
    const cause = causeOf(error);
    // A proxy that has not answered in time has said so itself.
    if ((isTooLate && cause !== 'proxy') || codeOf(error) === CONNECT_TIMEOUT_CODE) {
      const detail = `no answer within ${endpoint.timeoutMs} ms`;
      return { kind: 'unreachable', cause: 'timeout', code: '', detail };
    }
    if (connections.isClosed) {
      const detail = 'broken off by a stop of the relay';
      return { kind: 'unreachable', cause: 'stopped', code: '', detail };
    }
    return { kind: 'unreachable', cause, code: codeOf(error), detail: printable(messageOf(error)) };
  }

  return { send, close: () => connections.close() };
}

/** Why an answer whose status was read did not come to its end; null when it did. */
function malformedText(ending: Ending, isTooLate: boolean, endpoint: Endpoint): string | null {
  if (ending.kind === 'answered') return null;
  if (isTooLate) return `no end of it within ${endpoint.timeoutMs} ms`;
  return printable(messageOf(ending.error));
}

function outcomeOf(
  { status, retryAfter, location, date, bodyChunks }: Answer,
  malformed: string | null,
  endpoint: Endpoint,
  nowMs: number,
): Outcome {
  const text = Buffer.concat(bodyChunks).toString();
  const answer = text === '' ? '' : shown(text, endpoint);
  const faults: ResponseFaults = malformed === null ? {} : { malformed };
  if (status >= 200 && status < 300) return { kind: 'accepted', status, answer, ...faults };
  const wait = readRetryAfter(status, retryAfter, answeredAtMs(date, nowMs));
  return {
    kind: 'refused',
    status,
    retryAfterMs: wait.kind === 'wait' ? wait.ms : null,
    location: shownLocation(location, endpoint),
    answer,
    ...faults,
    ...(wait.kind === 'unreadable' ? { unreadableRetryAfter: shown(wait.text, endpoint) } : {}),
  };
}

/** Of where an answer sends us: its login and query may be secret, and its path repeat a header. */
function shownLocation(header: string | undefined, endpoint: Endpoint): string | null {
  if (header === undefined || !URL.canParse(header, endpoint.url.href)) return null;
  const { protocol, origin, pathname, search } = new URL(header, endpoint.url);
  if (!/^https?:$/.test(protocol)) return null;
  const text = shown(`${origin}${pathname}${search === '' ? '' : '?…'}`, endpoint);
  return text === WITHHELD ? null : text;
}

/** What is shown of an answer's body. */
function shown(text: string, { headers, url }: Endpoint): string {
  const repeatsSecret = Object.values(headers)
    .flatMap((value) => [value.reveal(), ...passwordIn(value.reveal())])
    .concat(valuesInQuery(url))
    .flatMap((value) => value.match(TELLING_RUN) ?? [value])
    .filter((run) => !COMMON_WORD.test(run))
    .some((run) => text.includes(run.slice(0, TELLING_CHARS)));
  return repeatsSecret ? WITHHELD : printable(text, ANSWER_CHARS_LOGGED_MAX);
}

/** What a header of basic authentication holds in base64. */
function passwordIn(header: string): string[] {
  const [, base64] = /^basic (\S+)$/i.exec(header) ?? [];
  if (base64 === undefined) return [];
  const [, password = ''] = /:(.*)$/s.exec(Buffer.from(base64, 'base64').toString()) ?? [];
  return password === '' ? [] : [password];
}

/** As they stand in the URL, and as a receiver reads them; a name where it is all there is. */
function valuesInQuery({ search, searchParams }: URL): string[] {
  const sent = search
    .slice(1)
    .split('&')
    .map((pair) => pair.slice(pair.indexOf('=') + 1));
  const read = Array.from(searchParams, ([name, value]) => (value === '' ? name : value));
  return [...sent, ...read].filter((value) => value.length >= QUERY_VALUE_CHARS_MIN);
}
