/**
 * What deliveries cost that wait for an endpoint that is down: in Redis for each of them, and in the
 * relay for all of them together.
 */
import { startRedis } from '../scripts/redis-server.mjs';
import { aBacklog, openOutbox } from './backlog.mjs';
import { residentBytes } from './memory.mjs';
import { startRelay } from './relay.mjs';

const DELIVERIES = Number(process.argv[3] ?? 200_000);

const MIB = 1024 * 1024;

/** @param {number} redisPort */
async function residentMib(redisPort) {
  const relay = await startRelay({
    redis: { url: `redis://127.0.0.1:${redisPort}` },
    endpoints: { shop: { url: 'http://127.0.0.1:9/', secrets: 'none' } },
    routes: [{ name: 'cancel-unpaid-order', match: 'order:{id}:unpaid', to: 'shop' }],
  });
  const bytes = await residentBytes(relay.pid);
  await relay.stop();
  return (bytes / MIB).toFixed(1);
}

export async function waiting() {
  const server = await startRedis();
  const outbox = await openOutbox(server.port);
  const backlog = aBacklog(DELIVERIES);
  const without = await residentMib(server.port);
  const before = await outbox.usedBytes();
  await outbox.store(backlog);
  const each = ((await outbox.usedBytes()) - before) / DELIVERIES;
  const withThem = await residentMib(server.port);
  const bodyBytes = backlog[0]?.body.length ?? 0;
  process.stdout.write(
    `Redis: ${Math.round(each)} bytes for each delivery with a body of ${bodyBytes} bytes\n` +
      `relay: ${without} MiB resident with none waiting, ${withThem} MiB with ${DELIVERIES}\n`,
  );
  outbox.close();
  await server.stop();
}
