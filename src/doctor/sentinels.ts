/** Checks the sentinels that name a Redis. */
import type { RedisAddress } from '../model/vocabulary.js';
import type { Finding } from '../server/finding.js';
import { judgeSentinels } from '../server/judge-sentinels.js';
import type { QueryContext } from './server.js';

/** Longer than a sentinel may take to answer. */
const ALL_ANSWERED_MS_MAX = 2_000;

/** Empty without sentinels. */
export async function examineSentinels(
  { sentinel }: RedisAddress,
  section: 'redis' | 'state',
  { locators, clock, stop }: QueryContext,
): Promise<Finding[]> {
  if (sentinel === null) return [];
  const sentinels = locators.sentinelsOf(sentinel, section);
  await sentinels.allAnswered(clock.monotonicMs() + ALL_ANSWERED_MS_MAX, stop);
  return [judgeSentinels(sentinels.voters, sentinel.master, `${section}.sentinel`)];
}
