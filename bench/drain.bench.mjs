/**
 * How fast a backlog in Redis is delivered: N deliveries wait; the relay POSTs each one, signed, to
 * one local receiver and settles it. In the same run, for comparison: a bare undici loop that signs
 * and POSTs the same bodies to the same receiver, with no Redis. A round that is not counted comes
 * first, so that neither side is measured while its code is still being compiled.
 */
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { aBacklog, openOutbox } from './lib/backlog.mjs';
import { cpuPerPiece, cpuSeconds } from './lib/cpu.mjs';
import { startReceiver } from './lib/receiver.mjs';
import { shopFile, startRelay } from './lib/relay.mjs';
import { SECRET, webhookSender } from './lib/webhook.mjs';

const CONCURRENCY = 64;

/**
 * @typedef {object} Measured
 * @property {number} perS deliveries
 * @property {string} cpu what each process had of the processors, for one delivery
 */

/**
 * @param {Readonly<Record<string, number>>} pids
 * @param {number} count
 * @param {() => Promise<void>} work
 * @returns {Promise<Measured>}
 */
async function measured(pids, count, work) {
  const seconds = () => Promise.all(Object.values(pids).map(cpuSeconds));
  const before = await seconds();
  const startMs = performance.now();
  await work();
  const tookMs = performance.now() - startMs;
  const cpu = cpuPerPiece(Object.keys(pids), before, await seconds(), count);
  return { perS: (count / tookMs) * 1_000, cpu };
}

/**
 * @param {string} url
 * @param {readonly { id: string, body: Buffer }[]} deliveries
 */
async function bareLoop(url, deliveries) {
  const sender = webhookSender(url, CONCURRENCY);
  let next = 0;
  const lane = async () => {
    for (let one = deliveries[next++]; one !== undefined; one = deliveries[next++]) {
      await sender.send({ ...one, path: '/' });
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  await sender.close();
}

/** @param {readonly string[]} args deliveries; rounds */
export async function drain([waiting = '20000', rounds = '3']) {
  const count = Number(waiting);
  const deliveries = aBacklog(count);
  const receiver = await startReceiver();
  const server = await startRedis();
  const outbox = await openOutbox(server.port);
  const relay = await startRelay(
    shopFile(server.url, { url: receiver.url, secrets: [SECRET], concurrency: CONCURRENCY }),
  );
  for (let round = 0; round <= Number(rounds); round += 1) {
    await receiver.reset();
    const bare = await measured({ loop: process.pid, receiver: receiver.pid }, count, () =>
      bareLoop(receiver.url, deliveries),
    );
    await receiver.reset();
    // Else it would deliver what is stored first while the rest is still being stored.
    relay.pause();
    await outbox.store(deliveries);
    const pids = { relay: relay.pid, redis: server.pid, receiver: receiver.pid };
    const ours = await measured(pids, count, async () => {
      relay.resume();
      await receiver.reached(count);
      await outbox.emptied();
    });
    const received = await receiver.count();
    if (round === 0) continue;
    process.stdout.write(
      `round ${round}: bare loop ${Math.round(bare.perS)}/s, relay ${Math.round(ours.perS)}/s ` +
        `(${Math.round((ours.perS / bare.perS) * 100)} %), received ${received} of ${count}\n` +
        `  CPU, µs per delivery: bare (${bare.cpu}); relay (${ours.cpu})\n`,
    );
  }
  await relay.stop();
  outbox.close();
  await server.stop();
  await receiver.stop();
}
