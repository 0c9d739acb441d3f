/** A receiver of webhooks for testing: verifies each one, responds, and can fail on purpose. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { TEST_HEADER } from '../delivery/request.js';
import type { Clock } from '../lib/clock.js';
import { closeServer, listenOn } from '../lib/http-server.js';
import { METHODS } from '../model/body-format.js';
import type { Secret } from '../model/secret.js';
import type { ListenAddress } from '../model/vocabulary.js';
import { BODY_BYTES_MAX } from '../payload/body.js';
import { type Verdict, verify } from '../signing/sign.js';

/** Number of remembered webhook ids, for counting the attempts of each. */
const IDS_MAX = 100_000;

/** A status, no response at all, or a closed connection without a response. */
export type PlannedAnswer = number | 'hang' | 'reset';

export interface ReceivedWebhook {
  readonly receivedAtMs: number;
  readonly method: string;
  /** Path and query of the request. */
  readonly path: string;
  readonly id: string | null;
  readonly verdict: Verdict;
  /** The number of requests with this id so far, from 1. */
  readonly attempt: number;
  /** Whether the webhook's header marks it as sent by `expiry-relay send`. The header is not signed. */
  readonly isTest: boolean;
  /** The request's header. */
  readonly contentType: string | null;
  readonly body: Buffer;
  readonly answered: PlannedAnswer;
}

export interface ReceiverParts {
  readonly listen: ListenAddress;
  /** Any of the secrets may have signed; without secrets, webhooks are accepted unverified. */
  readonly secrets: readonly Secret[];
  /** Responses to the first attempts of each webhook; later attempts get 204. */
  readonly failures: readonly PlannedAnswer[];
  readonly clock: Clock;
  /** May throw; the response does not depend on it. */
  readonly onWebhook: (webhook: ReceivedWebhook) => void;
  /** Called when a connection could not be accepted. */
  readonly onError: (error: Error) => void;
}

export interface Receiver {
  readonly address: ListenAddress;
  close(): Promise<void>;
}

/** Rejects with ListenError when the address is unavailable. */
export async function startReceiver(parts: ReceiverParts): Promise<Receiver> {
  const attempts = new Map<string, number>();
  const server = createServer((request, response) => {
    receive(request, parts, attempts)
      .then((answered) => answer(response, answered))
      .catch(() => response.destroy());
  });
  const address = await listenOn(server, parts.listen, '--host or --port', parts.onError);
  return { address, close: () => closeServer(server) };
}

async function receive(
  request: IncomingMessage,
  parts: ReceiverParts,
  attempts: Map<string, number>,
): Promise<PlannedAnswer> {
  const { method = '' } = request;
  if (!METHODS.some((known) => known === method)) return 405;
  const body = await readBody(request);
  if (body === null) return 413;
  const receivedAtMs = parts.clock.nowMs();
  const id = headerOf(request, 'webhook-id');
  const verdict = verify(
    {
      id,
      timestamp: headerOf(request, 'webhook-timestamp'),
      signature: headerOf(request, 'webhook-signature'),
    },
    body,
    parts.secrets,
    receivedAtMs,
  );
  const attempt = id === undefined ? 1 : count(attempts, id);
  const answered = answerTo(verdict, parts.failures[attempt - 1]);
  try {
    parts.onWebhook({
      receivedAtMs,
      method,
      path: request.url ?? '',
      id: id ?? null,
      verdict,
      attempt,
      isTest: headerOf(request, TEST_HEADER) !== undefined,
      contentType: headerOf(request, 'content-type') ?? null,
      body,
      answered,
    });
  } catch {
    // The sender still gets its response: a failure to display the webhook is not the sender's fault.
  }
  return answered;
}

function answerTo(verdict: Verdict, planned: PlannedAnswer | undefined): PlannedAnswer {
  if (verdict !== 'verified' && verdict !== 'no_secret') return 401;
  return planned ?? 204;
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  return [request.headers[name]].flat()[0];
}

/** Null for a body longer than any that the relay sends. */
async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Removes the oldest id when there are too many. */
function count(attempts: Map<string, number>, id: string): number {
  const attempt = (attempts.get(id) ?? 0) + 1;
  attempts.set(id, attempt);
  if (attempts.size > IDS_MAX) {
    for (const oldest of attempts.keys()) {
      attempts.delete(oldest);
      break;
    }
  }
  return attempt;
}

function answer(response: ServerResponse, answered: PlannedAnswer): void {
  if (answered === 'hang') return;
  if (answered === 'reset') return void response.destroy();
  response.writeHead(answered).end();
}
