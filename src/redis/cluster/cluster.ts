/**
 * A Redis Cluster: which primaries there are, and which slots each has. Several nodes are asked every second, at once
 * when a session ends, and at once when a node answers that another one has a key. A node that is cut off from the
 * majority is not believed.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../../lib/clock.js';
import { PeriodicLoop } from '../../lib/periodic-loop.js';
import { NoPrimaryError, RelayError } from '../../model/errors.js';
import type { HostPort } from '../../model/redis-login.js';
import type { RedisAddress } from '../../model/vocabulary.js';
import { addressOf, redisError } from '../client.js';
import { connect, type RedisConnection } from '../connect.js';
import type { Locator } from '../locator.js';
import { isIn, type SlotRange, type Slots, slotOf } from '../slots.js';
import { firstOf, type PrimaryNode, uncoveredIn, type View, viewOf } from './nodes.js';

const ASK_EVERY_MS = 1_000;

/** A node that takes longer hangs: the others tell. */
const ANSWER_MS_MAX = 1_000;

/** Nodes asked at a time. */
const ASKED_MAX = 5;

/** How soon the nodes are asked again at most. */
const ASK_AGAIN_MS = 50;

export interface ClusterEvents {
  /** The password or certificate files are invalid; their last valid contents are in use. */
  credentialsUnusable(problem: string): void;
  /** The primaries or their slots have changed. */
  topologyChanged(primaries: number): void;
}

export interface ClusterParts {
  /** The login, and the nodes of the configuration. */
  readonly address: RedisAddress;
  readonly section: 'redis' | 'state';
  readonly clock: Clock;
  readonly events: ClusterEvents;
}

/** A primary and its replicas: a failover moves it to another address. */
export interface Shard {
  /** The id of the node that was its primary when it was first seen. */
  readonly name: string;
  readonly slots: Slots;
  /** How often it has gained slots. */
  readonly gains: number;
  /** Where its primary is. */
  readonly place: Locator;
}

export class Cluster {
  readonly #parts: ClusterParts;
  readonly #closing = new AbortController();
  readonly #connections = new Map<string, Promise<RedisConnection>>();
  readonly #listeners = new Set<() => void>();
  readonly #loop: PeriodicLoop;
  #view: View | null = null;
  #shards: readonly KnownShard[] = [];
  #asking: Promise<void> | null = null;
  #error: RelayError;
  #hasStarted = false;

  constructor(parts: ClusterParts) {
    this.#parts = parts;
    this.#error = new NoPrimaryError(`${addressOf(parts.address)} has not responded yet`);
    this.#loop = new PeriodicLoop(parts.clock, async () => {
      await this.refresh();
      return ASK_EVERY_MS;
    });
  }

  get shards(): readonly Shard[] {
    return this.#shards;
  }

  /** Where the replicas of all primaries are. */
  get replicas(): readonly RedisAddress[] {
    const all = (this.#view?.primaries ?? []).flatMap(({ replicas }) => replicas);
    return all.map(({ address }) => ({ ...this.#parts.address, ...this.#mapped(address) }));
  }

  /** The number of slots that no primary has; 0 while the primaries are not known. */
  get uncoveredSlots(): number {
    return this.#view === null ? 0 : uncoveredIn(this.#view);
  }

  /** Resolves when the primaries are known; rejects with a RelayError when no node tells them now. */
  async locate(): Promise<void> {
    this.#start();
    await this.refresh();
    if (this.#view === null) throw this.#error;
  }

  /** Asks some nodes. Resolves when they have answered, or failed. Never rejects. */
  refresh(): Promise<void> {
    this.#start();
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** Where the primary of a key's slot is. */
  placeOf(key: string): Locator {
    const slot = slotOf(key);
    const find = () => this.#view?.primaries.find(({ slots }) => isIn(slots, slot)) ?? null;
    return this.#place(find, `no primary has slot ${slot}`);
  }

  /** A connection to the primary of a key's slot, shared with the questions. Rejects when there is none. */
  async ownerOf(key: string): Promise<Redis> {
    const { host, port } = await this.placeOf(key).locate();
    return (await this.#connect({ host, port })).redis;
  }

  /** Calls `listener` at once whenever a primary or its slots change. Returns a function that ends this. */
  onChanged(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#closing.abort();
    void this.#loop.stop();
  }

  #start(): void {
    if (this.#hasStarted || this.#closing.signal.aborted) return;
    this.#hasStarted = true;
    this.#loop.start(ASK_EVERY_MS);
  }

  #place(find: () => PrimaryNode | null, missing: string): Locator {
    const { address } = this.#parts;
    const reached = () => {
      const node = find();
      return node === null ? address : { ...address, ...this.#mapped(node.address) };
    };
    return {
      get address() {
        return reached();
      },
      locate: async () => {
        await this.locate();
        if (find() === null) throw new NoPrimaryError(`in ${addressOf(address)}, ${missing}`);
        return reached();
      },
      onMoved: (listener) => {
        let before = addressOf(reached());
        return this.onChanged(() => {
          const now = addressOf(reached());
          if (now === before) return;
          before = now;
          listener();
        });
      },
    };
  }

  /** Where to connect to a node that announces this address. */
  #mapped(node: HostPort): HostPort {
    const name = addressOf({ ...node });
    return this.#parts.address.cluster?.addressMap.get(name) ?? node;
  }

  async #ask(): Promise<void> {
    const { address, clock } = this.#parts;
    const known = (this.#view?.primaries ?? []).map((node) => this.#mapped(node.address));
    const nodes = new Map(
      [...known, ...(address.cluster?.nodes ?? [])].map((node) => [addressOf(node), node]),
    );
    // If all of the first ones fail, the next ones are asked.
    for (let rest = [...nodes.values()]; rest.length > 0; rest = rest.slice(ASKED_MAX)) {
      const asked = rest.slice(0, ASKED_MAX).map((node) => this.#askOne(node));
      if ((await Promise.all(asked)).some((isOk) => isOk)) break;
    }
    await clock.sleep(ASK_AGAIN_MS, this.#closing.signal);
  }

  /** Resolves with whether the node told the primaries. */
  async #askOne(node: HostPort): Promise<boolean> {
    const { address, section } = this.#parts;
    const place = { ...address, ...node };
    try {
      const { redis } = await this.#connect(node);
      const [nodes, info] = await Promise.all([redis.cluster('NODES'), redis.cluster('INFO')]);
      const view = viewOf(String(nodes), String(info), node);
      if (!view.isOk || view.primaries.length === 0) {
        throw new NoPrimaryError(
          `the node at ${addressOf(node)} reports that the cluster is down. Check redis-cli CLUSTER INFO there`,
        );
      }
      this.#apply(view);
      return true;
    } catch (error) {
      this.#error = error instanceof RelayError ? error : redisError(error, place, section);
      return false;
    }
  }

  #connect(node: HostPort): Promise<RedisConnection> {
    const name = addressOf(node);
    const known = this.#connections.get(name);
    if (known !== undefined) return known;
    const { address, section, events } = this.#parts;
    const forget = () => void this.#connections.delete(name);
    const opening = connect(
      { ...address, ...node },
      'cluster',
      this.#closing.signal,
      section,
      (problem) => events.credentialsUnusable(problem),
      ANSWER_MS_MAX,
    );
    this.#connections.set(name, opening);
    opening.then(({ ended }) => ended.then(forget), forget);
    return opening;
  }

  #apply(view: View): void {
    const before = this.#view;
    if (before !== null && view.epoch < before.epoch) return;
    this.#view = view;
    // Replicas change without a change of the primaries: one of them may be the next primary.
    this.#follow(view);
    if (before !== null && textOf(before) === textOf(view)) return;
    this.#parts.events.topologyChanged(view.primaries.length);
    for (const listener of [...this.#listeners]) listener();
  }

  /** Recognizes the shards by their nodes. */
  #follow({ primaries }: View): void {
    const before = [...this.#shards];
    const take = (isIt: (shard: KnownShard) => boolean) => {
      const at = before.findIndex(isIt);
      return at === -1 ? null : (before.splice(at, 1)[0] ?? null);
    };
    const same = primaries.map((node) => take(({ primary }) => primary.id === node.id));
    this.#shards = primaries.map((node, at) => {
      const known =
        same[at] ??
        take(({ primary }) => isReplicaOf(primary, node)) ??
        take(({ primary }) => isReplicaOf(node, primary));
      if (known === null) return this.#newShard(node);
      if (gains(known.primary, node)) known.gains += 1;
      known.primary = node;
      return known;
    });
  }

  #newShard(primary: PrimaryNode): KnownShard {
    const shard = { primary, gains: 0 };
    const place = this.#place(() => shard.primary, 'the primary is unknown');
    const slots: Slots = {
      isAll: false,
      get first() {
        return firstOf(shard.primary);
      },
      has: (slot) => isIn(shard.primary.slots, slot),
    };
    return Object.assign(shard, { name: primary.id, place, slots });
  }
}

interface KnownShard extends Shard {
  primary: PrimaryNode;
  gains: number;
}

/** Whether the other node is a replica of this one. */
function isReplicaOf({ replicas }: PrimaryNode, { id }: PrimaryNode): boolean {
  return replicas.some((replica) => replica.id === id);
}

/** Whether a primary has slots that it did not have before. */
function gains(before: PrimaryNode, after: PrimaryNode): boolean {
  return after.slots.some(([from, to]) => {
    for (let slot = from; slot <= to; slot += 1) if (!isIn(before.slots, slot)) return true;
    return false;
  });
}

/** Everything whose changes listeners receive. */
function textOf({ primaries }: View): string {
  const ranges = (slots: readonly SlotRange[]) => slots.map((range) => range.join('-')).join();
  return primaries
    .map(({ id, address, slots }) => `${id} ${address.host}:${address.port} ${ranges(slots)}`)
    .join('\n');
}
