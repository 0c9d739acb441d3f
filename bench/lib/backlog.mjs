/** Deliveries that wait in a Redis, stored by the relay's own code. */
import { aBody } from './webhook.mjs';

// By names that the compiler does not follow: it would treat the build as a source.
/** @param {string} path */
const built = (path) => import(new URL(`../../dist/${path}.js`, import.meta.url).href);
const { systemClock } = await built('lib/clock');
const { RedisOutbox } = await built('outbox/redis-outbox');
const { defineOutboxScripts } = await built('outbox/scripts/scripts');
const { ALWAYS_HELD } = await built('state/lease');
const { RedisState } = await built('state/redis-state');

const STORED_AT_ONCE = 1_000;

/** @param {number} n */
function aDelivery(n) {
  const key = `order:${n}:unpaid`;
  return {
    id: `msg_${String(n).padStart(32, '0')}`,
    endpoint: 'shop',
    route: 'cancel-unpaid-order',
    path: '',
    method: /** @type {const} */ ('POST'),
    contentType: /** @type {const} */ ('application/json'),
    body: aBody(key),
    keyLabel: key,
    database: 0,
    expiredAtMs: null,
    detectedAtMs: Date.now(),
    detectedBy: /** @type {const} */ ('notification'),
  };
}

/**
 * So many deliveries to the endpoint `shop`.
 * @param {number} count
 */
export function aBacklog(count) {
  return Array.from({ length: count }, (_, n) => aDelivery(n));
}

/**
 * The outbox of the Redis on this port.
 * @param {number} port
 */
export async function openOutbox(port) {
  const nothing = () => undefined;
  const state = new RedisState({
    redis: {
      host: '127.0.0.1',
      port,
      path: null,
      tls: null,
      username: null,
      password: null,
      files: null,
    },
    database: 0,
    section: 'state',
    prefix: 'expiry-relay',
    databases: [0],
    endpoints: () => ['shop'],
    clock: systemClock,
    events: {
      internalError: nothing,
      failed: nothing,
      unavailable: nothing,
      availableAgain: nothing,
      evictable: nothing,
      dataLost: nothing,
    },
  });
  const outbox = new RedisOutbox({
    state,
    scripts: defineOutboxScripts(state.redis),
    lease: ALWAYS_HELD,
    replica: 'bench',
    instance: 'bench',
    clock: systemClock,
    correct: (/** @type {number} */ timeMs) => timeMs,
    deadLettersMax: () => 1,
    onDeadLettersEvicted: nothing,
  });
  await state.ready(new AbortController().signal);
  return {
    /** @param {readonly object[]} deliveries */
    async store(deliveries) {
      for (let from = 0; from < deliveries.length; from += STORED_AT_ONCE) {
        await outbox.enqueue(deliveries.slice(from, from + STORED_AT_ONCE));
      }
    },
    async emptied() {
      while ((await outbox.depth('shop')).pending > 0) await systemClock.sleep(5);
    },
    /** @returns {Promise<number>} pending deliveries */
    pending: async () => (await outbox.depth('shop')).pending,
    /** @returns {Promise<number>} the memory that Redis uses, in bytes */
    async usedBytes() {
      return Number(/used_memory:(\d+)/.exec(await state.redis.info('memory'))?.[1]);
    },
    close: () => state.close(),
  };
}
