/** Endpoints that answered 410, as stored in the state. */
import type { Redis } from 'ioredis';
import { goneKey, readGoneField, replicasKey, signsOfLife } from './format.js';
import { NAME, REPLICA } from './stored.js';

/** An endpoint, the replica to which it answered 410, and that replica's address (`host:pid`). */
export interface GoneRow {
  readonly replica: string;
  readonly endpoint: string;
  readonly instance: string;
}

/** Splits the hash into rows written by replicas, and all other fields with their values. */
export function splitGone(all: Readonly<Record<string, string>>): {
  readonly rows: readonly GoneRow[];
  readonly others: readonly (readonly [field: string, value: string])[];
} {
  const rows: GoneRow[] = [];
  const others: (readonly [string, string])[] = [];
  for (const [field, instance] of Object.entries(all)) {
    const { replica, endpoint } = readGoneField(field);
    if (REPLICA.test(replica) && NAME.test(endpoint)) rows.push({ replica, endpoint, instance });
    else others.push([field, instance]);
  }
  return { rows, others };
}

/** Each endpoint with the live replicas that send it nothing more, until a reload. */
export function goneByEndpoint(
  rows: readonly GoneRow[],
  living: readonly string[],
): ReadonlyMap<string, readonly string[]> {
  const gone = new Map<string, string[]>();
  for (const { replica, endpoint, instance } of rows) {
    if (!living.includes(replica)) continue;
    gone.set(endpoint, [...(gone.get(endpoint) ?? []), instance]);
  }
  return gone;
}

/** Only reads; `nowMs` is by the clock of the state Redis. */
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
  return goneByEndpoint(splitGone(all).rows, living);
}
