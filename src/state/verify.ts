/** Checks of a state Redis before it is used. */
import type { Redis } from 'ioredis';
import { printable } from '../lib/printable.js';
import { NoDatabaseError, RedisIsReplicaError, StateFormatError } from '../model/errors.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf, replicaError, replicaRemedy } from '../redis/client.js';
import { isNoDatabase, isOtherType } from '../redis/refusal.js';
import { ASK_TIME } from '../redis/scripts.js';
import type { ServerProperties } from '../server/properties.js';
import { FORMAT_VERSION, formatKey, ownKeyPrefix } from './format.js';

/** Rejects when the server has fewer databases: ioredis would silently use database 0. */
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
      `the state Redis at ${addressOf(address)} has no database ${database} (a Redis Cluster has ` +
        `only database 0). Correct ${databaseSetting(address, section)}`,
    );
  }
}

/** Without a URL of its own, the state is in the first watched database. */
function databaseSetting({ sentinel }: RedisAddress, section: 'redis' | 'state'): string {
  if (sentinel !== null) return 'redis.databases';
  return section === 'redis' ? 'redis.databases or redis.url' : 'state.url';
}

/** Rejects when the server runs no scripts, or forbids TIME, which every script needs. */
export async function verifyScripts(redis: Redis): Promise<void> {
  await redis.eval(ASK_TIME, 0);
}

/** Throws when the server is a replica, which accepts no writes. */
export function refuseStateReplica(
  { role, primary }: ServerProperties,
  address: RedisAddress,
  section: 'redis' | 'state',
): void {
  if (role !== 'replica') return;
  if (section === 'redis') throw replicaError(address, primary);
  const { text, isAwaited } = replicaRemedy(address, section);
  throw new RedisIsReplicaError(
    `the state Redis at ${addressOf(address)} is a replica of ${primary ?? 'another server'}, and ` +
      `rejects writes. ${text}`,
    isAwaited,
  );
}

/**
 * Writes the format version for an unused prefix. Resolves with whether the prefix was unused; rejects when another
 * version uses it.
 */
export async function verifyFormat(redis: Redis, prefix: string): Promise<boolean> {
  const before = await readFormat(redis, prefix);
  refuseFormat(prefix, before ?? (await mark(redis, formatKey(prefix))));
  return before === null;
}

/** The version of the format; null: the prefix is unused. Rejects when the key has another type. */
export async function readFormat(redis: Redis, prefix: string): Promise<string | null> {
  try {
    return await redis.get(formatKey(prefix));
  } catch (error) {
    if (isOtherType(error)) throw foreignFormat(prefix, 'another type');
    throw error;
  }
}

/** Throws unless this version of the relay uses the format that was found. */
export function refuseFormat(prefix: string, found: string | null): void {
  if (found === String(FORMAT_VERSION)) return;
  if (!/^\d+$/.test(found ?? '')) throw foreignFormat(prefix, printable(found ?? 'nothing'));
  throw new StateFormatError(
    `the keys ${ownKeyPrefix(prefix)}… in the state Redis are used by another version of the ` +
      `relay (expected format ${FORMAT_VERSION}, found ${found}). Run that version, or choose another state.prefix`,
  );
}

function foreignFormat(prefix: string, found: string): StateFormatError {
  return new StateFormatError(
    `another program wrote the key ${formatKey(prefix)} in the state Redis (expected ${FORMAT_VERSION}, found ` +
      `${found}). Choose another state.prefix, or delete the key if no other program needs it`,
  );
}

/** Resolves with the version that the first relay wrote. */
async function mark(redis: Redis, key: string): Promise<string | null> {
  await redis.setnx(key, FORMAT_VERSION);
  return redis.get(key);
}
