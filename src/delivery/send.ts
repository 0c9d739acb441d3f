/** The edge to HTTP: one POST, one answer, within one time limit. Retries are not its business. */
import { errors, Pool } from 'undici';
import type { Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import { printable } from '../printable.js';
import type { Endpoint, Outcome, UnreachableCause } from '../vocabulary.js';
import type { WebhookRequest } from './request.js';
import { retryAfterMs } from './retry-policy.js';

/** What is read of an answer's body; the connection is closed on anything longer. */
export const ANSWER_BYTES_MAX = 4 * 1024;

/** What a log line shows of a refusal's body. */
const ANSWER_CHARS_LOGGED_MAX = 200;

/** Shown instead of a refusal's body that repeats the relay's own headers, as debug pages do. */
const WITHHELD = '[withheld: it repeats a header of this endpoint]';

/** A shorter word in a header is no secret, and common in answers (`Bearer`). */
const SECRET_CHARS_MIN = 8;

/** So much of a secret's start gives it away, also where the answer is cut in its middle. */
const SECRET_START_CHARS = 32;

/** How long an idle connection is kept: less than the 5 s after which many servers close it. */
const KEEP_ALIVE_MS = 4_000;

export interface Sender {
  /** Never rejects: whatever goes wrong is an outcome. */
  send(request: WebhookRequest): Promise<Outcome>;
  /** Breaks off what is under way. */
  close(): Promise<void>;
}

/** A pool of connections to one endpoint, never more than its `concurrency`. */
export function createSender(endpoint: Endpoint, clock: Clock): Sender {
  const pool = new Pool(endpoint.url.origin, {
    connections: endpoint.concurrency,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connect: { timeout: endpoint.timeoutMs },
    headersTimeout: endpoint.timeoutMs,
    bodyTimeout: endpoint.timeoutMs,
  });
  const send = (request: WebhookRequest) => post(pool, request, endpoint, clock);
  return { send, close: () => pool.destroy() };
}

async function post(
  pool: Pool,
  request: WebhookRequest,
  endpoint: Endpoint,
  clock: Clock,
): Promise<Outcome> {
  const { timeoutMs } = endpoint;
  const timeLimit = new AbortController();
  const cancel = clock.after(timeoutMs, () => timeLimit.abort());
  try {
    const answer = await pool.request({ ...request, method: 'POST', signal: timeLimit.signal });
    const text = await readStart(answer.body);
    const { statusCode: status, headers } = answer;
    if (status >= 200 && status < 300) return { kind: 'accepted', status };
    const retryAfter = headers['retry-after'];
    return {
      kind: 'refused',
      status,
      retryAfterMs: retryAfterMs(status, [retryAfter].flat()[0], clock.nowMs()),
      answer: shown(text, endpoint),
    };
  } catch (error) {
    if (timeLimit.signal.aborted) {
      return { kind: 'unreachable', cause: 'timeout', detail: `no answer within ${timeoutMs} ms` };
    }
    if (pool.destroyed) {
      return { kind: 'unreachable', cause: 'stopped', detail: 'broken off by a stop of the relay' };
    }
    return { kind: 'unreachable', cause: causeOf(error), detail: printable(messageOf(error)) };
  } finally {
    cancel();
  }
}

/** What a log line shows of a refusal's body. */
function shown(text: string, { headers }: Endpoint): string {
  const repeatsSecret = Object.values(headers)
    .flatMap((value) => value.reveal().split(/\s+/))
    .filter((word) => word.length >= SECRET_CHARS_MIN)
    .some((word) => text.includes(word.slice(0, SECRET_START_CHARS)));
  return repeatsSecret ? WITHHELD : printable(text, ANSWER_CHARS_LOGGED_MAX);
}

/** Leaving the loop early destroys the stream, and with it the connection. */
async function readStart(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= ANSWER_BYTES_MAX) break;
  }
  return Buffer.concat(chunks).subarray(0, ANSWER_BYTES_MAX).toString();
}

const CAUSES: Readonly<Record<string, UnreachableCause>> = {
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
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

function causeOf(error: unknown): UnreachableCause {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const known = CAUSES[code];
  if (known !== undefined) return known;
  if (error instanceof errors.HTTPParserError) return 'protocol';
  return TLS_CODE.test(code) ? 'tls' : 'network';
}
