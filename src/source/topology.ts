/** Which servers hold the keys. Today there is one primary: at a fixed address, or where its sentinels say. */
import type { RedisSettings } from '../model/vocabulary.js';
import type { Locator, Locators } from '../redis/locators.js';

export interface Topology {
  /** Each holds keys that no other one holds. */
  readonly primaries: readonly Locator<RedisSettings>[];
}

/** The topology of `redis.url` or `redis.sentinel`: one primary, which moves only with sentinels. */
export function topologyOf(settings: RedisSettings, locators: Locators): Topology {
  return { primaries: [locators.of(settings, 'redis')] };
}
