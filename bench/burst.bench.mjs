/**
 * How fast the webhooks of keys go that are due in the same millisecond: the relay, and BullMQ with
 * delayed jobs that are due so, with a worker that sends a signed POST for each: by `fetch`, as most
 * would write it, and by the fastest client that we have found. Each at several concurrencies, the best
 * of which counts. Alternating, on servers of their own, to one receiver.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { startBullMq } from './lib/bullmq.mjs';
import { cpuPerPiece, cpuSeconds } from './lib/cpu.mjs';
import { writeKeys } from './lib/keys.mjs';
import { median } from './lib/percentiles.mjs';
import { startReceiver } from './lib/receiver.mjs';
import { shopFile, startRelay } from './lib/relay.mjs';
import { CLIENT_NAMES, SECRET } from './lib/webhook.mjs';

const BULLMQ_CONCURRENCIES = [32, 100, 300];

/** From the beginning of the writing to the deadline: at least this, and more for many. */
const LEAD_MS = 2_000;
const WRITTEN_PER_MS = 5;

/**
 * @typedef {object} Side
 * @property {number} pid
 * @property {(count: number, deadlineMs: number) => Promise<void>} add resolves when all is ready
 *   to become due
 * @property {() => Promise<void>} stop
 *
 * @typedef {import('../scripts/lib/redis-server.mjs').RunningRedis} RunningRedis
 */

/** @typedef {(server: RunningRedis, receiverUrl: string, concurrency: number) => Promise<Side>} StartSide */

/** @type {StartSide} */
async function relaySide(server, url, concurrency) {
  const relay = await startRelay(shopFile(server.url, { url, secrets: [SECRET], concurrency }));
  await relay.ready();
  return {
    pid: relay.pid,
    async add(count, deadlineMs) {
      const redis = new Redis(server.url, { protocol: 2 });
      await writeKeys(redis, { count, deadlineMs });
      redis.disconnect();
      const isLate = () => Date.now() > deadlineMs;
      await relay.metricIs('tracked_deadlines', (tracked) => tracked === count || isLate());
    },
    stop: relay.stop,
  };
}

/**
 * @param {string} client
 * @returns {StartSide}
 */
const bullMqSide = (client) => async (server, receiverUrl, concurrency) => {
  const redisPort = server.port;
  const bullMq = await startBullMq({ redisPort, receiverUrl, concurrency, client });
  return {
    pid: bullMq.pid,
    add: (count, deadlineMs) =>
      bullMq.add(
        Array.from({ length: count }, (_, n) => ({ key: `order:${n}:unpaid`, path: '/' })),
        deadlineMs,
      ),
    stop: bullMq.stop,
  };
};

/**
 * Again with a later deadline when a busy machine takes too long to write all before it.
 * @param {Side} side
 * @param {import('./lib/receiver.mjs').Receiver} receiver
 * @param {number} count
 * @param {() => Promise<unknown>} onReady
 * @returns {Promise<number>} webhooks a second
 */
async function oneBurst(side, receiver, count, onReady) {
  for (let leadMs = LEAD_MS + Math.ceil(count / WRITTEN_PER_MS); ; leadMs *= 2) {
    await receiver.reset();
    const deadlineMs = Date.now() + leadMs;
    await side.add(count, deadlineMs);
    const isLate = Date.now() > deadlineMs;
    if (!isLate) {
      await onReady();
      await sleep(deadlineMs - Date.now());
    }
    const { lastAtMs, count: received } = await receiver.reached(count);
    if (received !== count) throw new Error(`expected ${count} webhooks, found ${received}`);
    if (!isLate) return (count / (lastAtMs - deadlineMs)) * 1_000;
  }
}

/** @param {readonly string[]} args keys; rounds; the relay's concurrency */
export async function burst([keys = '20000', rounds = '3', concurrency = '100']) {
  const count = Number(keys);
  const receiver = await startReceiver();
  /** A burst that is not counted goes ahead, for code is still being compiled then. */
  const measured = async (/** @type {StartSide} */ start, /** @type {number} */ lanes) => {
    const server = await startRedis();
    const side = await start(server, receiver.url, lanes);
    await oneBurst(side, receiver, count, async () => undefined);
    const pids = { sender: side.pid, redis: server.pid, receiver: receiver.pid };
    const seconds = () => Promise.all(Object.values(pids).map(cpuSeconds));
    let before = await seconds();
    const perSecond = await oneBurst(side, receiver, count, async () => {
      before = await seconds();
    });
    const cpu = cpuPerPiece(Object.keys(pids), before, await seconds(), count);
    await side.stop();
    await server.stop();
    return { perSecond, cpu };
  };

  /** By client, the relay's rate in relation to BullMQ's best; one for each round. */
  const ratios = new Map(CLIENT_NAMES.map((client) => [client, /** @type {number[]} */ ([])]));
  process.stdout.write(`${count} due in the same millisecond; CPU in µs per webhook\n`);
  for (let round = 1; round <= Number(rounds); round += 1) {
    const relay = await measured(relaySide, Number(concurrency));
    say(`relay, concurrency ${concurrency}`, relay);
    for (const [client, its] of ratios) {
      let best = 0;
      for (const lanes of BULLMQ_CONCURRENCIES) {
        const bullMq = await measured(bullMqSide(client), lanes);
        say(`bullmq by ${client}, concurrency ${lanes}`, bullMq);
        best = Math.max(best, bullMq.perSecond);
      }
      const ratio = relay.perSecond / best;
      its.push(ratio);
      sayRatio(`round ${round}`, client, ratio);
    }
  }
  for (const [client, its] of ratios) sayRatio('median', client, median(its));
  await receiver.stop();
}

/**
 * @param {string} name
 * @param {{ perSecond: number, cpu: string }} measured
 */
function say(name, { perSecond, cpu }) {
  process.stdout.write(`  ${name.padEnd(34)} ${Math.round(perSecond)}/s (CPU: ${cpu})\n`);
}

/**
 * @param {string} what
 * @param {string} client
 * @param {number} ratio
 */
function sayRatio(what, client, ratio) {
  process.stdout.write(`${what}: ${ratio.toFixed(2)} × BullMQ's best by ${client}\n`);
}
