/** A real HTTP server that records what it receives, and answers as a test says. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { expect } from 'vitest';
import { TEST_SECRET } from './domain.js';

export interface ReceivedRequest {
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly raw: Buffer;
  /** The parsed body. */
  readonly body: WebhookBody;
  readonly id: string;
  /** The port of the client: requests on one connection have the same. */
  readonly clientPort: number;
}

export interface WebhookBody {
  readonly type: string;
  readonly timestamp: string;
  readonly data: Readonly<Record<string, unknown>> & {
    readonly key: string;
    readonly route: string;
    readonly params: Readonly<Record<string, string>>;
  };
}

/** Answers one request; may leave it unanswered. `count` is the number of requests so far. */
export type Respond = (
  request: ReceivedRequest,
  response: ServerResponse,
  count: number,
) => void | Promise<void>;

const accept: Respond = (_, response) => void response.writeHead(204).end();

export class TestReceiver implements AsyncDisposable {
  readonly requests: ReceivedRequest[] = [];
  readonly url: string;
  readonly #close: () => Promise<void>;
  respond: Respond;

  private constructor(port: number, respond: Respond, close: () => Promise<void>) {
    this.url = `http://127.0.0.1:${port}`;
    this.respond = respond;
    this.#close = close;
  }

  /** Listens on a free port, or on the given one. */
  static async start(
    respond: Respond = accept,
    port = 0,
    host = '127.0.0.1',
  ): Promise<TestReceiver> {
    const server = createServer((request, response) => {
      void read(request).then((received) => {
        receiver.requests.push(received);
        return receiver.respond(received, response, receiver.requests.length);
      });
    });
    await new Promise<void>((resolve) => server.listen(port, host, resolve));
    const address = server.address() as AddressInfo;
    const receiver = new TestReceiver(address.port, respond, async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return receiver;
  }

  /** The keys of the requests, in order. */
  get keys(): string[] {
    return this.requests.map(({ body }) => body.data.key);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

async function read(request: IncomingMessage): Promise<ReceivedRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const raw = Buffer.concat(chunks);
  const headers = request.headers as Record<string, string>;
  return {
    atMs: Date.now(),
    method: request.method ?? '',
    path: request.url ?? '',
    headers,
    raw,
    body: parse(raw),
    id: headers['webhook-id'] ?? '',
    clientPort: request.socket.remotePort ?? 0,
  };
}

/** Some tests send bodies other than JSON. */
function parse(raw: Buffer): WebhookBody {
  try {
    return JSON.parse(raw.toString()) as WebhookBody;
  } catch {
    return { type: '', timestamp: '', data: { key: '', route: '', params: {} } };
  }
}

/** Throws unless any Standard Webhooks receiver would accept it. */
export function assertVerified({ raw, headers }: ReceivedRequest, secret = TEST_SECRET): void {
  const jsonParse = headers['content-type']?.includes('json') ?? false;
  new Webhook(secret).verify(raw.toString(), { ...headers }, { jsonParse });
}

/**
 * Every one of `count` keys arrived; every repeat carries the same id and bytes; all verify. Where the state
 * lost its last writes, a repeat is built again: it has the same id, and may have other bytes.
 */
export function expectEach({ requests }: TestReceiver, count: number, isStateLost = false): void {
  const firsts = new Map<string, ReceivedRequest>();
  for (const request of requests) {
    assertVerified(request);
    const { key } = request.body.data;
    const first = firsts.get(key) ?? request;
    firsts.set(key, first);
    const [what, before] = [request, first].map(({ id, raw }) =>
      isStateLost ? id : `${id} ${raw}`,
    );
    expect(what).toBe(before);
  }
  expect(firsts.size).toBe(count);
  expect(new Set(requests.map(({ id }) => id)).size).toBe(count);
}
