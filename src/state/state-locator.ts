/** Locates the Redis that holds the state. In a cluster, it is the primary of the slot that all keys of the state have. */
import type { RedisAddress, StateSettings } from '../model/vocabulary.js';
import type { Locator } from '../redis/locator.js';
import type { Locators } from '../redis/locators.js';
import { ownKeyPrefix } from './format.js';

export function stateLocator(
  locators: Locators,
  { redis, section, prefix }: Extract<StateSettings, { kind: 'redis' }>,
): Locator<RedisAddress> {
  return locators.ofKey(redis, section, ownKeyPrefix(prefix));
}
