/** What has to be known of a state Redis before it is used. */
import type { Redis } from 'ioredis';
import { printable } from '../lib/printable.js';
import { NoDatabaseError, RedisIsReplicaError, StateFormatError } from '../model/errors.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf } from '../redis/client.js';
import { isNoDatabase, isOtherType } from '../redis/refusal.js';
import { ASK_TIME } from '../redis/scripts.js';
import { replicaText } from '../server/judge.js';
import type { ServerProperties } from '../server/properties.js';
import { FORMAT_VERSION, formatKey, ownKeyPrefix } from './format.js';

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
  const before = await readFormat(redis, prefix);
  refuseFormat(prefix, before ?? (await mark(redis, formatKey(prefix))));
  return before === null;
}

/** The version of the format; null where the prefix is unused. Rejects when the key is of another type. */
export async function readFormat(redis: Redis, prefix: string): Promise<string | null> {
  try {
    return await redis.get(formatKey(prefix));
  } catch (error) {
    if (isOtherType(error)) throw foreignFormat(prefix, 'another type');
    throw error;
  }
}

/** Throws unless this version of the relay keeps its state in the format that was found. */
export function refuseFormat(prefix: string, found: string | null): void {
  if (found === String(FORMAT_VERSION)) return;
  if (!/^\d+$/.test(found ?? '')) throw foreignFormat(prefix, printable(found ?? 'nothing'));
  throw new StateFormatError(
    `the keys ${ownKeyPrefix(prefix)}… in the state Redis are used by another version of the ` +
      `relay (expected format ${FORMAT_VERSION}, found ${found}): run that version, or choose another state.prefix`,
  );
}

function foreignFormat(prefix: string, found: string): StateFormatError {
  return new StateFormatError(
    `another program has written the key ${formatKey(prefix)} in the state Redis (expected ${FORMAT_VERSION}, found ` +
      `${found}): choose another state.prefix; or, if no other program needs that key, delete it`,
  );
}

/** Resolves with the version that the first relay wrote. */
async function mark(redis: Redis, key: string): Promise<string | null> {
  await redis.setnx(key, FORMAT_VERSION);
  return redis.get(key);
}
