/** The primaries that hold the keys: one at a fixed address, one that its sentinels name, or all those of a cluster. */
import type { RedisSettings } from '../model/vocabulary.js';
import type { Locator } from '../redis/locator.js';
import { inCluster, type Locators } from '../redis/locators.js';
import { ALL_SLOTS, type Slots } from '../redis/slots.js';

export interface WatchedPrimary {
  readonly locator: Locator<RedisSettings>;
  readonly slots: Slots;
  /** How often it has gained slots. */
  readonly gains: number;
}

export interface Topology {
  /** Each holds keys that no other one holds; empty until they are known. */
  readonly primaries: readonly WatchedPrimary[];
  /** Of a cluster, where the replicas of the primaries are. */
  readonly replicas: readonly RedisSettings[];
  /** The number of hash slots that no primary has: their keys cannot be watched. */
  readonly uncoveredSlots: number;
  /** Resolves when the primaries are known; rejects with a RelayError while they are not. */
  locate(): Promise<void>;
  /** Asks for the primaries. Resolves when they are known again, or cannot be. Never rejects. */
  refresh(): Promise<void>;
  /** Calls `listener` whenever a primary or its slots change. */
  onChanged(listener: () => void): void;
}

export function topologyOf(settings: RedisSettings, locators: Locators): Topology {
  return settings.cluster === null
    ? onePrimary(locators.of(settings, 'redis'))
    : manyPrimaries(settings, locators);
}

/** The topology of `redis.url` or `redis.sentinel`: one primary, which moves only with sentinels. */
function onePrimary(locator: Locator<RedisSettings>): Topology {
  return {
    primaries: [{ locator, slots: ALL_SLOTS, gains: 0 }],
    replicas: [],
    uncoveredSlots: 0,
    locate: async () => undefined,
    refresh: async () => undefined,
    onChanged: () => undefined,
  };
}

function manyPrimaries(settings: RedisSettings, locators: Locators): Topology {
  const cluster = locators.clusterOf(settings, 'redis');
  const primaries = new Map<Slots, WatchedPrimary>();
  return {
    get primaries() {
      return cluster.shards.map((shard) => {
        const { slots, place } = shard;
        const primary = primaries.get(slots) ?? {
          locator: inCluster(settings, place),
          slots,
          get gains() {
            return shard.gains;
          },
        };
        primaries.set(slots, primary);
        return primary;
      });
    },
    get replicas() {
      return cluster.replicas.map(({ host, port }) => ({ ...settings, host, port }));
    },
    get uncoveredSlots() {
      return cluster.uncoveredSlots;
    },
    locate: () => cluster.locate(),
    refresh: () => cluster.refresh(),
    onChanged: (listener) => void cluster.onChanged(listener),
  };
}
