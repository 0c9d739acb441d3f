/**
 * How fast a backlog in Redis is delivered: N deliveries wait; the relay POSTs each one, signed, to
 * one local receiver and settles it. In the same run, for comparison: a bare undici loop that signs
 * and POSTs the same bodies to the same receiver, with no Redis.
 */
import { createHmac } from 'node:crypto';
import { Redis } from 'ioredis';
import { Pool } from 'undici';
import { startRedis } from '../scripts/redis-server.mjs';
import { startReceiver } from './receiver.mjs';
import { startRelay } from './relay.mjs';

// By a name that the compiler does not follow: it would take the build for a source.
const { endpointKeys, packDelivery } = await import(
  new URL('../dist/outbox/format.js', import.meta.url).href
);

const DELIVERIES = Number(process.argv[3] ?? 20_000);
const CONCURRENCY = 64;
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

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
  const startMs = performance.now();
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  const tookMs = performance.now() - startMs;
  await pool.close();
  return (DELIVERIES / tookMs) * 1_000;
}

/**
 * @param {string} url
 * @param {{ reset(): Promise<void>, count(): Promise<number> }} receiver
 */
async function relay(url, receiver) {
  const server = await startRedis();
  const redis = new Redis(server.url);
  const { deliveries: stored, ready } = endpointKeys('expiry-relay', 'shop');
  for (let from = 0; from < DELIVERIES; from += 1_000) {
    const pipeline = redis.pipeline();
    for (const one of deliveries.slice(from, from + 1_000)) {
      pipeline.hset(stored, one.id, packDelivery(one));
      pipeline.xadd(ready, '*', 'id', one.id, 'attempts', 0);
    }
    await pipeline.exec();
  }
  const started = await startRelay({
    redis: { url: server.url },
    endpoints: { shop: { url, secrets: [SECRET], concurrency: CONCURRENCY } },
    routes: [{ name: 'cancel-unpaid-order', match: 'order:{id}:unpaid', to: 'shop' }],
  });
  let firstMs = 0;
  for (;;) {
    if (firstMs === 0 && (await receiver.count()) > 0) firstMs = performance.now();
    if ((await redis.hlen(stored)) === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const tookMs = performance.now() - firstMs;
  await started.stop();
  redis.disconnect();
  await server.stop();
  return (DELIVERIES / tookMs) * 1_000;
}

export async function drain() {
  const receiver = await startReceiver();
  for (let round = 1; round <= 3; round += 1) {
    await receiver.reset();
    const bare = await bareLoop(receiver.url);
    await receiver.reset();
    const ours = await relay(receiver.url, receiver);
    const received = await receiver.count();
    process.stdout.write(
      `round ${round}: bare loop ${Math.round(bare)}/s, relay ${Math.round(ours)}/s ` +
        `(${Math.round((ours / bare) * 100)} %), received ${received} of ${DELIVERIES}\n`,
    );
  }
  await receiver.stop();
}
