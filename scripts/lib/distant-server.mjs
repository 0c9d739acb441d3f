/** A server with network latency: every byte takes half of the round trip, each way. */
import { connect, createServer } from 'node:net';

/**
 * @param {number} port of the server on this machine
 * @param {number} roundTripMs
 * @returns {Promise<AsyncDisposable & { port: number, stop: () => Promise<void> }>}
 */
export async function startDistant(port, roundTripMs) {
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  /** @param {() => void} work */
  const later = (work) => setTimeout(work, roundTripMs / 2);
  const server = createServer((client) => {
    const target = connect(port, '127.0.0.1');
    for (const [one, other] of /** @type {const} */ ([
      [client, target],
      [target, client],
    ])) {
      sockets.add(one.setNoDelay());
      one.on('data', (chunk) => later(() => other.write(chunk)));
      one.on('end', () => later(() => other.end()));
      one.on('error', () => later(() => other.destroy()));
      one.on('close', () => sockets.delete(one));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = server.address();
  const stop = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return {
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
