/**
 * Locates a Redis, by the address of its URL or by its sentinels. Keys and state with the same sentinels share them, so
 * that both switch to another primary at the same moment.
 */
import type { Clock } from '../lib/clock.js';
import type { SentinelSettings } from '../model/redis-login.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf } from './client.js';
import { Cluster, type ClusterEvents } from './cluster/cluster.js';
import { fixedLocator, type Locator } from './locator.js';
import { Sentinels, type SentinelsEvents } from './sentinels/sentinels.js';

function sentinelLocator<Address extends RedisAddress>(
  address: Address,
  sentinels: Sentinels,
): Locator<Address> {
  return {
    get address() {
      return { ...address, ...(sentinels.primary ?? {}) };
    },
    locate: async () => ({ ...address, ...(await sentinels.locate()) }),
    onMoved: (listener) => sentinels.onMoved(listener),
  };
}

/** The same address with the host and port of a node. */
export function inCluster<Address extends RedisAddress>(
  address: Address,
  place: Locator,
): Locator<Address> {
  const at = ({ host, port }: RedisAddress): Address => ({ ...address, host, port });
  return {
    get address() {
      return at(place.address);
    },
    locate: async () => at(await place.locate()),
    onMoved: (listener) => place.onMoved(listener),
  };
}

/** For commands, which report problems through their own errors. */
export const SILENT_LOCATORS: SentinelsEvents & ClusterEvents = {
  topologyChanged: () => undefined,
  credentialsUnusable: () => undefined,
  primaryMoved: () => undefined,
  sentinels: () => undefined,
};

/** The slot of the empty key is 0. */
const FIRST_SLOT_KEY = '';

export class Locators {
  readonly #clock: Clock;
  readonly #events: SentinelsEvents & ClusterEvents;
  /** One for each distinct setting. */
  readonly #groups: { readonly settings: SentinelSettings; readonly sentinels: Sentinels }[] = [];

  /** By their nodes. */
  readonly #clusters = new Map<string, Cluster>();

  constructor(clock: Clock, events: SentinelsEvents & ClusterEvents) {
    this.#clock = clock;
    this.#events = events;
  }

  /** `section`: of the configuration. Of a cluster, the primary of the first slot. */
  of<Address extends RedisAddress>(address: Address, section: 'redis' | 'state'): Locator<Address> {
    const { sentinel, cluster } = address;
    if (cluster !== null) return this.ofKey(address, section, FIRST_SLOT_KEY);
    if (sentinel === null) return fixedLocator(address);
    return sentinelLocator(address, this.sentinelsOf(sentinel, section));
  }

  sentinelsOf(settings: SentinelSettings, section: 'redis' | 'state'): Sentinels {
    const known = this.#groups.find((group) => areSame(group.settings, settings));
    if (known !== undefined) return known.sentinels;
    const [clock, events] = [this.#clock, this.#events];
    const sentinels = new Sentinels({ settings, section: `${section}.sentinel`, clock, events });
    this.#groups.push({ settings, sentinels });
    return sentinels;
  }

  /** The problem of each primary that no majority of its sentinels names now. */
  get problems(): readonly string[] {
    return this.#groups.flatMap(({ sentinels }) => sentinels.problem ?? []);
  }

  get hasSentinels(): boolean {
    return this.#groups.length > 0;
  }

  /** `address` has a cluster. Keys and state with the same nodes share it. */
  clusterOf(address: RedisAddress, section: 'redis' | 'state'): Cluster {
    const nodes = (address.cluster?.nodes ?? []).map((node) => addressOf(node)).join();
    const known = this.#clusters.get(nodes);
    if (known !== undefined) return known;
    const cluster = new Cluster({ address, section, clock: this.#clock, events: this.#events });
    this.#clusters.set(nodes, cluster);
    return cluster;
  }

  /** Where the primary of a key's slot is, if the address has a cluster; else as `of`. */
  ofKey<Address extends RedisAddress>(
    address: Address,
    section: 'redis' | 'state',
    key: string,
  ): Locator<Address> {
    if (address.cluster === null) return this.of(address, section);
    return inCluster(address, this.clusterOf(address, section).placeOf(key));
  }

  close(): void {
    for (const cluster of this.#clusters.values()) cluster.close();
    for (const { sentinels } of this.#groups) sentinels.close();
  }
}

/** Whether `address` has sentinels that `other` does not have. */
export function hasOwnSentinels({ sentinel }: RedisAddress, other: RedisAddress): boolean {
  if (sentinel === null) return false;
  return other.sentinel === null || !areSame(sentinel, other.sentinel);
}

/** Whether both settings name one primary of the same sentinels, with the same login. */
function areSame(one: SentinelSettings, other: SentinelSettings): boolean {
  const nodes = ({ nodes }: SentinelSettings) =>
    nodes
      .map(({ host, port }) => `${host} ${port}`)
      .sort()
      .join();
  const files = ({ tls }: SentinelSettings) =>
    tls === null ? null : [tls.caFile, tls.certFile, tls.keyFile, tls.serverName].join();
  return (
    one.master === other.master &&
    nodes(one) === nodes(other) &&
    one.username === other.username &&
    files(one) === files(other) &&
    (one.password === other.password || one.password?.equals(other.password ?? undefined) === true)
  );
}
