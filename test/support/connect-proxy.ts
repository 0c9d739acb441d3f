/** An HTTP proxy that supports only CONNECT, with a login, and resolves names as given by a test. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Certificate } from './certificate.js';

/** Null lets the request through; a status refuses it; `hang` never answers. */
type Answer = number | 'hang' | null;

export class ConnectProxy implements AsyncDisposable {
  /** The requested authorities, in order. */
  readonly asked: string[] = [];
  /** The headers of every request. */
  readonly headers: IncomingMessage['headers'][] = [];
  answer: Answer = null;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #login: string | null;

  private constructor(server: Server, login: string | null) {
    this.#server = server;
    this.#login = login;
  }

  /** Every name resolves to this machine. With a certificate, the proxy uses TLS. */
  static async start(
    given: { login?: string; certificate?: Certificate } = {},
  ): Promise<ConnectProxy> {
    const { login = null, certificate } = given;
    const server =
      certificate === undefined
        ? createServer()
        : createSecureServer({ key: certificate.key, cert: certificate.cert });
    const proxy = new ConnectProxy(server, login);
    server.on('connection', (socket: Socket) => proxy.#keep(socket));
    server.on('connect', (request: IncomingMessage, socket: Socket) =>
      proxy.#connect(request, socket),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  /** Host and port. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #connect(request: IncomingMessage, client: Socket): void {
    this.asked.push(request.url ?? '');
    this.headers.push(request.headers);
    client.on('error', () => undefined);
    if (this.answer === 'hang') return;
    const given = request.headers['proxy-authorization'];
    const wanted = this.#login === null ? given : `Basic ${btoa(this.#login)}`;
    const status = given === wanted ? this.answer : 407;
    if (status !== null) return void client.end(`HTTP/1.1 ${status} No\r\n\r\n`);
    const { port } = new URL(`http://${request.url}`);
    const server = connect(Number(port), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(server);
      server.pipe(client);
    });
    this.#keep(server);
    server.on('error', () => client.end('HTTP/1.1 502 No\r\n\r\n'));
    server.on('close', () => client.destroy());
    client.on('close', () => server.destroy());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
