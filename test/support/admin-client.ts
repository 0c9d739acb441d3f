/** Connections to an admin port that violate HTTP. */
import { connect, type Socket } from 'node:net';
import { eventually } from './eventually.js';

export const ask = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: relay\r\n\r\n`;

export class RawClient implements Disposable {
  readonly socket: Socket;
  /** The received text. */
  received = '';
  isClosed = false;

  private constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.setEncoding('latin1').on('data', (text: string) => {
      this.received += text;
    });
    // The tests cause disconnections.
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.isClosed = true;
    });
    this.socket.on('end', () => {
      this.isClosed = true;
    });
  }

  static async connect(port: number, written = ''): Promise<RawClient> {
    const client = new RawClient(port);
    await new Promise<void>((resolve) => {
      client.socket.once('connect', () => resolve());
      client.socket.once('error', () => resolve());
    });
    if (written !== '') client.socket.write(written);
    return client;
  }

  /** Does not read what the relay sends. */
  static async unread(port: number, written: string): Promise<RawClient> {
    const client = await RawClient.connect(port);
    client.socket.pause();
    client.socket.write(written);
    return client;
  }

  get statuses(): number[] {
    return [...this.received.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status));
  }

  closed(withinMs?: number): Promise<boolean> {
    return eventually('the connection is closed', () => this.isClosed, withinMs);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

/** Connections, each of which does the same. */
export async function rawClients(count: number, open: () => Promise<RawClient>) {
  const clients = await Promise.all(Array.from({ length: count }, open));
  return {
    clients,
    [Symbol.dispose]: () => {
      for (const client of clients) client[Symbol.dispose]();
    },
  };
}
