/** Starts and stops a listening server, for the admin port and the receiver. */
import type { Server as HttpServer } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { ListenError } from '../model/errors.js';
import type { ListenAddress } from '../model/vocabulary.js';
import { printable } from './printable.js';
import { defectNote } from './text-defect.js';

/** host:port, with an IPv6 address in brackets. */
export function placeText({ host, port }: ListenAddress): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether only this machine can connect to the host, a name or an address without brackets. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|::ffff:127(\.\d{1,3}){3})$/i.test(host);
}

/**
 * Connections that wait to be accepted. When the queue is full, the kernel drops the first packet of a new
 * connection, and the client retries only after a second. Linux allows no more by default.
 */
const BACKLOG = 4_096;

/**
 * Resolves with the address, including the actual port when port 0 was requested. Rejects with ListenError when the
 * address is unavailable; `setting` names the option that set the address. Calls `onError` for each connection that
 * cannot be accepted later.
 */
export async function listenOn(
  server: Server,
  { host, port }: ListenAddress,
  setting: string,
  onError: (error: Error) => void,
): Promise<ListenAddress> {
  const listen = (address: string) =>
    new Promise<string>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port, host: address, backlog: BACKLOG }, () => {
        server.off('error', reject);
        resolve(address);
      });
    });
  try {
    const address = await listen(host).catch((error: NodeJS.ErrnoException) => {
      // A kernel without IPv6: listen on all IPv4 addresses.
      if (host === '::' && error.code === 'EAFNOSUPPORT') return listen('0.0.0.0');
      throw error;
    });
    server.on('error', onError);
    return { host: address, port: (server.address() as AddressInfo).port };
  } catch (thrown) {
    const error = thrown as NodeJS.ErrnoException;
    throw new ListenError(
      `cannot listen on ${printable(placeText({ host, port }))}: ${listenFailure(error)} (${setting})` +
        defectNote(host),
    );
  }
}

function listenFailure({ code, message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'the port is in use; choose another one';
    case 'EADDRNOTAVAIL':
      return 'this machine does not have the address; choose another one';
    case 'EACCES':
      return 'no permission for this port; choose one above 1023';
    default:
      return printable(message);
  }
}

/** Closes every connection; resolves when the port is free. */
export function closeServer(server: HttpServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
