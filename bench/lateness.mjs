/**
 * How late a webhook comes after its key's deadline, beside so many other keys that will expire, too:
 * the relay, a plain subscriber on `expired` that POSTs by itself, and BullMQ's delayed jobs. The three
 * one after the other, at each size, on servers of their own with the same content.
 */

import { Redis } from 'ioredis';
import { request } from 'undici';
import { startRedis } from '../scripts/redis-server.mjs';
import { compared } from './compared.mjs';
import { startLatenessReceiver } from './lateness-receiver.mjs';
import { startRelay } from './relay.mjs';

const SIZES = (process.argv[3] ?? '0,10000,100000,1000000').split(',').map(Number);
const PER_SECOND = 200;
const SECONDS = Number(process.argv[4] ?? 10);
const KEYS = PER_SECOND * SECONDS;
const LIFE_MS = 2_000;

/** A plain subscriber hears most of its keys only much later: it is not waited for. */
const PATIENCE_MS = 15_000;

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * @param {Redis} redis
 * @param {number} count
 */
async function fill(redis, count) {
  for (let from = 0; from < count; from += 5_000) {
    const pipeline = redis.pipeline();
    for (let n = from; n < Math.min(count, from + 5_000); n += 1) {
      pipeline.set(`other:${n}`, '', 'EX', 3_600 + (n % 3_600));
    }
    await pipeline.exec();
  }
}

/**
 * Calls `add` for each key, at an even rate; its deadline is in the key's name.
 * @param {(key: string, deadlineMs: number) => Promise<unknown>} add
 */
async function write(add) {
  const startMs = performance.now();
  for (let n = 0; n < KEYS; n += 1) {
    await sleep(startMs + (n * 1_000) / PER_SECOND - performance.now());
    const deadlineMs = Date.now() + LIFE_MS;
    await add(`order:${n}:${deadlineMs}`, deadlineMs);
  }
}

/** @typedef {{ url: string, latenessesMs: number[] }} Receiver */

/**
 * @param {Redis} redis
 * @param {Receiver} receiver
 * @param {string} url
 */
async function viaRelay(redis, receiver, url) {
  const relay = await startRelay({
    redis: { url },
    endpoints: { shop: { url: receiver.url, secrets: 'none' } },
    routes: [{ name: 'orders', match: 'order:*', to: 'shop' }],
  });
  await relay.ready();
  await write((key, deadlineMs) => redis.set(key, '', 'PXAT', deadlineMs));
  await settled(receiver);
  await relay.stop();
}

/**
 * As tutorials do it.
 * @param {Redis} redis
 * @param {Receiver} receiver
 * @param {string} url
 */
async function viaSubscriber(redis, receiver, url) {
  await redis.config('SET', 'notify-keyspace-events', 'Ex');
  const subscriber = new Redis(url);
  subscriber.on('message', (_, key) => {
    const body = JSON.stringify({ data: { key } });
    request(receiver.url, { method: 'POST', body }).then(({ body }) => body.dump());
  });
  await subscriber.subscribe('__keyevent@0__:expired');
  await write((key, deadlineMs) => redis.set(key, '', 'PXAT', deadlineMs));
  await settled(receiver);
  subscriber.disconnect();
}

/**
 * @param {Redis} _
 * @param {Receiver} receiver
 * @param {string} url
 */
async function viaBullMq(_, receiver, url) {
  const { Queue, Worker } = await compared('bullmq');
  const { port } = new URL(url);
  const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };
  const queue = new Queue('orders', { connection });
  const worker = new Worker(
    'orders',
    async (/** @type {{ data: { key: string } }} */ { data }) => {
      const body = JSON.stringify({ data: { key: data.key } });
      await (await request(receiver.url, { method: 'POST', body })).body.dump();
    },
    { connection, concurrency: 32 },
  );
  await worker.waitUntilReady();
  await write((key, deadlineMs) =>
    queue.add('order', { key }, { delay: deadlineMs - Date.now(), removeOnComplete: true }),
  );
  await settled(receiver);
  await worker.close();
  await queue.close();
}

/** @param {{ latenessesMs: number[] }} receiver */
async function settled(receiver) {
  const untilMs = Date.now() + LIFE_MS + PATIENCE_MS;
  while (receiver.latenessesMs.length < KEYS && Date.now() < untilMs) await sleep(50);
}

/** @param {number[]} latenessesMs */
function summary(latenessesMs) {
  const sorted = latenessesMs.toSorted((a, b) => a - b);
  /** @param {number} share */
  const at = (share) =>
    sorted.length === 0 ? '-' : sorted[Math.floor((sorted.length - 1) * share)];
  const late = `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
  return sorted.length === KEYS ? late : `${late} (of the ${sorted.length} that came of ${KEYS})`;
}

export async function lateness() {
  for (const size of SIZES) {
    process.stdout.write(`${size} other keys, ${PER_SECOND} keys a second for ${SECONDS} s\n`);
    for (const [name, via] of Object.entries({
      relay: viaRelay,
      subscriber: viaSubscriber,
      bullmq: viaBullMq,
    })) {
      const server = await startRedis();
      const redis = new Redis(server.url, { protocol: 2 });
      const receiver = await startLatenessReceiver();
      await fill(redis, size);
      await via(redis, receiver, server.url);
      process.stdout.write(`  ${name.padEnd(10)} ${summary(receiver.latenessesMs)}\n`);
      await receiver.stop();
      redis.disconnect();
      await server.stop();
    }
  }
}
