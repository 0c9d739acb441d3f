/** Endpoints that have answered 410, as the state knows them. */
import type { Redis } from 'ioredis';
import { goneKey, readGoneField, replicasKey, signsOfLife } from './format.js';

/**
 * Each with the replicas, as `host:pid`, that live and send it nothing more; a restart forgets it.
 * `nowMs` is by the clock of the state Redis.
 */
export async function readGone(
  redis: Redis,
  prefix: string,
  nowMs: number,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const { fromMs, untilMs } = signsOfLife(nowMs);
  const [all, living] = await Promise.all([
    redis.hgetall(goneKey(prefix)),
    redis.zrangebyscore(replicasKey(prefix), fromMs, untilMs),
  ]);
  const gone = new Map<string, string[]>();
  for (const [field, instance] of Object.entries(all)) {
    const { replica, endpoint } = readGoneField(field);
    if (!living.includes(replica)) continue;
    gone.set(endpoint, [...(gone.get(endpoint) ?? []), instance]);
  }
  return gone;
}
