/** What a server says of the Redis Cluster that it is part of: the relay listens to it alone. */
import type { Redis } from 'ioredis';
import type { SourceEvents } from '../events/source-events.js';
import { addressOf } from '../redis-client.js';
import type { RedisSettings } from '../vocabulary.js';

export class ClusterPart {
  readonly #settings: RedisSettings;
  readonly #events: SourceEvents;
  /** How many primaries share the keys; null: the server does not say. */
  #primaries: number | null = 1;

  constructor(settings: RedisSettings, events: SourceEvents) {
    this.#settings = settings;
    this.#events = events;
  }

  /** Warns when other primaries have keys, too, or may have; once for each number of primaries. */
  async look(redis: Redis): Promise<void> {
    const server = await redis.info('cluster').catch(() => '');
    if (!/^cluster_enabled:1/m.test(server)) return;
    const cluster = await redis.cluster('INFO').catch(() => '');
    const [, size] = /^cluster_size:(\d+)/m.exec(String(cluster)) ?? [];
    const primaries = size === undefined ? null : Number(size);
    if (primaries === this.#primaries) return;
    this.#primaries = primaries;
    if (primaries === null || primaries > 1) {
      this.#events.clusterPart(addressOf(this.#settings), primaries);
    }
  }
}
