/**
 * How late the webhooks of one healthy endpoint come beside 14 endpoints whose receivers are
 * hostile, and beside 14 well-behaved ones; the two in turn.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { cpuSeconds, waitedSeconds } from './lib/cpu.mjs';
import { HOSTILE_KINDS, startHostile } from './lib/hostile-receiver.mjs';
import { median, percentile, summaryMs } from './lib/percentiles.mjs';
import { startReceiver } from './lib/receiver.mjs';
import { startRelay } from './lib/relay.mjs';
import { SECRET } from './lib/webhook.mjs';

const NEIGHBORS = 14;
const PER_SECOND = 30;
const LIFE_MS = 2_000;
/** The longest wait for webhooks of the healthy endpoint after the last deadline. */
const PATIENCE_MS = 20_000;
/** The first seconds are not counted: the relay's code is still being compiled. */
const WARM_S = 2;

/** What a process has used since its start. @param {number} pid */
async function used(pid) {
  return {
    cpuS: (await cpuSeconds(pid)) ?? Number.NaN,
    waitedS: (await waitedSeconds(pid)) ?? Number.NaN,
    bytes: await bytesRead(pid),
  };
}

/** Bytes that a process has read, from sockets as well. @param {number} pid */
async function bytesRead(pid) {
  const [, bytes] = /^rchar: (\d+)$/m.exec(await readFile(`/proc/${pid}/io`, 'utf8')) ?? [];
  return Number(bytes);
}

/**
 * @param {readonly string[]} kinds
 * @param {number} seconds
 */
async function measured(kinds, seconds) {
  const server = await startRedis();
  const redis = new Redis(server.url, { protocol: 2 });
  const healthy = await startReceiver();
  const neighbors = await startHostile(kinds);
  const endpoints = new Map(neighbors.urls.map((url, at) => [`neighbor-${at}`, url]));
  endpoints.set('healthy', healthy.url);
  const names = [...endpoints.keys()];
  const relay = await startRelay({
    redis: { url: server.url },
    endpoints: Object.fromEntries(
      Array.from(endpoints, ([name, url]) => [name, { url, secrets: [SECRET] }]),
    ),
    routes: names.map((name) => ({
      name,
      match: `${name}:{name}:{deadline}`,
      to: name,
      path: '/{name}/{deadline}',
    })),
  });
  await relay.ready();
  const total = PER_SECOND * (WARM_S + seconds);
  const startMs = performance.now();
  let before = await used(relay.pid);
  for (let n = 0; n < total; n += 1) {
    if (n === PER_SECOND * WARM_S) before = await used(relay.pid);
    // Spread over the time between two of the same endpoint.
    for (const [at, name] of names.entries()) {
      const dueMs = startMs + ((n + at / names.length) * 1_000) / PER_SECOND;
      if (dueMs > performance.now()) await sleep(dueMs - performance.now());
      const deadlineMs = Date.now() + LIFE_MS;
      const id = n < PER_SECOND * WARM_S ? 'warm' : n;
      void redis.set(`${name}:${id}:${deadlineMs}`, '', 'PXAT', deadlineMs);
    }
  }
  const count = PER_SECOND * seconds;
  const after = await used(relay.pid);
  const { latenessesMs } = await healthy.reached(count, LIFE_MS + PATIENCE_MS);
  await relay.stop();
  await neighbors.stop();
  await healthy.stop();
  redis.disconnect();
  await server.stop();
  const percent = (/** @type {number} */ usedS) => Math.round((usedS / seconds) * 100);
  return {
    p99: percentile(latenessesMs, 0.99),
    text:
      `${latenessesMs.length} of ${count} arrived: ${summaryMs(latenessesMs)}; ` +
      `relay: ${percent(after.cpuS - before.cpuS)} % of a core, waited for one ` +
      `${percent(after.waitedS - before.waitedS)} % of the time, ` +
      `${((after.bytes - before.bytes) / seconds / 1e6).toFixed(1)} MB/s read`,
  };
}

/** @param {readonly string[]} args seconds; rounds; a kind, or `all` for one of each */
export async function hostile([seconds = '15', rounds = '3', kind = 'all']) {
  if (kind !== 'all' && !HOSTILE_KINDS.includes(kind)) {
    throw new Error(`expected all or one of ${HOSTILE_KINDS.join(', ')}; found ${kind}`);
  }
  const kinds = Array.from({ length: NEIGHBORS }, (_, at) =>
    kind === 'all' ? (HOSTILE_KINDS[at % HOSTILE_KINDS.length] ?? '') : kind,
  );
  /** @type {Readonly<Record<string, readonly string[]>>} */
  const sides = { 'well-behaved': kinds.map(() => 'well-behaved'), hostile: kinds };
  /** @type {Record<string, number[]>} */
  const p99s = { 'well-behaved': [], hostile: [] };
  process.stdout.write(
    `a healthy endpoint beside ${NEIGHBORS} others (${kind}), ${PER_SECOND} keys a second for ` +
      `each, for ${seconds} s; deadline → webhook received\n`,
  );
  for (let round = 1; round <= Number(rounds); round += 1) {
    for (const [side, which] of Object.entries(sides)) {
      const { p99, text } = await measured(which, Number(seconds));
      p99s[side]?.push(p99);
      process.stdout.write(`  ${side.padEnd(13)} ${text}\n`);
    }
  }
  const [calm, beset] = Object.values(p99s).map(median);
  process.stdout.write(
    `p99, median of ${rounds}: ${calm?.toFixed(1)} ms and ${beset?.toFixed(1)} ms: ` +
      `${((beset ?? 0) / (calm ?? 1)).toFixed(1)} times\n`,
  );
}
