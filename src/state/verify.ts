/** What has to be known of a state Redis before it is used. */
import type { Redis } from 'ioredis';
import { messageOf, NoDatabaseError, RedisIsReplicaError, StateFormatError } from '../errors.js';
import { printable } from '../printable.js';
import { addressOf } from '../redis-client.js';
import { isNoDatabase } from '../refusal.js';
import { replicaText } from '../server/judge.js';
import type { ServerProperties } from '../server/properties.js';
import type { RedisAddress } from '../vocabulary.js';
import { FORMAT_VERSION, formatKey, ownKeyPrefix } from './format.js';
import { ASK_TIME } from './scripts.js';

/** Rejects when the server has fewer databases: ioredis would go on with database 0. */
export async function verifyDatabase(
  redis: Redis,
  address: RedisAddress,
  database: number,
  section: 'redis' | 'state',
): Promise<void> {
  try {
    await redis.select(database);
  } catch (error) {
    if (!isNoDatabase(error)) throw error;
    throw new NoDatabaseError(
      `the state Redis at ${addressOf(address)} has no database ${database} (of a Redis Cluster ` +
        `there is database 0 alone): correct ${section}.url`,
    );
  }
}

/** Rejects when scripts cannot be run there, or cannot tell the time, which each of ours does. */
export async function verifyScripts(redis: Redis): Promise<void> {
  await redis.eval(ASK_TIME, 0);
}

/** Throws when it is a replica: it takes no writes. */
export function refuseStateReplica(
  { role, primary }: ServerProperties,
  address: RedisAddress,
  section: 'redis' | 'state',
): void {
  if (role !== 'replica') return;
  throw new RedisIsReplicaError(
    section === 'redis'
      ? replicaText(primary, address)
      : `the state Redis at ${addressOf(address)} is a replica of ${primary ?? 'another server'}, and ` +
          'takes no writes: point state.url at the primary',
  );
}

/**
 * Marks an unused prefix as the relay's. Resolves with whether the prefix was unused; rejects when another
 * version uses it.
 */
export async function verifyFormat(redis: Redis, prefix: string): Promise<boolean> {
  const key = formatKey(prefix);
  const before = await unlessOther(redis.get(key));
  const found = before ?? (await mark(redis, key));
  refuseFormat(prefix, found);
  return before === null;
}

/** A text that no version has, where the key is of another type. */
async function unlessOther(found: Promise<string | null>): Promise<string | null> {
  try {
    return await found;
  } catch (error) {
    if (/\bWRONGTYPE\b/.test(messageOf(error))) return 'a key that is no string';
    throw error;
  }
}

/** Throws unless this version of the relay keeps its state in the format that was found. */
export function refuseFormat(prefix: string, found: string | null): void {
  if (found === String(FORMAT_VERSION)) return;
  throw new StateFormatError(
    `the keys ${ownKeyPrefix(prefix)}… in the state Redis are used by another version of the ` +
      `relay (expected format ${FORMAT_VERSION}, found ${printable(found ?? 'none')}): run that version, or choose ` +
      'another state.prefix',
  );
}

/** Resolves with the version that the first relay wrote. */
async function mark(redis: Redis, key: string): Promise<string | null> {
  await redis.setnx(key, FORMAT_VERSION);
  return redis.get(key);
}
