/** The edge to HTTP: one request, one answer, within one time limit. Retries are not its business. */
import type { LookupFunction } from 'node:net';
import { errors } from 'undici';
import type { Clock } from '../clock.js';
import type { Endpoint } from '../endpoint.js';
import { messageOf } from '../errors.js';
import { printable } from '../printable.js';
import type { Outcome, UnreachableCause } from '../vocabulary.js';
import { Connections, KEEP_ALIVE_MS } from './connections.js';
import { ANSWER_BYTES_MAX, type Answer, type Ending, Exchange } from './exchange.js';
import type { WebhookRequest } from './request.js';
import { answeredAtMs, retryAfterMs } from './retry-policy.js';

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
  /** Never rejects: whatever goes wrong is an outcome. */
  send(request: WebhookRequest): Promise<Outcome>;
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
    if (ending.kind === 'answered' || ending.status !== null) return false;
    const wasIdle = clock.monotonicMs() - lastAnswerAtMs <= KEEP_ALIVE_MS;
    return wasIdle && !connections.isClosed && causeOf(ending.error) === 'connection_reset';
  }

  async function send({ method, path, headers, body }: WebhookRequest): Promise<Outcome> {
    const endpoint = current();
    const options = { method, path, headers, body } as const;
    const dispatched = () => {
      const exchange = new Exchange();
      connections.pool().dispatch(options, exchange);
      return exchange;
    };
    let exchange = dispatched();
    let isTooLate = false;
    const cancel = clock.after(endpoint.timeoutMs, () => {
      isTooLate = true;
      exchange.abort(new Error('the time limit of the attempt'));
    });
    let ending = await exchange.ended;
    if (!isTooLate && isWorthRepeating(ending)) {
      exchange = dispatched();
      ending = await exchange.ended;
    }
    cancel();
    if (ending.kind === 'answered') {
      lastAnswerAtMs = clock.monotonicMs();
      return outcomeOf(ending.answer, endpoint, clock.nowMs());
    }
    const cause = causeOf(ending.error);
    // A proxy that has not answered in time has said so itself.
    if (isTooLate && cause !== 'proxy') return tooLate(ending.status, endpoint.timeoutMs);
    if (connections.isClosed) {
      const detail = 'broken off by a stop of the relay';
      return { kind: 'unreachable', cause: 'stopped', code: '', detail };
    }
    const detail = printable(messageOf(ending.error));
    return { kind: 'unreachable', cause, code: codeOf(ending.error), detail };
  }

  return { send, close: () => connections.close() };
}

/** `status`: of an answer that did not end; null when there was none. */
function tooLate(status: number | null, timeoutMs: number): Outcome {
  const what = status === null ? 'no answer' : `answered ${status}, but no end of the answer`;
  const detail = `${what} within ${timeoutMs} ms`;
  return { kind: 'unreachable', cause: 'timeout', code: '', detail };
}

function outcomeOf(
  { status, retryAfter, location, date, bodyChunks }: Answer,
  endpoint: Endpoint,
  nowMs: number,
): Outcome {
  const text = Buffer.concat(bodyChunks).subarray(0, ANSWER_BYTES_MAX).toString();
  const answer = text === '' ? '' : shown(text, endpoint);
  if (status >= 200 && status < 300) return { kind: 'accepted', status, answer };
  return {
    kind: 'refused',
    status,
    retryAfterMs: retryAfterMs(status, retryAfter, answeredAtMs(date, nowMs)),
    location: shownLocation(location, endpoint),
    answer,
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

const CAUSES: Readonly<Record<string, UnreachableCause>> = {
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ECONNREFUSED: 'connection_refused',
  ECONNRESET: 'connection_reset',
  EPIPE: 'connection_reset',
  UND_ERR_SOCKET: 'connection_reset',
  UND_ERR_HEADERS_OVERFLOW: 'protocol',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'protocol',
  ERR_PROXY: 'proxy',
  ERR_REFUSED_ADDRESS: 'refused_address',
};

/** The codes of OpenSSL's certificate checks, as Node names them. */
const TLS_CODE = /CERT|SSL|TLS|SIGNATURE|ISSUER|CRL/;

/** Of Node or OpenSSL; empty when there is none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

export function causeOf(error: unknown): UnreachableCause {
  const code = codeOf(error);
  const known = CAUSES[code];
  if (known !== undefined) return known;
  if (error instanceof errors.HTTPParserError) return 'protocol';
  return TLS_CODE.test(code) ? 'tls' : 'network';
}
