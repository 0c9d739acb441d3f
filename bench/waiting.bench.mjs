/**
 * The memory of deliveries that wait for an endpoint that is down: in Redis for each of them, and in the
 * relay for all of them together.
 */
import { startRedis } from '../scripts/lib/redis-server.mjs';
import { aBacklog, openOutbox } from './lib/backlog.mjs';
import { mib, residentBytes } from './lib/memory.mjs';
import { shopFile, startRelay } from './lib/relay.mjs';

/** @param {number} redisPort */
async function resident(redisPort) {
  const endpoint = { url: 'http://127.0.0.1:9/', secrets: 'none' };
  const relay = await startRelay(shopFile(`redis://127.0.0.1:${redisPort}`, endpoint));
  const bytes = await residentBytes(relay.pid);
  await relay.stop();
  return mib(bytes);
}

/** @param {readonly string[]} args deliveries */
export async function waiting([deliveries = '200000']) {
  const count = Number(deliveries);
  const server = await startRedis();
  const outbox = await openOutbox(server.port);
  const backlog = aBacklog(count);
  const without = await resident(server.port);
  const before = await outbox.usedBytes();
  await outbox.store(backlog);
  const each = ((await outbox.usedBytes()) - before) / count;
  const withThem = await resident(server.port);
  const bodyBytes = backlog[0]?.body.length ?? 0;
  process.stdout.write(
    `Redis: ${Math.round(each)} bytes for each delivery with a body of ${bodyBytes} bytes\n` +
      `relay: ${without} resident with none waiting, ${withThem} with ${count}\n`,
  );
  outbox.close();
  await server.stop();
}
