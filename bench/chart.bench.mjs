/**
 * Measures the figures of docs/lateness.svg and writes them to docs/lateness.json: how late a webhook of the
 * relay and of a plain subscriber comes, beside ever more other keys with a TTL. `npm run chart` draws them.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { measureLateness } from './lib/lateness.mjs';
import { percentile, summaryMs } from './lib/percentiles.mjs';
import { startReceiver } from './lib/receiver.mjs';

const FILE = fileURLToPath(new URL('../docs/lateness.json', import.meta.url));

/** Above the last size, a plain subscriber takes minutes to an hour. */
const SIZES = {
  relay: [0, 100, 1_000, 10_000, 100_000, 1_000_000],
  subscriber: [0, 100, 1_000, 10_000],
};
/** A full round of Redis through 10,000 keys takes 50 s. */
const PATIENCE_MS = 70_000;

async function versionOfRedis() {
  const server = await startRedis();
  const redis = new Redis(server.url);
  const info = await redis.info('server');
  redis.disconnect();
  await server.stop();
  return /^redis_version:(\S+)/m.exec(info)?.[1] ?? 'of an unknown version';
}

/** @param {number} ms */
const rounded = (ms) => Number(ms.toPrecision(3));

/**
 * @param {readonly string[]} args keys a second; seconds. So few keys that most of those in Redis are not
 *   past their deadlines: beside many that are, Redis expires faster.
 */
export async function chart([perSecond = '10', seconds = '20']) {
  const count = Number(perSecond) * Number(seconds);
  const receiver = await startReceiver();
  /** @param {keyof typeof SIZES} name */
  const measure = async (name) => {
    const points = [];
    for (const otherKeys of SIZES[name]) {
      const load = { otherKeys, perSecond: Number(perSecond), count, patienceMs: PATIENCE_MS };
      const latenessesMs = await measureLateness(name, receiver, load);
      if (latenessesMs.length < count) {
        throw new Error(`${name}: expected ${count} webhooks, found ${latenessesMs.length}`);
      }
      process.stdout.write(`${name} beside ${otherKeys}: ${summaryMs(latenessesMs)}\n`);
      const p50Ms = rounded(percentile(latenessesMs, 0.5));
      points.push({ otherKeys, p50Ms, p99Ms: rounded(percentile(latenessesMs, 0.99)) });
    }
    return points;
  };
  const figures = {
    command: `npm run bench -- chart ${perSecond} ${seconds}`,
    machine: `${cpus().length} cores, Node.js ${process.versions.node}, Redis ${await versionOfRedis()}`,
    relay: await measure('relay'),
    subscriber: await measure('subscriber'),
  };
  await receiver.stop();
  writeFileSync(FILE, `${JSON.stringify(figures, null, 2)}\n`);
  process.stdout.write(`wrote ${FILE}; run \`npm run chart\` to draw it\n`);
}
