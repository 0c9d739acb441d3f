/** What a server says of the Redis Cluster that it is part of: the relay listens to it alone. */
import type { Redis } from 'ioredis';
import type { SourceEvents } from '../events/source-events.js';
import { addressOf } from '../redis-client.js';
import type { RedisSettings } from '../vocabulary.js';

/** Says so when other primaries have keys, too, or may have. Whoever may not ask is told nothing. */
export async function warnOfCluster(
  redis: Redis,
  settings: RedisSettings,
  events: SourceEvents,
): Promise<void> {
  const server = await redis.info('cluster').catch(() => '');
  if (!/^cluster_enabled:1/m.test(server)) return;
  const cluster = await redis.cluster('INFO').catch(() => '');
  const [, size] = /^cluster_size:(\d+)/m.exec(String(cluster)) ?? [];
  const primaries = size === undefined ? null : Number(size);
  if (primaries === null || primaries > 1) events.clusterPart(addressOf(settings), primaries);
}
