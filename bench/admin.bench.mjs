/**
 * How late webhooks come while clients trouble the admin port, and without them: alternating in the
 * same relay. Beside it what memory the relay has, and how long a probe of /livez takes.
 */
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { isChild, serve, startChild } from './lib/child.mjs';
import { addEvenly } from './lib/evenly.mjs';
import { mib, residentBytesNow } from './lib/memory.mjs';
import { median, percentile, summaryMs } from './lib/percentiles.mjs';
import { startReceiver } from './lib/receiver.mjs';
import { startRelay } from './lib/relay.mjs';
import { SECRET } from './lib/webhook.mjs';

const PER_SECOND = 100;
const LIFE_MS = 500;
const PATIENCE_MS = 60_000;
const PROBE_EVERY_MS = 250;

const ask = (/** @type {string} */ path) => `GET ${path} HTTP/1.1\r\nHost: relay\r\n\r\n`;

/**
 * @typedef {object} Client
 * @property {number} connections at the same time; when one is closed, another is opened
 * @property {string} send
 * @property {boolean} [unread] it does not read
 * @property {number} [dripMs] it sends one more byte this often
 * @property {boolean} [resets] it ends each connection at once
 */

/** @type {Readonly<Record<string, Client>>} */
const CLIENTS = {
  'unread, pipelined': { connections: 10, send: ask('/metrics').repeat(25_000), unread: true },
  '150 silent': { connections: 150, send: '' },
  '150 slow': { connections: 150, send: 'GET /livez HTTP/1.1\r\nA: ', dripMs: 100 },
  'flood of /livez by 1': { connections: 1, send: ask('/livez') },
  'flood of /livez by 50': { connections: 50, send: ask('/livez') },
  'flood of /metrics by 50': { connections: 50, send: ask('/metrics') },
  'flood of pipelined / by 50': { connections: 50, send: 'GET / HTTP/1.1\r\n\r\n'.repeat(3_600) },
  'flood of /livez by 1,000': { connections: 1_000, send: ask('/livez') },
  'connect and reset by 50': { connections: 50, send: '', resets: true },
};

if (isChild(import.meta.url)) serve(trouble);

async function trouble() {
  // A server that is not the relay, for the load of the clients on this machine alone.
  const elsewhere = createServer((_, response) => response.end('ok\n'));
  await new Promise((resolve) => elsewhere.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = elsewhere.address();
  const ownPort = typeof address === 'object' ? (address?.port ?? 0) : 0;
  let port = ownPort;
  /** @type {Set<import('node:net').Socket>} */
  const sockets = new Set();
  let opened = 0;
  /** @type {Client | null} */
  let client = null;

  function open() {
    if (client === null) return;
    const { send, unread, dripMs, resets } = client;
    const socket = connect(port, '127.0.0.1');
    opened += 1;
    sockets.add(socket);
    if (!unread) socket.resume();
    socket.on('error', () => undefined);
    socket.on('connect', () => {
      if (resets) socket.resetAndDestroy();
      else socket.write(send);
      if (dripMs === undefined) return;
      const drip = setInterval(() => socket.write('x'), dripMs);
      socket.on('close', () => clearInterval(drip));
    });
    socket.on('close', () => {
      sockets.delete(socket);
      open();
    });
  }

  return {
    /** @param {{ client: Client, adminPort: number | null }} what */
    begin({ client: begun, adminPort }) {
      client = begun;
      port = adminPort ?? ownPort;
      opened = 0;
      for (let count = 0; count < begun.connections; count += 1) open();
    },
    end() {
      client = null;
      for (const socket of sockets) socket.destroy();
      return opened;
    },
  };
}

/**
 * Until it is stopped: how long each probe took, by a connection of its own.
 * @param {string} url
 */
function probe(url) {
  /** @type {number[]} */
  const tookMs = [];
  let failed = 0;
  let isOver = false;
  const over = (async () => {
    while (!isOver) {
      const fromMs = performance.now();
      try {
        await (await fetch(url, { headers: { connection: 'close' } })).text();
        tookMs.push(performance.now() - fromMs);
      } catch {
        failed += 1;
      }
      await sleep(PROBE_EVERY_MS);
    }
  })();
  return async () => {
    isOver = true;
    await over;
    return { tookMs, failed };
  };
}

/** @param {readonly string[]} args endpoints; seconds; rounds; which clients, or all */
export async function admin([endpoints = '3', seconds = '10', rounds = '3', which = '']) {
  const count = PER_SECOND * Number(seconds);
  const receiver = await startReceiver();
  const server = await startRedis();
  const redis = new Redis(server.url, { protocol: 2 });
  const names = Array.from({ length: Number(endpoints) }, (_, n) => `endpoint-${n}`);
  const endpoint = { url: receiver.url, secrets: [SECRET] };
  const relay = await startRelay({
    redis: { url: server.url },
    endpoints: Object.fromEntries(names.map((name) => [name, endpoint])),
    routes: names.map((name, n) => ({
      name: `route-${n}`,
      match: n === 0 ? 'order:{name}:{deadline}' : `other-${n}:*`,
      to: name,
      ...(n === 0 ? { path: '/{name}/{deadline}' } : {}),
    })),
  });
  await relay.ready();
  const clients = await startChild(import.meta.url);

  async function measure() {
    await receiver.reset();
    const stopProbe = probe(`http://127.0.0.1:${relay.adminPort}/livez`);
    let rssMax = 0;
    const looking = setInterval(async () => {
      rssMax = Math.max(rssMax, await residentBytesNow(relay.pid));
    }, PROBE_EVERY_MS);
    await addEvenly({ count, perSecond: PER_SECOND, lifeMs: LIFE_MS }, (name, deadlineMs) =>
      redis.set(`order:${name}:${deadlineMs}`, '', 'PXAT', deadlineMs),
    );
    const { latenessesMs } = await receiver.reached(count, LIFE_MS + PATIENCE_MS);
    clearInterval(looking);
    return { latenessesMs, rssMax, probes: await stopProbe() };
  }

  process.stdout.write(
    `${endpoints} endpoints; ${PER_SECOND} keys a second for ${seconds} s; deadline → webhook received\n`,
  );
  for (const [name, client] of Object.entries(CLIENTS)) {
    if (!name.includes(which)) continue;
    process.stdout.write(`${name}\n`);
    /** @type {number[]} */
    const p99sWithout = [];
    /** @type {number[]} */
    const p99s = [];
    for (let round = 0; round < Number(rounds); round += 1) {
      const without = await measure();
      await clients.ask('begin', { client, adminPort: null });
      const elsewhere = await measure();
      await clients.ask('end');
      await clients.ask('begin', { client, adminPort: relay.adminPort });
      const beside = await measure();
      const opened = await clients.ask('end');
      p99sWithout.push(percentile(without.latenessesMs, 0.99));
      p99s.push(percentile(beside.latenessesMs, 0.99));
      process.stdout.write(
        `  without: ${summaryMs(without.latenessesMs)}; resident ${mib(without.rssMax)}\n` +
          `  elsewhere: ${summaryMs(elsewhere.latenessesMs)}\n` +
          `  ${opened} connections: ${summaryMs(beside.latenessesMs)}; ` +
          `resident ${mib(beside.rssMax)}; ${beside.latenessesMs.length} of ${count} arrived\n` +
          `    /livez: ${summaryMs(beside.probes.tookMs)}; ${beside.probes.failed} failed\n`,
      );
    }
    const [before, after] = [median(p99sWithout), median(p99s)];
    process.stdout.write(
      `  p99, median of the rounds: ${before.toFixed(1)} → ${after.toFixed(1)} ms, ` +
        `times ${(after / before).toFixed(2)}\n`,
    );
  }
  await clients.stop();
  await relay.stop();
  redis.disconnect();
  await server.stop();
  await receiver.stop();
}
