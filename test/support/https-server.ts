/** An HTTPS server that accepts every request, and may want certificates of its clients. */
import { X509Certificate } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { Certificate } from './certificate.js';

export interface HttpsServer extends AsyncDisposable {
  readonly url: string;
  /** The fingerprint of the client certificate of each request; empty without one. */
  readonly clients: string[];
  /** The names with which the client requested the server, for each request. */
  readonly names: { host: string | undefined; servername: string | false | null }[];
  fingerprintOf(certificate: Certificate): string;
}

/** With `clients`, others are refused. */
export async function startHttps(
  { key, cert }: Certificate,
  clients: readonly Certificate[] = [],
): Promise<HttpsServer> {
  const seen: string[] = [];
  const names: HttpsServer['names'] = [];
  const ca = clients.map((client) => client.cert);
  const wanted = clients.length === 0 ? {} : { requestCert: true, ca };
  const https = createServer({ key, cert, ...wanted }, (request, response) => {
    const shown = (request.socket as TLSSocket).getPeerX509Certificate();
    seen.push(shown?.fingerprint256 ?? '');
    const { servername = null } = request.socket as TLSSocket & { servername?: string | false };
    names.push({ host: request.headers.host, servername });
    request.resume();
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => https.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://127.0.0.1:${(https.address() as AddressInfo).port}/`,
    clients: seen,
    names,
    fingerprintOf: (certificate) => new X509Certificate(certificate.cert).fingerprint256,
    [Symbol.asyncDispose]: async () => {
      https.closeAllConnections();
      await new Promise((resolve) => https.close(resolve));
    },
  };
}

/** A TLS server that answers as no HTTP library would; `misbehave` is called when a request comes. */
export async function startFaultyHttps(
  { key, cert }: Certificate,
  misbehave: (socket: TLSSocket) => void,
): Promise<AsyncDisposable & { readonly url: string }> {
  const sockets = new Set<TLSSocket>();
  const server = createTlsServer({ key, cert }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('data', () => misbehave(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
