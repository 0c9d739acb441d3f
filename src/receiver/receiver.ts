/** A receiver of webhooks for trying things out: verifies each one, answers, and can fail on purpose. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { TEST_HEADER } from '../delivery/request.js';
import type { Clock } from '../lib/clock.js';
import { closeServer, listenOn } from '../lib/http-server.js';
import { METHODS } from '../model/body-format.js';
import type { Secret } from '../model/secret.js';
import type { ListenAddress } from '../model/vocabulary.js';
import { BODY_BYTES_MAX } from '../payload/body.js';
import { type Verdict, verify } from '../signing/sign.js';

/** How many webhook ids are remembered, to count the attempts of each. */
const IDS_MAX = 100_000;

/** A status, or: never answer, or: close the connection without an answer. */
export type PlannedAnswer = number | 'hang' | 'reset';

export interface ReceivedWebhook {
  readonly receivedAtMs: number;
  readonly method: string;
  /** Path and query of the request. */
  readonly path: string;
  readonly id: string | null;
  readonly verdict: Verdict;
  /** How often a webhook with this id has come; 1 is the first. */
  readonly attempt: number;
  /** Whether `expiry-relay send` has sent it; the header that says so is not signed. */
  readonly isTest: boolean;
  /** As the request names it. */
  readonly contentType: string | null;
  readonly body: Buffer;
  readonly answered: PlannedAnswer;
}

export interface ReceiverParts {
  readonly listen: ListenAddress;
  /** Any of them may have signed; with none, every webhook is taken unverified. */
  readonly secrets: readonly Secret[];
  /** The answers to the first attempts of each webhook; later ones are 204. */
  readonly failures: readonly PlannedAnswer[];
  readonly clock: Clock;
  /** May throw; the answer does not depend on it. */
  readonly onWebhook: (webhook: ReceivedWebhook) => void;
  /** A connection could not be accepted. */
  readonly onError: (error: Error) => void;
}

export interface Receiver {
  readonly address: ListenAddress;
  close(): Promise<void>;
}

/** Rejects with ListenError when the address cannot be had. */
export async function startReceiver(parts: ReceiverParts): Promise<Receiver> {
  const attempts = new Map<string, number>();
  const server = createServer((request, response) => {
    receive(request, parts, attempts)
      .then((answered) => answer(response, answered))
      .catch(() => response.destroy());
  });
  const address = await listenOn(server, parts.listen, '--port', parts.onError);
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
    // The sender is answered all the same: that it cannot be shown here is no fault of its.
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

/** Null when it is longer than anything that the relay sends. */
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

/** Forgets the oldest id when there are too many. */
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
