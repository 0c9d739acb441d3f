/**
 * The processor time of the relay at a steady rate of expirations, and the lateness of its webhooks, beside other
 * keys with a TTL.
 */
import { Redis } from 'ioredis';
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { cpuPerPiece, cpuSeconds } from './lib/cpu.mjs';
import { addEvenly } from './lib/evenly.mjs';
import { fill } from './lib/keys.mjs';
import { relaySide } from './lib/lateness.mjs';
import { summaryMs } from './lib/percentiles.mjs';
import { startReceiver } from './lib/receiver.mjs';

const LIFE_MS = 2_000;
const PATIENCE_MS = 10_000;

/** @param {readonly string[]} args rates per second, with commas; seconds; rounds; other keys */
export async function steady([rates = '200,1000', seconds = '10', rounds = '3', others = '0']) {
  const receiver = await startReceiver();
  for (const perSecond of rates.split(',').map(Number)) {
    const count = perSecond * Number(seconds);
    process.stdout.write(
      `${perSecond} a second for ${seconds} s, beside ${others} other keys; CPU in µs per webhook\n`,
    );
    for (let round = 1; round <= Number(rounds); round += 1) {
      const server = await startRedis();
      const redis = new Redis(server.url, { protocol: 2 });
      await fill(redis, { count: Number(others), before: 'other:', after: ':0' });
      const side = await relaySide({ server, redis, receiverUrl: receiver.url });
      await receiver.reset();
      const pids = { relay: side.pid, redis: server.pid };
      const cpu = () => Promise.all(Object.values(pids).map(cpuSeconds));
      const before = await cpu();
      const startMs = performance.now();
      await addEvenly({ count, perSecond, lifeMs: LIFE_MS }, side.add);
      const { latenessesMs } = await receiver.reached(count, LIFE_MS + PATIENCE_MS);
      const after = await cpu();
      const share = (((after[0] ?? 0) - (before[0] ?? 0)) / (performance.now() - startMs)) * 1e5;
      await side.stop();
      redis.disconnect();
      await server.stop();
      process.stdout.write(
        `  ${latenessesMs.length} of ${count} arrived: ${summaryMs(latenessesMs)}; ` +
          `CPU: ${cpuPerPiece(Object.keys(pids), before, after, count)}; relay: ${share.toFixed(0)} % of a core\n`,
      );
    }
  }
  await receiver.stop();
}
