/**
 * A cold start beside keys that all have to be tracked: how long until they are, what the relay and
 * its index need, and what another client of the same Redis feels of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { fill } from './lib/keys.mjs';
import { MIB, mib, residentBytes, residentBytesMax } from './lib/memory.mjs';
import { percentile, summaryMs } from './lib/percentiles.mjs';
import { startPinger } from './lib/pinger.mjs';
import { shopFile, startRelay } from './lib/relay.mjs';

/** How long PINGs are measured before the start. */
const BASELINE_MS = 3_000;

const SLOWEST_SHOWN = 3;

/** As in 'order:123456:unpaid': the fill pads nothing. @param {number} count */
function meanNameBytes(count) {
  let digits = 0;
  for (let n = 0; n < count; n += 1) digits += String(n).length;
  return 'order:'.length + digits / count + ':unpaid'.length;
}

/** Of all of the index, whatever keys it lies in. @param {Redis} redis */
async function indexBytes(redis) {
  let bytes = 0;
  for (const key of await redis.keys('{expiry-relay}:*:deadlines:*')) {
    bytes += Number(await redis.memory('USAGE', key, 'SAMPLES', 0));
  }
  return bytes;
}

/**
 * The commands, scripts among them, that held up Redis longest; Redis before 7.0 does not say.
 * @param {Redis} redis
 */
async function slowest(redis) {
  const info = await redis.info('latencystats');
  const found = [
    ...info.matchAll(/^latency_percentiles_usec_(\S+?):.*p99=([\d.]+),p99.9=([\d.]+)/gm),
  ];
  return found
    .map(([, name = '', p99, p999]) => ({ name, p99: Number(p99) / 1e3, p999: Number(p999) / 1e3 }))
    .sort((a, b) => b.p999 - a.p999)
    .slice(0, SLOWEST_SHOWN)
    .map(({ name, p99, p999 }) => `${name} p99 ${p99.toFixed(1)}, p99.9 ${p999.toFixed(1)} ms`);
}

/**
 * @typedef {object} Measured
 * @property {number} seconds from the process's start until all are tracked
 * @property {number[]} pingsBefore in milliseconds
 * @property {number[]} pings in milliseconds
 * @property {string[]} slow what held up Redis longest meanwhile
 * @property {number} rss in bytes
 * @property {number} rssMax in bytes
 * @property {number} indexPerKey bytes beside the key's own name
 */

/**
 * @param {number} count
 * @returns {Promise<Measured>}
 */
async function coldStart(count) {
  const server = await startRedis();
  const redis = new Redis(server.url, { protocol: 2 });
  await fill(redis, { count });
  await redis.config('RESETSTAT');
  const pinger = await startPinger(server.url);
  await pinger.take();
  await sleep(BASELINE_MS);
  const pingsBefore = await pinger.take();
  const startMs = performance.now();
  const relay = await startRelay(
    shopFile(server.url, { url: 'http://127.0.0.1:9/', secrets: 'none' }),
  );
  await relay.metricIs('tracked_deadlines', (tracked) => tracked >= count);
  const seconds = (performance.now() - startMs) / 1_000;
  const pings = await pinger.take();
  const slow = await slowest(redis);
  await pinger.stop();
  await relay.ready();
  const rss = await residentBytes(relay.pid);
  const rssMax = await residentBytesMax(relay.pid);
  const indexPerKey = (await indexBytes(redis)) / count - meanNameBytes(count);
  await relay.stop();
  redis.disconnect();
  await server.stop();
  return { seconds, pingsBefore, pings, slow, rss, rssMax, indexPerKey };
}

/**
 * @param {string} what
 * @param {string} found
 * @param {string} target
 */
function say(what, found, target) {
  process.stdout.write(`  ${what.padEnd(22)} ${found.padEnd(44)} target: ${target}\n`);
}

/** @param {readonly string[]} args keys; a tenth of it is measured beside it */
export async function tracked([keys = '1000000']) {
  const most = Number(keys);
  let fewer = 0;
  for (const count of [Math.round(most / 10), most]) {
    process.stdout.write(`${count} keys there at the start, all to be tracked\n`);
    const found = await coldStart(count);
    const { seconds, pingsBefore, pings, rss, rssMax, indexPerKey } = found;
    say('all tracked after', `${seconds.toFixed(1)} s`, '30 s with 1,000,000');
    say('PING before', summaryMs(pingsBefore), '-');
    say('PING meanwhile', summaryMs(pings), 'p99 10 ms');
    say('  of these over 10 ms', `${pings.filter((ms) => ms > 10).length} of ${pings.length}`, '-');
    say('  p99.9', `${percentile(pings, 0.999).toFixed(1)} ms`, '-');
    for (const one of found.slow) say('  held up Redis', one, '-');
    say('relay, resident', mib(rss), '150 MB');
    say('relay, at most', mib(rssMax), '150 MB');
    say('index, beside the name', `${indexPerKey.toFixed(1)} bytes a key`, '200 bytes');
    if (count === most) {
      const more = (rssMax - fewer) / MIB;
      say('more than with a tenth', `${more.toFixed(1)} MiB at most`, '20 MB');
    }
    fewer = rssMax;
  }
}
