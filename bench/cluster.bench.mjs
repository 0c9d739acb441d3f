/**
 * A Redis Cluster beside a single server: the lateness of webhooks, also of keys whose slots move meanwhile, and the time
 * from the end of a primary (kill -9) to the first webhook of its slots.
 */
import { createServer } from 'node:http';
import keySlot from 'cluster-key-slot';
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { moveSlot, PRIMARIES, startCluster } from './lib/cluster.mjs';
import { addEvenly } from './lib/evenly.mjs';
import { summaryMs } from './lib/percentiles.mjs';
import { startRelay } from './lib/relay.mjs';
import { wallClock } from './lib/wall-clock.mjs';
import { SECRET } from './lib/webhook.mjs';

const PER_SECOND = 200;
const LIFE_MS = 2_000;
const PATIENCE_MS = 30_000;
const MOVED_SLOTS = 200;
const SLOTS = 16_384;

/** @typedef {{ name: string, deadlineMs: number, atMs: number }} Arrival */

/** Receives webhooks whose paths are /NAME/DEADLINE. */
async function startArrivals() {
  const now = wallClock();
  /** @type {Map<string, Arrival>} */
  const arrivals = new Map();
  const server = createServer((request, response) => {
    const atMs = now();
    request.resume().on('end', () => {
      response.writeHead(204).end();
      const [, name = '', deadline] = (request.url ?? '').split('/');
      if (!arrivals.has(name)) arrivals.set(name, { name, deadlineMs: Number(deadline), atMs });
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  return {
    arrivals,
    now,
    url: `http://127.0.0.1:${port}/`,
    stop: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * @param {object} redis the section of the file
 * @param {string} stateUrl
 * @param {string} url
 */
async function relayOf(redis, stateUrl, url) {
  const relay = await startRelay({
    redis,
    state: { url: stateUrl },
    endpoints: { shop: { url, secrets: [SECRET], concurrency: 32 } },
    routes: [
      { name: 'orders', match: 'order:{name}:{deadline}', to: 'shop', path: '/{name}/{deadline}' },
    ],
  });
  await relay.ready();
  return relay;
}

/**
 * Sets keys at an even rate, and waits for their webhooks.
 * @param {Pick<Redis, 'set'>} client
 * @param {number} count
 * @param {Map<string, Arrival>} arrivals
 */
async function expireEvenly(client, count, arrivals) {
  arrivals.clear();
  /** @type {Map<string, number>} */
  const slots = new Map();
  await addEvenly({ count, perSecond: PER_SECOND, lifeMs: LIFE_MS }, async (name, deadlineMs) => {
    const key = `order:${name}:${deadlineMs}`;
    if (name !== 'warm') slots.set(name, keySlot(key));
    // A cluster refuses keys during a failover.
    client.set(key, '', 'PXAT', deadlineMs).catch(() => slots.delete(name));
  });
  const untilMs = performance.now() + PATIENCE_MS;
  const isDone = () => [...slots.keys()].every((name) => arrivals.has(name));
  while (!isDone() && performance.now() < untilMs)
    await new Promise((done) => setTimeout(done, 50));
  return slots;
}

/** @param {Iterable<Arrival>} all */
const latenessOf = (all) => Array.from(all, ({ atMs, deadlineMs }) => atMs - deadlineMs);

/** @param {string} name @param {string} text */
const say = (name, text) => process.stdout.write(`  ${name.padEnd(30)} ${text}\n`);

/** @param {readonly string[]} args seconds; rounds */
export async function cluster([seconds = '10', rounds = '1']) {
  const count = PER_SECOND * Number(seconds);
  process.stdout.write(
    `${PER_SECOND} keys a second for ${seconds} s; deadline → webhook received\n`,
  );
  for (let round = 1; round <= Number(rounds); round += 1) {
    const receiver = await startArrivals();
    const { arrivals, url } = receiver;
    const state = await startRedis();
    const single = await startRedis();
    const client = new Redis(single.url, { protocol: 2 });
    const alone = await relayOf({ url: single.url }, state.url, url);
    const ofSingle = await expireEvenly(client, count, arrivals);
    arrivals.delete('warm');
    say(
      'single server',
      `${arrivals.size} of ${ofSingle.size}: ${summaryMs(latenessOf(arrivals.values()))}`,
    );
    await alone.stop();
    client.disconnect();
    await Promise.all([single.stop(), state.stop()]);
    await measureCluster(receiver, count);
    await receiver.stop();
  }
}

/**
 * @param {Awaited<ReturnType<typeof startArrivals>>} receiver
 * @param {number} count
 */
async function measureCluster({ arrivals, now, url }, count) {
  const state = await startRedis();
  const running = await startCluster();
  const { client, primaries, nodes } = running;
  const relay = await relayOf({ cluster: { nodes } }, state.url, url);
  const calm = await expireEvenly(client, count, arrivals);
  arrivals.delete('warm');
  say('cluster', `${arrivals.size} of ${calm.size}: ${summaryMs(latenessOf(arrivals.values()))}`);

  const [from, to] = primaries;
  if (from === undefined || to === undefined) throw new Error('expected primaries');
  const slots = Array.from({ length: MOVED_SLOTS }, (_, n) => n);
  const moving = (async () => {
    for (const slot of slots) await moveSlot(slot, from, to);
  })();
  const setSlots = await expireEvenly(client, count, arrivals);
  await moving;
  arrivals.delete('warm');
  /** @param {Arrival} one */
  const isMoved = ({ name }) => (setSlots.get(name) ?? SLOTS) < MOVED_SLOTS;
  const moved = [...arrivals.values()].filter(isMoved);
  say('cluster, keys of moved slots', `${moved.length} keys: ${summaryMs(latenessOf(moved))}`);
  const others = [...arrivals.values()].filter((one) => !isMoved(one));
  say('cluster, other keys then', `${others.length} keys: ${summaryMs(latenessOf(others))}`);

  // The last primary has had its slots from the beginning.
  const dead = primaries[PRIMARIES - 1];
  const fromSlot = Math.round(((PRIMARIES - 1) * SLOTS) / PRIMARIES);
  let killedAtMs = Number.NaN;
  const timer = setTimeout(() => {
    killedAtMs = now();
    void dead?.server.kill('SIGKILL');
  }, LIFE_MS);
  const killSlots = await expireEvenly(client, count, arrivals);
  clearTimeout(timer);
  arrivals.delete('warm');
  const all = [...arrivals.values()];
  const ofDead = all.filter(({ name }) => (killSlots.get(name) ?? 0) >= fromSlot);
  const after = ofDead.filter(
    ({ atMs, deadlineMs }) => deadlineMs > killedAtMs && atMs > killedAtMs,
  );
  const firstAtMs = Math.min(...after.map(({ atMs }) => atMs));
  const alive = all.filter(({ name }) => (killSlots.get(name) ?? SLOTS) < fromSlot);
  say('kill -9 → first webhook', `${((firstAtMs - killedAtMs) / 1_000).toFixed(1)} s`);
  say('kill -9, other primaries', `${alive.length} keys: ${summaryMs(latenessOf(alive))}`);
  await relay.stop();
  await running.stop();
  await state.stop();
}
