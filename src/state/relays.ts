/** Which relays use the state: those that run, and the one that holds the lease. */
import type { Redis } from 'ioredis';
import { deadlineKeys, leaseKey, replicasKey, signsOfLife } from './format.js';

export interface Relays {
  readonly running: number;
  /** The token of the lease, which begins with the name of its holder; null: none holds it. */
  readonly holder: string | null;
  /** The number of tracked deadlines. */
  readonly tracked: number;
  /** The time by the clock of the state Redis, in milliseconds. */
  readonly nowMs: number;
}

export async function readRelays(
  redis: Redis,
  prefix: string,
  databases: readonly number[],
): Promise<Relays> {
  const [seconds = 0] = (await redis.time()).map(Number);
  const nowMs = seconds * 1_000;
  const { fromMs, untilMs } = signsOfLife(nowMs);
  const [running, holder, ...counts] = await Promise.all([
    redis.zcount(replicasKey(prefix), fromMs, untilMs),
    redis.hget(leaseKey(prefix), 'token'),
    ...databases.map((database) => redis.zcard(deadlineKeys(prefix, database).tracked)),
  ]);
  return { running, holder, tracked: counts.reduce((sum, one) => sum + one, 0), nowMs };
}
