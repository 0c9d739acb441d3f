/** Servers with responses that no HTTP library sends. */
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { freePort } from '../../scripts/lib/free-port.mjs';

/** Called once for each connection, when the first bytes of a request have come. */
export type Misbehave = (socket: Socket) => void;

export class FaultyServer implements AsyncDisposable {
  readonly url: string;
  /** Every connection so far. */
  readonly sockets: readonly Socket[];
  /** How many of them have carried a request. */
  requests = 0;
  readonly #close: () => Promise<void>;

  private constructor(port: number, sockets: readonly Socket[], close: () => Promise<void>) {
    this.url = `http://127.0.0.1:${port}`;
    this.sockets = sockets;
    this.#close = close;
  }

  static async start(misbehave: Misbehave): Promise<FaultyServer> {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      // The relay closes the connection in most of these tests.
      socket.on('error', () => socket.destroy());
      socket.once('data', () => {
        faulty.requests += 1;
        socket.resume();
        misbehave(socket);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const faulty = new FaultyServer(port, sockets, async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    return faulty;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

/** Sends `head`, then `chunk` over and over, as fast as the other side reads. */
export function flood(socket: Socket, head: string, chunk: string): void {
  socket.write(head);
  // One at a time: a loop would keep this process busy for as long as the other side keeps up.
  const goOn = () => {
    if (!socket.destroyed) socket.write(chunk, () => setImmediate(goOn));
  };
  goOn();
}

/** The URL of a port without a listener. */
export async function nobodyThere(): Promise<string> {
  return `http://127.0.0.1:${await freePort()}`;
}
