/** What the admin port and the receiver share: a server that begins and ends listening. */
import type { Server as HttpServer } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { ListenError } from './errors.js';
import type { ListenAddress } from './vocabulary.js';

/**
 * Connections that wait to be accepted. Beyond it the system ignores the first packet of another one,
 * whose client tries again only a second later; Linux allows no more by default.
 */
const BACKLOG = 4_096;

/**
 * Resolves with the address, whose port is the real one when 0 was asked for. Rejects with
 * ListenError when it cannot be had; `setting` names what chose the address.
 */
export async function listenOn(
  server: Server,
  { host, port }: ListenAddress,
  setting: string,
): Promise<ListenAddress> {
  await new Promise<void>((resolve, reject) => {
    // It stays: a connection that cannot be accepted later is an 'error' of the server, too.
    server.on('error', (error: NodeJS.ErrnoException) => {
      const found =
        error.code === 'EADDRINUSE' ? 'the port is in use; choose another one' : error.message;
      reject(new ListenError(`cannot listen on ${host}:${port} (${setting}): ${found}`));
    });
    server.listen({ port, host, backlog: BACKLOG }, resolve);
  });
  return { host, port: (server.address() as AddressInfo).port };
}

/** Cuts every connection; resolves when the port is free. */
export function closeServer(server: HttpServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
