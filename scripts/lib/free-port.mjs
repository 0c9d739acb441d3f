/** Free ports of 127.0.0.1, for servers that cannot choose one, or that restart on the same one. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below what Linux gives to connections and to servers that ask for any port (from 32,768; others
 * from 49,152): such a port stays free until its owner binds it, and while its owner is away.
 */
const LOWEST = 12_000;
const HIGHEST = 31_999;

/** What this process was given: not all of them are bound yet. @type {Set<number>} */
const given = new Set();

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** A port that is free now, and that this process has not been given before. */
export async function freePort() {
  for (;;) {
    if (given.size > HIGHEST - LOWEST) throw new Error('expected a free port, but all were given');
    const port = randomInt(LOWEST, HIGHEST + 1);
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
}
