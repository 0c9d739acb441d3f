/** The HTTP client: one request, one response, one time limit. It does not retry. */
import type { LookupFunction } from 'node:net';
import type { Clock } from '../lib/clock.js';
import type { Endpoint } from '../model/endpoint.js';
import { codeOf, messageOf } from '../model/errors.js';
import type { Outcome, Prevented, ResponseFaults } from '../model/vocabulary.js';
import { Connections, KEEP_ALIVE_MS } from './connections.js';
import { type Answer, type Ending, Exchange } from './exchange.js';
import { CONNECT_TIMEOUT_CODE, preventionOf, unreachableReason } from './failure.js';
import { redact, repeatedCredential } from './redaction.js';
import type { WebhookRequest } from './request.js';
import { ResponseHeadError } from './response-reader.js';
import { readRetryAfter, receiverTimeMs } from './retry-policy.js';

export interface Sender {
  /** Never rejects: a failure is an outcome, or has prevented the attempt. */
  send(request: WebhookRequest): Promise<Outcome | Prevented>;
  /** Cancels requests in progress. */
  close(): Promise<void>;
}

/** @param current returns the endpoint with its current certificates and headers */
export function createSender(
  current: () => Endpoint,
  clock: Clock,
  lookup: LookupFunction,
): Sender {
  const connections = new Connections(current, clock, lookup);
  let lastAnswerAtMs = Number.NEGATIVE_INFINITY;

  /**
   * A receiver may close an idle connection just as it is reused. It has not seen the request in that case: sending
   * again belongs to the same attempt.
   */
  function isWorthRepeating(ending: Ending): boolean {
    if (ending.kind === 'answered' || ending.hasBegun) return false;
    const wasIdle = clock.monotonicMs() - lastAnswerAtMs <= KEEP_ALIVE_MS;
    return (
      wasIdle && !connections.isClosed && unreachableReason(ending.error) === 'connection_reset'
    );
  }

  async function send({
    method,
    path,
    headers,
    body,
  }: WebhookRequest): Promise<Outcome | Prevented> {
    const endpoint = current();
    const options = { method, path, headers, body } as const;
    const dispatch = () => {
      const exchange = new Exchange();
      connections.dispatch(options, exchange);
      return exchange;
    };
    let exchange = dispatch();
    let isTooLate = false;
    const cancel = clock.after(endpoint.timeoutMs, async () => {
      // After a pause of the process, first reads the data that arrived meanwhile.
      await clock.turn();
      isTooLate = true;
      exchange.abort(new Error('the time limit of the attempt'));
    });
    let ending = await exchange.ended;
    if (!isTooLate && isWorthRepeating(ending)) {
      exchange = dispatch();
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
    const reason = unreachableReason(error);
    // A proxy's own timeout already says what happened.
    if ((isTooLate && reason !== 'proxy') || codeOf(error) === CONNECT_TIMEOUT_CODE) {
      const detail = `no response within ${endpoint.timeoutMs} ms`;
      return { kind: 'unreachable', reason: 'timeout', code: '', detail };
    }
    if (connections.isClosed) {
      const detail = 'aborted because the relay stopped';
      return { kind: 'unreachable', reason: 'stopped', code: '', detail };
    }
    const detail = redact(messageOf(error), endpoint);
    return { kind: 'unreachable', reason, code: codeOf(error), detail };
  }

  return { send, close: () => connections.close() };
}

/** Why a response whose status was read is incomplete; null: it is complete. */
function malformedText(ending: Ending, isTooLate: boolean, endpoint: Endpoint): string | null {
  if (ending.kind === 'answered') return null;
  if (isTooLate) return `the response was not complete within ${endpoint.timeoutMs} ms`;
  // The message contains no data of the receiver.
  if (ending.error instanceof ResponseHeadError) return ending.error.message;
  return redact(messageOf(ending.error), endpoint);
}

function outcomeOf(
  { status, retryAfter, location, date, bodyChunks }: Answer,
  malformed: string | null,
  endpoint: Endpoint,
  nowMs: number,
): Outcome {
  const shownBody = () => redact(Buffer.concat(bodyChunks).toString(), endpoint);
  const faults: ResponseFaults = malformed === null ? {} : { malformed };
  if (status >= 200 && status < 300) {
    // A getter: the log omits the body, and searching every body for credentials would cost as much as the request.
    return {
      kind: 'accepted',
      status,
      get answer() {
        return shownBody();
      },
      ...faults,
    };
  }
  const wait = readRetryAfter(status, retryAfter, receiverTimeMs(date, nowMs));
  return {
    kind: 'rejected',
    status,
    retryAfterMs: wait.kind === 'wait' ? wait.ms : null,
    location: shownLocation(location, endpoint),
    answer: shownBody(),
    ...faults,
    ...(wait.kind === 'unreadable' ? { unreadableRetryAfter: redact(wait.text, endpoint) } : {}),
  };
}

/** A redirect's target, safe to print: its login and query may be secret, and its path may repeat a header. */
function shownLocation(header: string | undefined, endpoint: Endpoint): string | null {
  if (header === undefined || !URL.canParse(header, endpoint.url.href)) return null;
  const { protocol, origin, pathname, search } = new URL(header, endpoint.url);
  if (!/^https?:$/.test(protocol)) return null;
  const text = `${origin}${pathname}${search === '' ? '' : '?…'}`;
  return repeatedCredential(text, endpoint) === null ? redact(text, endpoint) : null;
}
