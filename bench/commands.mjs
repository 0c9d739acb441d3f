/**
 * What Redis is asked to do for one key over its life: from the SET of the application to the
 * webhook that is done with. Commands that scripts call count; the application's own do not.
 */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/redis-server.mjs';
import { writeKeys } from './keys.mjs';
import { startReceiver } from './receiver.mjs';
import { shopFile, startRelay } from './relay.mjs';
import { SECRET } from './webhook.mjs';

const PER_SECOND = 200;
const LIFE_MS = 2_000;
/** For a burst to be written. */
const LEAD_MS = 5_000;
const AT_REST_MS = 10_000;
/** What is still to be settled when the last webhook is received. */
const AFTERWARDS_MS = 1_000;
const SHOWN_FROM = 0.005;

/** @typedef {Map<string, number>} Calls by the command's name */

/**
 * Counts what scripts call, as Redis itself tells it to those who monitor it.
 * @param {number} port
 */
async function countInScripts(port) {
  /** @type {Calls} */
  const calls = new Map();
  let rest = '';
  const socket = connect(port, '127.0.0.1');
  socket.setEncoding('latin1').on('data', (/** @type {string} */ text) => {
    const lines = (rest + text).split('\r\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const name = /^\+[\d.]+ \[\d+ lua\] "(\w+)"/.exec(line)?.[1]?.toLowerCase();
      if (name !== undefined) calls.set(name, (calls.get(name) ?? 0) + 1);
    }
  });
  await new Promise((resolve) => socket.write('MONITOR\r\n', resolve));
  return { calls, stop: () => socket.destroy() };
}

/** All there have been, scripts' among them, and how often the server read from a client. */
async function look(/** @type {Redis} */ redis) {
  /** @type {Calls} */
  const calls = new Map();
  const info = await redis.info('commandstats');
  for (const [, name = '', count] of info.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)) {
    calls.set(name, Number(count));
  }
  const reads = /total_reads_processed:(\d+)/.exec(await redis.info('stats'))?.[1];
  return { calls, reads: Number(reads), atMs: performance.now() };
}

/**
 * @param {Calls} after
 * @param {Calls} before
 * @returns {Calls}
 */
function difference(after, before) {
  return new Map(Array.from(after, ([name, calls]) => [name, calls - (before.get(name) ?? 0)]));
}

/** @param {Calls} calls */
const sum = (calls) => [...calls.values()].reduce((total, count) => total + count, 0);

/**
 * @param {Redis} redis
 * @param {number} count
 */
async function evenly(redis, count) {
  const startMs = performance.now();
  for (let n = 0; n < count; n += 1) {
    const dueInMs = startMs + (n * 1_000) / PER_SECOND - performance.now();
    if (dueInMs > 0) await sleep(dueInMs);
    await redis.set(`order:${n}:unpaid`, '', 'PX', LIFE_MS);
  }
}

/** @type {Readonly<Record<string, (redis: Redis, count: number) => Promise<unknown>>>} */
const PATTERNS = {
  [`${PER_SECOND} keys a second`]: evenly,
  'all due in the same millisecond': (redis, count) =>
    writeKeys(redis, { count, deadlineMs: Date.now() + LEAD_MS }),
};

/** @param {readonly string[]} args keys */
export async function commands([keys = '10000']) {
  const count = Number(keys);
  const receiver = await startReceiver();
  for (const [name, write] of Object.entries(PATTERNS)) {
    const server = await startRedis();
    const redis = new Redis(server.url, { protocol: 2 });
    await receiver.reset();
    const endpoint = { url: receiver.url, secrets: [SECRET] };
    const relay = await startRelay(shopFile(server.url, endpoint));
    await relay.ready();
    const resting = await look(redis);
    await sleep(AT_REST_MS);
    const rested = await look(redis);
    const inScripts = await countInScripts(server.port);
    const before = await look(redis);
    await write(redis, count);
    await receiver.reached(count);
    await sleep(AFTERWARDS_MS);
    const after = await look(redis);
    inScripts.stop();

    const all = difference(after.calls, before.calls);
    // The application's, and the bench's.
    all.set('set', (all.get('set') ?? 0) - count);
    for (const ours of ['info', 'eval', 'monitor']) all.delete(ours);
    const scripted = new Map([...inScripts.calls].filter(([of]) => all.has(of)));
    const own = write === evenly ? 0 : count;
    scripted.set('set', Math.max(0, (scripted.get('set') ?? 0) - own));
    process.stdout.write(`${name}, ${count} keys: calls for each\n`);
    for (const [command, calls] of [...all].sort(([, a], [, b]) => b - a)) {
      if (calls / count < SHOWN_FROM) continue;
      const within = ((scripted.get(command) ?? 0) / count).toFixed(2);
      process.stdout.write(
        `  ${command.padEnd(22)} ${(calls / count).toFixed(2).padStart(6)}, in scripts ${within}\n`,
      );
    }
    const direct = sum(all) - sum(scripted);
    const seconds = (rested.atMs - resting.atMs) / 1_000;
    const rest = sum(difference(rested.calls, resting.calls)) / seconds;
    const tookS = (after.atMs - before.atMs) / 1_000;
    const reads = after.reads - before.reads - (write === evenly ? count : 0);
    process.stdout.write(
      `  all: ${(sum(all) / count).toFixed(2)}, of which ${(direct / count).toFixed(2)} sent by the ` +
        `relay and ${(sum(scripted) / count).toFixed(2)} called by its scripts; they came in ` +
        `${(reads / count).toFixed(3)} reads of its sockets\n` +
        `  of these, what it does at rest (${rest.toFixed(1)} a second): ` +
        `${((rest * tookS) / count).toFixed(2)}\n`,
    );
    await relay.stop();
    redis.disconnect();
    await server.stop();
  }
  await receiver.stop();
}
