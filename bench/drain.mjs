/**
 * How fast a backlog in Redis is delivered: N deliveries wait; the relay POSTs each one, signed, to
 * one local receiver and settles it. In the same run, for comparison: a bare undici loop that signs
 * and POSTs the same bodies to the same receiver, with no Redis. A round that is not counted comes
 * first, so that neither side is measured while its code is still being compiled.
 */
import { createHmac } from 'node:crypto';
import { Redis } from 'ioredis';
import { Pool } from 'undici';
import { startRedis } from '../scripts/redis-server.mjs';
import { cpuSeconds } from './cpu.mjs';
import { startReceiver } from './receiver.mjs';
import { startRelay } from './relay.mjs';

// By names that the compiler does not follow: it would take the build for a source.
/** @param {string} path */
const built = (path) => import(new URL(`../dist/${path}.js`, import.meta.url).href);
const { systemClock } = await built('clock');
const { RedisOutbox } = await built('outbox/redis-outbox');

const DELIVERIES = Number(process.argv[3] ?? 20_000);
const ROUNDS = Number(process.argv[4] ?? 3);
const CONCURRENCY = 64;
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const STORED_AT_ONCE = 1_000;

/** @param {number} n */
function delivery(n) {
  const key = `order:${n}:unpaid`;
  return {
    id: `msg_${String(n).padStart(32, '0')}`,
    endpoint: 'shop',
    route: 'cancel-unpaid-order',
    path: '',
    body: Buffer.from(
      `{"data":{"database":0,"detected_at":"2026-11-22T06:00:10.003Z","detected_by":"notification",` +
        `"expired_at":null,"key":"${key}","params":{"id":"${n}"},"route":"cancel-unpaid-order"},` +
        `"timestamp":"2026-11-22T06:00:10.003Z","type":"order.payment.expired"}`,
    ),
    keyLabel: key,
    database: 0,
    expiredAtMs: null,
    detectedAtMs: Date.now(),
    detectedBy: /** @type {const} */ ('notification'),
  };
}

const deliveries = Array.from({ length: DELIVERIES }, (_, n) => delivery(n));

/**
 * @typedef {object} Measured
 * @property {number} perS deliveries
 * @property {string} cpu what each process had of the processors, for one delivery
 */

/**
 * @param {Readonly<Record<string, number>>} pids
 * @param {() => Promise<void>} work
 * @returns {Promise<Measured>}
 */
async function measured(pids, work) {
  const seconds = () => Promise.all(Object.values(pids).map(cpuSeconds));
  const before = await seconds();
  const startMs = performance.now();
  await work();
  const tookMs = performance.now() - startMs;
  const after = await seconds();
  const cpu = Object.keys(pids).map((name, at) => {
    const [from = null, to = null] = [before[at], after[at]];
    const each = from === null || to === null ? Number.NaN : ((to - from) / DELIVERIES) * 1e6;
    return `${name} ${Math.round(each)}`;
  });
  return { perS: (DELIVERIES / tookMs) * 1_000, cpu: cpu.join(', ') };
}

/** @param {string} url */
async function bareLoop(url) {
  const pool = new Pool(url, { connections: CONCURRENCY, pipelining: 1 });
  const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64');
  let next = 0;
  const lane = async () => {
    for (let one = deliveries[next++]; one !== undefined; one = deliveries[next++]) {
      const timestamp = String(Math.floor(Date.now() / 1000));
      const mac = createHmac('sha256', key).update(`${one.id}.${timestamp}.`).update(one.body);
      const headers = {
        'content-type': 'application/json',
        'webhook-id': one.id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1,${mac.digest('base64')}`,
      };
      const { body } = await pool.request({ method: 'POST', path: '/', headers, body: one.body });
      await body.dump();
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  await pool.close();
}

/** @param {any} outbox */
async function store(outbox) {
  for (let from = 0; from < DELIVERIES; from += STORED_AT_ONCE) {
    await outbox.enqueue(deliveries.slice(from, from + STORED_AT_ONCE));
  }
}

/** @param {any} outbox */
async function untilSettled(outbox) {
  while ((await outbox.depth('shop')).pending > 0) await systemClock.sleep(5);
}

export async function drain() {
  const receiver = await startReceiver();
  const server = await startRedis();
  const redis = new Redis(server.url);
  const outbox = new RedisOutbox({
    redis,
    prefix: 'expiry-relay',
    replica: 'bench',
    clock: systemClock,
  });
  const relay = await startRelay({
    redis: { url: server.url },
    state: { kind: 'redis' },
    endpoints: { shop: { url: receiver.url, secrets: [SECRET], concurrency: CONCURRENCY } },
    routes: [{ name: 'cancel-unpaid-order', match: 'order:{id}:unpaid', to: 'shop' }],
  });
  for (let round = 0; round <= ROUNDS; round += 1) {
    const bare = await measured({ loop: process.pid, receiver: receiver.pid }, () =>
      bareLoop(receiver.url),
    );
    await receiver.reset();
    // Else it would deliver what is stored first while the rest is still being stored.
    relay.pause();
    await store(outbox);
    const pids = { relay: relay.pid, redis: server.pid, receiver: receiver.pid };
    const ours = await measured(pids, async () => {
      relay.resume();
      await receiver.reached(DELIVERIES);
      await untilSettled(outbox);
    });
    const received = await receiver.count();
    if (round === 0) continue;
    process.stdout.write(
      `round ${round}: bare loop ${Math.round(bare.perS)}/s, relay ${Math.round(ours.perS)}/s ` +
        `(${Math.round((ours.perS / bare.perS) * 100)} %), received ${received} of ${DELIVERIES}\n` +
        `  CPU, µs per delivery: bare (${bare.cpu}); relay (${ours.cpu})\n`,
    );
  }
  await relay.stop();
  redis.disconnect();
  await server.stop();
  await receiver.stop();
}
