/** The edge to HTTP: one request, one answer, within one time limit. Retries are not its business. */
import type { LookupFunction } from 'node:net';
import { errors, Pool } from 'undici';
import type { Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import { printable } from '../printable.js';
import type { Endpoint, Outcome, UnreachableCause } from '../vocabulary.js';
import { ANSWER_BYTES_MAX, type Answer, type Ending, Exchange } from './exchange.js';
import type { WebhookRequest } from './request.js';
import { answeredAtMs, retryAfterMs } from './retry-policy.js';

/** What is shown of an answer's body. */
const ANSWER_CHARS_LOGGED_MAX = 200;

/** Shown instead of an answer that repeats the relay's own headers, as debug pages do. */
const WITHHELD = '[withheld: it repeats a header of this endpoint]';

/**
 * A run of letters and digits in a header's value that gives it away. Runs, since an answer may
 * escape what stands between them; a short one already, since a token may be short.
 */
const TELLING_RUN = /[\p{L}\p{N}]{4,}/gu;

/** The names of authentication schemes, which are no secret and common in answers. */
const SCHEME = /^(bearer|basic|token)$/i;

/** So much of a run gives it away, also where the answer is cut in its middle. */
const TELLING_CHARS = 16;

/** How long an idle connection is kept: less than the 5 s after which many servers close it. */
const KEEP_ALIVE_MS = 4_000;

export interface Sender {
  /** Never rejects: whatever goes wrong is an outcome. */
  send(request: WebhookRequest): Promise<Outcome>;
  /** Breaks off what is under way. */
  close(): Promise<void>;
}

/** How a connection to an endpoint is made, for an attempt or only to see whether it can be. */
export function connectionOptions({ timeoutMs }: Endpoint, lookup: LookupFunction) {
  return { timeout: timeoutMs, lookup, allowH2: false };
}

/** A pool of connections to one endpoint, never more than its `concurrency`. */
export function createSender(endpoint: Endpoint, clock: Clock, lookup: LookupFunction): Sender {
  const pool = new Pool(endpoint.url.origin, {
    connections: endpoint.concurrency,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connect: connectionOptions(endpoint, lookup),
    // One limit is for all of an attempt: see `send`.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  let lastAnswerAtMs = Number.NEGATIVE_INFINITY;

  /**
   * A receiver may close an idle connection just as it is used again. It has not seen the request
   * then, so that sending it once more is still the same attempt.
   */
  function isWorthRepeating(ending: Ending): boolean {
    if (ending.kind === 'answered' || ending.status !== null || pool.destroyed) return false;
    const wasIdle = clock.monotonicMs() - lastAnswerAtMs <= KEEP_ALIVE_MS;
    return wasIdle && causeOf(ending.error) === 'connection_reset';
  }

  async function send({ method, path, headers, body }: WebhookRequest): Promise<Outcome> {
    const options = { method, path, headers, body } as const;
    const dispatched = () => {
      const exchange = new Exchange();
      pool.dispatch(options, exchange);
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
    if (isTooLate) {
      const { status } = ending;
      const what = status === null ? 'no answer' : `answered ${status}, but no end of the answer`;
      const detail = `${what} within ${endpoint.timeoutMs} ms`;
      return { kind: 'unreachable', cause: 'timeout', detail };
    }
    if (pool.destroyed) {
      const detail = 'broken off by a stop of the relay';
      return { kind: 'unreachable', cause: 'stopped', detail };
    }
    const { error } = ending;
    return { kind: 'unreachable', cause: causeOf(error), detail: printable(messageOf(error)) };
  }

  return { send, close: () => pool.destroy() };
}

function outcomeOf(
  { status, retryAfter, date, bodyChunks }: Answer,
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
    answer,
  };
}

/** What is shown of an answer's body. */
function shown(text: string, { headers }: Endpoint): string {
  const repeatsSecret = Object.values(headers)
    .flatMap((value) => value.reveal().match(TELLING_RUN) ?? [value.reveal()])
    .filter((run) => !SCHEME.test(run))
    .some((run) => text.includes(run.slice(0, TELLING_CHARS)));
  return repeatsSecret ? WITHHELD : printable(text, ANSWER_CHARS_LOGGED_MAX);
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
};

/** The codes of OpenSSL's certificate checks, as Node names them. */
const TLS_CODE = /CERT|SSL|TLS|SIGNATURE|ISSUER|CRL/;

export function causeOf(error: unknown): UnreachableCause {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const known = CAUSES[code];
  if (known !== undefined) return known;
  if (error instanceof errors.HTTPParserError) return 'protocol';
  return TLS_CODE.test(code) ? 'tls' : 'network';
}
