/**
 * The lateness of a webhook after its key's deadline, beside other keys with a TTL: by the relay, by a plain
 * subscriber on `expired` that POSTs by itself, and by BullMQ's delayed jobs.
 */
import { Redis } from 'ioredis';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { startBullMq } from './bullmq.mjs';
import { addEvenly } from './evenly.mjs';
import { fill } from './keys.mjs';
import { startRelay } from './relay.mjs';
import { startSubscriber } from './subscriber.mjs';
import { SECRET } from './webhook.mjs';

const LIFE_MS = 2_000;
/** The same for the relay and BullMQ: more than they need. */
const CONCURRENCY = 32;

/**
 * @typedef {object} Place
 * @property {import('../../scripts/lib/redis-server.mjs').RunningRedis} server
 * @property {Redis} redis
 * @property {string} receiverUrl
 *
 * @typedef {object} Side
 * @property {(name: string, deadlineMs: number) => Promise<unknown>} add has the webhook sent at
 *   its deadline, to /NAME/DEADLINE
 * @property {() => Promise<void>} stop
 *
 * @typedef {keyof typeof SIDES} SideName
 *
 * @typedef {object} Load
 * @property {number} otherKeys with a TTL of an hour or two
 * @property {boolean} [areTracked] whether the relay's route matches the other keys, too; default: no
 * @property {number} perSecond keys that expire
 * @property {number} count of these
 * @property {number} patienceMs how long to wait after the last deadline
 */

/**
 * @param {Redis} redis
 * @returns {Side['add']}
 */
const setOn = (redis) => (name, deadlineMs) =>
  redis.set(`order:${name}:${deadlineMs}`, '', 'PXAT', deadlineMs);

/** @param {Place} place @returns {Promise<Side & { readonly pid: number }>} */
export async function relaySide({ server, redis, receiverUrl: url }) {
  const relay = await startRelay({
    redis: { url: server.url },
    endpoints: { shop: { url, secrets: [SECRET], concurrency: CONCURRENCY } },
    routes: [
      {
        name: 'orders',
        match: 'order:{name}:{deadline}',
        to: 'shop',
        path: '/{name}/{deadline}',
      },
    ],
  });
  await relay.ready();
  return { pid: relay.pid, add: setOn(redis), stop: relay.stop };
}

export const SIDES = {
  relay: relaySide,
  /** @param {Place} place @returns {Promise<Side>} */
  async subscriber({ server, redis, receiverUrl }) {
    const { stop } = await startSubscriber({ redisUrl: server.url, receiverUrl });
    return { add: setOn(redis), stop };
  },
  /** @param {Place} place @returns {Promise<Side>} */
  async bullmq({ server, receiverUrl }) {
    const options = { redisPort: server.port, receiverUrl, concurrency: CONCURRENCY };
    const bullMq = await startBullMq(options);
    return {
      add: (name, deadlineMs) =>
        bullMq.add(
          [{ key: `order:${name}:${deadlineMs}`, path: `/${name}/${deadlineMs}` }],
          deadlineMs,
        ),
      stop: bullMq.stop,
    };
  },
};

/**
 * On a Redis of its own. Returns how late each webhook was that arrived in time.
 * @param {SideName} name
 * @param {import('./receiver.mjs').Receiver} receiver
 * @param {Load} load
 */
export async function measureLateness(name, receiver, load) {
  const { otherKeys, areTracked = false, perSecond, count, patienceMs } = load;
  const server = await startRedis();
  const redis = new Redis(server.url, { protocol: 2 });
  const before = areTracked ? 'order:' : 'other:';
  await fill(redis, { count: otherKeys, before, after: ':0' });
  const side = await SIDES[name]({ server, redis, receiverUrl: receiver.url });
  await receiver.reset();
  await addEvenly({ count, perSecond, lifeMs: LIFE_MS }, side.add);
  const { latenessesMs } = await receiver.reached(count, LIFE_MS + patienceMs);
  await side.stop();
  redis.disconnect();
  await server.stop();
  return latenessesMs;
}
