/** A Sentinel answers on a port of its own, and is easily taken for the Redis that it watches. */
import type { Redis } from 'ioredis';
import { printable } from '../lib/printable.js';
import { NotRedisError } from '../model/errors.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf } from './client.js';

/** More are hardly ever watched by one; the message stays readable. */
const PRIMARIES_SHOWN_MAX = 5;

/** Throws, with the primaries that the Sentinel reports. */
export async function refuseSentinel(
  redis: Redis,
  address: RedisAddress,
  section: 'redis' | 'state',
): Promise<never> {
  const primaries = await primariesOf(redis);
  const shown = primaries.slice(0, PRIMARIES_SHOWN_MAX).join(', ');
  const more = primaries.length > PRIMARIES_SHOWN_MAX ? ', …' : '';
  const advice =
    primaries.length === 0
      ? `point ${section}.url at the primary that it watches`
      : `it reports ${shown}${more}. Point ${section}.url at the primary`;
  throw new NotRedisError(
    `the server at ${addressOf(address)} is a Sentinel, which holds no keys: ${advice}`,
  );
}

/** As `the primary mymaster at 10.0.0.5:6379`; empty when the Sentinel does not say. */
async function primariesOf(redis: Redis): Promise<string[]> {
  const reply = await redis.call('SENTINEL', 'MASTERS').catch(() => []);
  return (reply as string[][]).map((words) => {
    const field = (name: string) => words[words.indexOf(name) + 1] ?? '';
    const at = addressOf({ host: field('ip'), port: Number(field('port')) });
    return printable(`the primary ${field('name')} at ${at}`);
  });
}
