/** Detects a Sentinel, which is easily confused with the Redis that it monitors. */
import type { Redis } from 'ioredis';
import { printable } from '../lib/printable.js';
import { NotRedisError } from '../model/errors.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf } from './client.js';

/** A Sentinel rarely monitors more; the message stays readable. */
const PRIMARIES_SHOWN_MAX = 5;

/** Always throws, with the primaries that the Sentinel reports. */
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
      ? `Point ${section}.url at the primary that it monitors`
      : `It reports ${shown}${more}. Point ${section}.url at the primary`;
  throw new NotRedisError(
    `the server at ${addressOf(address)} is a Sentinel, which holds no keys. ${advice}`,
  );
}

/** Such as `the primary mymaster at 10.0.0.5:6379`; empty if the Sentinel does not report any. */
async function primariesOf(redis: Redis): Promise<string[]> {
  const reply = await redis.call('SENTINEL', 'MASTERS').catch(() => []);
  return (reply as string[][]).map((words) => {
    const field = (name: string) => words[words.indexOf(name) + 1] ?? '';
    const at = addressOf({ host: field('ip'), port: Number(field('port')) });
    return printable(`the primary ${field('name')} at ${at}`);
  });
}
