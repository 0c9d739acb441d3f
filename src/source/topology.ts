/** Which servers hold the keys. Today there is one primary, whose address is in the configuration. */
import type { RedisSettings } from '../model/vocabulary.js';

export interface Topology {
  /** Each holds keys that no other one holds. */
  readonly primaries: readonly RedisSettings[];
}

/** The topology of `redis.url`: one primary that never changes. */
export function fixedTopology(settings: RedisSettings): Topology {
  return { primaries: [settings] };
}
