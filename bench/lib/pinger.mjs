/** Another client of the same Redis, in a separate process, which measures its PINGs. */
import { Redis } from 'ioredis';
import { isChild, serve, startChild } from './child.mjs';

const PING_EVERY_MS = 3;

if (isChild(import.meta.url)) serve(ping);

/** @param {{ redisUrl: string }} options */
async function ping({ redisUrl }) {
  const redis = new Redis(redisUrl);
  /** @type {number[]} */
  let tookMs = [];
  // Even while the previous PING is pending: an unmeasured wait would hide the worst case.
  setInterval(async () => {
    const startMs = performance.now();
    await redis.ping();
    tookMs.push(performance.now() - startMs);
  }, PING_EVERY_MS);
  return {
    take() {
      const taken = tookMs;
      tookMs = [];
      return taken;
    },
  };
}

/** @param {string} redisUrl */
export async function startPinger(redisUrl) {
  const child = await startChild(import.meta.url, { redisUrl });
  return {
    /** How long those took that have been answered since it was last asked, in milliseconds.
     * @returns {Promise<number[]>} */
    take: () => child.ask('take'),
    stop: child.stop,
  };
}
