/** What the admin port and the receiver share: an HTTP server from listening to its end. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ListenError } from './errors.js';
import type { ListenAddress } from './vocabulary.js';

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
    server.once('error', (error: NodeJS.ErrnoException) => {
      const found =
        error.code === 'EADDRINUSE' ? 'the port is in use; choose another one' : error.message;
      reject(new ListenError(`cannot listen on ${host}:${port} (${setting}): ${found}`));
    });
    server.listen(port, host, resolve);
  });
  return { host, port: (server.address() as AddressInfo).port };
}

/** Cuts every connection; resolves when the port is free. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
