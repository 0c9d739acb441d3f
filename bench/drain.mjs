/**
 * How fast a backlog in Redis is delivered: N deliveries wait; the relay POSTs each one, signed, to
 * one local receiver and settles it. In the same run, for comparison: a bare undici loop that signs
 * and POSTs the same bodies to the same receiver, with no Redis. A round that is not counted comes
 * first, so that neither side is measured while its code is still being compiled.
 */
import { createHmac } from 'node:crypto';
import { Pool } from 'undici';
import { startRedis } from '../scripts/redis-server.mjs';
import { aBacklog, openOutbox } from './backlog.mjs';
import { cpuSeconds } from './cpu.mjs';
import { startReceiver } from './receiver.mjs';
import { startRelay } from './relay.mjs';

const DELIVERIES = Number(process.argv[3] ?? 20_000);
const ROUNDS = Number(process.argv[4] ?? 3);
const CONCURRENCY = 64;
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

const deliveries = aBacklog(DELIVERIES);

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

export async function drain() {
  const receiver = await startReceiver();
  const server = await startRedis();
  const outbox = await openOutbox(server.port);
  const relay = await startRelay({
    redis: { url: server.url },
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
    await outbox.store(deliveries);
    const pids = { relay: relay.pid, redis: server.pid, receiver: receiver.pid };
    const ours = await measured(pids, async () => {
      relay.resume();
      await receiver.reached(DELIVERIES);
      await outbox.emptied();
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
  outbox.close();
  await server.stop();
  await receiver.stop();
}
