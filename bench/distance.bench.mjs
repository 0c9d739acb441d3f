/**
 * What a round trip to Redis allows: N keys are due in the same millisecond, and every command and reply
 * of the relay takes the round trip. First with a concurrency so high that only the capture limits
 * it, then with the concurrency that is given. Once with everything far away, once with one of the
 * watched Redis and the state Redis.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startDistant } from '../scripts/lib/distant-server.mjs';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { startReceiver } from './lib/receiver.mjs';
import { shopFile, startRelay } from './lib/relay.mjs';
import { SECRET } from './lib/webhook.mjs';

/** TTL of the keys: they are all in the index by then. */
const DUE_IN_MS = 30_000;

/**
 * @param {{ watchedMs: number, stateMs: number, keys: number, concurrency: number }} parts
 */
async function measure({ watchedMs, stateMs, keys, concurrency }) {
  const receiver = await startReceiver();
  const [watched, state] = [await startRedis(), await startRedis()];
  const [toWatched, toState] = [
    await startDistant(watched.port, watchedMs),
    await startDistant(state.port, stateMs),
  ];
  const file = shopFile(
    `redis://127.0.0.1:${toWatched.port}`,
    { url: receiver.url, secrets: [SECRET], concurrency },
    { path: '/order/{id}' },
  );
  const relay = await startRelay({
    ...file,
    state: { url: `redis://127.0.0.1:${toState.port}` },
  });
  await relay.ready();
  await receiver.reset();
  const redis = new Redis(watched.url);
  const deadlineMs = Date.now() + DUE_IN_MS;
  for (let from = 0; from < keys; from += 1_000) {
    const pipeline = redis.pipeline();
    for (let n = from; n < Math.min(from + 1_000, keys); n += 1) {
      pipeline.set(`order:${n}:unpaid`, 'x', 'PXAT', deadlineMs);
    }
    await pipeline.exec();
  }
  await sleep(deadlineMs - 2_000 - Date.now());
  const tracked = (await relay.metrics()).get('tracked_deadlines');
  const first = await receiver.reached(1);
  const firstMs = first.lastAtMs - deadlineMs;
  const { lastAtMs } = await receiver.reached(keys);
  const perS = keys / ((lastAtMs - deadlineMs) / 1_000);
  process.stdout.write(
    `watched ${watchedMs} ms, state ${stateMs} ms, concurrency ${concurrency}: ${keys} keys ` +
      `(${tracked} tracked before), the first ${Math.round(firstMs)} ms late, ` +
      `the last ${Math.round(lastAtMs - deadlineMs)} ms: ${perS.toFixed(1)} webhooks/s\n`,
  );
  redis.disconnect();
  await relay.stop();
  await Promise.all([toWatched.stop(), toState.stop(), watched.stop(), state.stop()]);
  await receiver.stop();
}

/** @param {readonly string[]} args round trip in milliseconds; concurrency; keys for each of the two */
export async function distance([roundTrip = '300', places = '32', few = '400', many = '10000']) {
  const ms = Number(roundTrip);
  for (const [watchedMs, stateMs] of /** @type {const} */ ([
    [ms, ms],
    [ms, 0],
    [0, ms],
  ])) {
    await measure({ watchedMs, stateMs, keys: Number(many), concurrency: 1_000 });
    await measure({ watchedMs, stateMs, keys: Number(few), concurrency: Number(places) });
  }
}
