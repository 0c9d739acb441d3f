/** Steps and checks of the end-to-end tests of a durable outbox. */
import { Redis } from 'ioredis';
import type { RunningRedis } from '../../scripts/lib/redis-server.mjs';
import { eventually } from './eventually.js';
import type { RelayProcess } from './relay-process.js';

/** Lets keys expire: `order:0`, `order:1` and so on. */
export async function expire(
  { url }: RunningRedis,
  count: number,
  prefix = 'order',
): Promise<void> {
  const redis = new Redis(url, { protocol: 2 });
  const pipeline = redis.pipeline();
  for (let n = 0; n < count; n += 1) pipeline.set(`${prefix}:${n}`, '', 'PX', 20);
  await pipeline.exec();
  redis.disconnect();
}

const PENDING = 'expiry_relay_outbox_pending{endpoint="shop"}';

export const pending = (relay: RelayProcess) => relay.metric(PENDING);

export const captured = (relay: RelayProcess, count: number) =>
  eventually(
    'all are captured',
    async () => {
      const expirations = 'expiry_relay_expirations_total{route="all",detected_by="notification"}';
      return (await relay.metrics(expirations, PENDING)).every((value) => value === count);
    },
    60_000,
  );

export const drained = (relay: RelayProcess) =>
  eventually('the outbox is empty', async () => (await pending(relay)) === 0, 60_000);
