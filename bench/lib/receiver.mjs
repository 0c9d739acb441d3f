/** A receiver in a separate process, the same one for all sides of a comparison. */
import { createServer } from 'node:http';
import { isChild, serve, startChild } from './child.mjs';
import { wallClock } from './wall-clock.mjs';

/**
 * What it has received since it was last reset.
 * @typedef {object} Received
 * @property {number} count with ids of their own: a repeat does not count
 * @property {number} lastAtMs
 * @property {number[]} latenessesMs of those whose path is /NAME/DEADLINE
 */

/** The first part of a path that is answered, and not counted. */
const WARM = 'warm';

if (isChild(import.meta.url)) serve(receive);

async function receive() {
  let now = wallClock();
  /** @type {Set<string | undefined>} */
  const ids = new Set();
  /** @type {Received} */
  let received = { count: 0, lastAtMs: 0, latenessesMs: [] };
  let awaited = Number.POSITIVE_INFINITY;
  let onReached = () => undefined;

  const server = createServer((request, response) => {
    const atMs = now();
    request.resume().on('end', () => {
      response.writeHead(204).end();
      const [, name, deadlineMs] = (request.url ?? '').split('/');
      const id = /** @type {string | undefined} */ (request.headers['webhook-id']);
      if (name === WARM || ids.has(id)) return;
      ids.add(id);
      received.count += 1;
      received.lastAtMs = atMs;
      if (deadlineMs !== undefined) received.latenessesMs.push(atMs - Number(deadlineMs));
      if (received.count >= awaited) onReached();
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = server.address();

  return {
    port: () => (typeof address === 'object' ? address?.port : 0),
    reset() {
      now = wallClock();
      ids.clear();
      received = { count: 0, lastAtMs: 0, latenessesMs: [] };
    },
    count: () => received.count,
    /** @param {{ count: number, withinMs: number }} what */
    async reached({ count, withinMs }) {
      awaited = count;
      if (received.count < count) {
        await new Promise((resolve) => {
          const timer = setTimeout(resolve, withinMs);
          onReached = () => {
            clearTimeout(timer);
            resolve(undefined);
          };
        });
      }
      awaited = Number.POSITIVE_INFINITY;
      return received;
    },
  };
}

/** The longest that a bench waits for anything; it fails rather than hang. */
const PATIENCE_MS = 600_000;

/** @typedef {Awaited<ReturnType<typeof startReceiver>>} Receiver */

export async function startReceiver() {
  const child = await startChild(import.meta.url);
  return {
    pid: child.pid,
    url: `http://127.0.0.1:${await child.ask('port')}/`,
    /** @returns {Promise<void>} */
    reset: () => child.ask('reset'),
    /** @returns {Promise<number>} */
    count: () => child.ask('count'),
    /**
     * Resolves with what there is when there are so many, or after so long.
     * @param {number} count
     * @param {number} [withinMs]
     * @returns {Promise<Received>}
     */
    reached: (count, withinMs = PATIENCE_MS) => child.ask('reached', { count, withinMs }),
    stop: child.stop,
  };
}
