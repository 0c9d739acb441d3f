/** Verifies that all connections lead to one server: a proxy or load balancer may spread them. */
import type { Redis } from 'ioredis';
import { RedisChangedError, type RelayError } from '../model/errors.js';
import type { RedisSettings } from '../model/vocabulary.js';
import { addressOf } from '../redis/client.js';
import { unlessRefused } from '../redis/refusal.js';
import { parseInfo } from '../server/info.js';

/** The run_id of the server's process; null: not shown. */
export async function runIdOf(redis: Redis): Promise<string | null> {
  const text = await unlessRefused(redis.info('server'));
  return text === null ? null : parseInfo(text).get('run_id');
}

/** Null: both are equal, or one is unknown. */
export function differentServers(
  one: string | null,
  other: string | null,
  settings: RedisSettings,
): RelayError | null {
  if (one === null || other === null || one === other) return null;
  return new RedisChangedError(
    `the relay's connections to Redis at ${addressOf(settings)} lead to different servers (run_id ` +
      `${one} and ${other}), as after a failover or behind a load balancer. The relay reconnects until all ` +
      'connections lead to one server',
  );
}
