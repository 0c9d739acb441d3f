/**
 * A TCP proxy that can fall silent: connections stay open and nothing passes (half-open). It can close
 * idle connections, as load balancers do.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export class TcpProxy implements AsyncDisposable {
  readonly port: number;
  readonly #sockets = new Set<Socket>();
  readonly #servers = new Set<Socket>();
  readonly #close: () => Promise<void>;
  #targetPort: number;
  #silent = false;
  #idleMsMax = 0;

  private constructor(port: number, targetPort: number, close: () => Promise<void>) {
    this.port = port;
    this.#targetPort = targetPort;
    this.#close = close;
  }

  /** A connection on which nothing passes for `idleMsMax` is closed; 0: none is. */
  static async start(targetPort: number, idleMsMax = 0): Promise<TcpProxy> {
    const server = createServer((client) => proxy.#join(client));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const proxy = new TcpProxy((server.address() as AddressInfo).port, targetPort, async () => {
      for (const socket of proxy.#sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    proxy.#idleMsMax = idleMsMax;
    return proxy;
  }

  /** From now on the present connections pass nothing on, and are not closed. New ones work. */
  silencePresent(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  /** Loses all further replies of present connections; requests still arrive. */
  loseReplies(): void {
    for (const server of this.#servers) server.unpipe().resume();
  }

  /** Directs new connections to another port, like a name after a failover. */
  leadTo(targetPort: number): void {
    this.#targetPort = targetPort;
  }

  /** Closes every present connection; new ones are refused as long as `refuse` is true. */
  cut(refuse: boolean): void {
    this.#silent = refuse;
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(client: Socket): void {
    if (this.#silent) return void client.destroy();
    const server = connect(this.#targetPort, '127.0.0.1');
    client.pipe(server);
    server.pipe(client);
    this.#servers.add(server);
    server.on('close', () => this.#servers.delete(server));
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(one);
      one.on('error', () => undefined);
      one.setTimeout(this.#idleMsMax, () => one.destroy());
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
