/**
 * The commands that Redis executes for one key over its life: from the SET of the application to the
 * webhook that is done with. Commands that scripts call count; the application's own do not.
 */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { writeKeys } from './lib/keys.mjs';
import { startReceiver } from './lib/receiver.mjs';
import { shopFile, startRelay } from './lib/relay.mjs';
import { SECRET } from './lib/webhook.mjs';

const PER_SECOND = 200;
const LIFE_MS = 2_000;
/** Time to write a burst. */
const LEAD_MS = 5_000;
const AT_REST_MS = 10_000;
/** Time to settle the rest after the last webhook is received. */
const AFTERWARDS_MS = 1_000;
const SHOWN_FROM = 0.005;
/** The commands of the bench itself: EVAL writes the keys of a burst. */
const BENCH_OWN = ['info', 'eval', 'monitor'];

/** @typedef {Map<string, number>} Calls by the command's name */

/**
 * Counts the commands in scripts, as shown by MONITOR.
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

/** The number of all commands, including those of scripts, and of reads from clients. */
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

/**
 * @typedef {object} Pattern
 * @property {(redis: Redis, count: number) => Promise<unknown>} write
 * @property {boolean} inScript whether it is a script that does
 */

/** @type {Readonly<Record<string, Pattern>>} */
const PATTERNS = {
  [`${PER_SECOND} keys a second`]: { write: evenly, inScript: false },
  'all due in the same millisecond': {
    write: (redis, count) => writeKeys(redis, { count, deadlineMs: Date.now() + LEAD_MS }),
    inScript: true,
  },
};

/**
 * @typedef {object} Spent
 * @property {Calls} all those of scripts among them; neither the application's nor the bench's own
 * @property {Calls} inScripts
 * @property {number} reads of the relay's sockets
 * @property {number} atRest calls that there would have been without any keys
 */

/**
 * @param {import('./lib/receiver.mjs').Receiver} receiver
 * @param {Pattern} pattern
 * @param {number} count
 * @param {object} route what it is to have beside the usual
 * @returns {Promise<Spent>}
 */
async function measure(receiver, { write, inScript }, count, route) {
  const server = await startRedis();
  const redis = new Redis(server.url, { protocol: 2 });
  await receiver.reset();
  const endpoint = { url: receiver.url, secrets: [SECRET] };
  const relay = await startRelay(shopFile(server.url, endpoint, route));
  await relay.ready();
  const resting = await look(redis);
  await sleep(AT_REST_MS);
  const rested = await look(redis);
  const scripts = await countInScripts(server.port);
  const before = await look(redis);
  await write(redis, count);
  await receiver.reached(count);
  await sleep(AFTERWARDS_MS);
  const after = await look(redis);
  scripts.stop();
  await relay.stop();
  redis.disconnect();
  await server.stop();

  const all = difference(after.calls, before.calls);
  const inScripts = scripts.calls;
  all.set('set', (all.get('set') ?? 0) - count);
  if (inScript) inScripts.set('set', (inScripts.get('set') ?? 0) - count);
  for (const ours of BENCH_OWN) all.delete(ours);
  const atRestPerMs = sum(difference(rested.calls, resting.calls)) / (rested.atMs - resting.atMs);
  return {
    all,
    inScripts,
    reads: after.reads - before.reads - (inScript ? 0 : count),
    atRest: atRestPerMs * (after.atMs - before.atMs),
  };
}

/** @param {readonly string[]} args keys; `value` when the webhooks are to carry the value */
export async function commands([keys = '10000', which]) {
  const count = Number(keys);
  /** @param {number | undefined} calls */
  const each = (calls = 0) => (calls / count).toFixed(2);
  const route = which === 'value' ? { include: ['value'] } : {};
  const receiver = await startReceiver();
  for (const [name, pattern] of Object.entries(PATTERNS)) {
    const { all, inScripts, reads, atRest } = await measure(receiver, pattern, count, route);
    process.stdout.write(`${name}, ${count} keys: calls for each\n`);
    for (const [command, calls] of [...all].sort(([, a], [, b]) => b - a)) {
      if (calls / count < SHOWN_FROM) continue;
      const total = each(calls).padStart(6);
      process.stdout.write(
        `  ${command.padEnd(18)} ${total}, in scripts ${each(inScripts.get(command))}\n`,
      );
    }
    const [total, within] = [sum(all), sum(inScripts)];
    process.stdout.write(
      `  all: ${each(total)} = ${each(total - within)} sent by the relay, in ${each(reads)} reads ` +
        `of its sockets, + ${each(within)} called by its scripts\n` +
        `  of these it would have made ${each(atRest)} without any keys\n`,
    );
  }
  await receiver.stop();
}
