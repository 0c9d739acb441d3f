/** A proxy between the relay and a receiver that can lose answers. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface Passed {
  readonly id: string;
  readonly body: string;
  /** The receiver's answer. */
  readonly status: number;
}

export class LossyProxy implements AsyncDisposable {
  /** The answers of the receiver, in order. */
  readonly passed: Passed[] = [];
  readonly url: string;
  /** Called with each answer; the relay receives it only if this resolves to true. */
  passOn: (answer: Passed) => Promise<boolean> = async () => true;
  readonly #close: () => Promise<void>;

  private constructor(port: number, close: () => Promise<void>) {
    this.url = `http://127.0.0.1:${port}`;
    this.#close = close;
  }

  static async start(receiverUrl: string): Promise<LossyProxy> {
    const server = createServer((request, response) => {
      // A receiver that cannot be reached: so is this.
      proxy.#pass(receiverUrl, request, response).catch(() => response.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const proxy = new LossyProxy((server.address() as AddressInfo).port, async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return proxy;
  }

  async #pass(url: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = (await buffer(request)).toString();
    // Headers of the connection are not forwarded.
    const { host, connection, 'content-length': length, ...rest } = request.headers;
    const headers = rest as Record<string, string>;
    const { status } = await fetch(url, { method: 'POST', headers, body });
    const answer = { id: headers['webhook-id'] ?? '', body, status };
    this.passed.push(answer);
    if (await this.passOn(answer)) response.writeHead(status).end();
    else response.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
