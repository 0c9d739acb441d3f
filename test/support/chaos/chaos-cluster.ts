/** A Redis Cluster under chaos: who has which slots, and how far each replica had followed its primary. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isIn, slotOf } from '../../../src/redis/slots.js';
import { type ClusterNode, type RunningCluster, type Shard, startCluster } from '../cluster.js';
import { eventually } from '../eventually.js';
import type { Loss } from './records.js';
import { ReplicationRecord } from './replication-record.js';

const LOOK_EVERY_MS = 50;
const FAILOVER_MS_MAX = 60_000;

/** Of a key's name, such as `order:{7}:207`. */
const NAME_PARTS = 3;

export class ChaosCluster implements AsyncDisposable {
  readonly cluster: RunningCluster;
  readonly nodes: readonly ClusterNode[];
  #shards: readonly Shard[];
  /** The deadlines that moves have changed, by key and new deadline. */
  readonly #shifts = new Map<string, number>();
  readonly #record: ReplicationRecord;
  #isOver = false;
  readonly #following: Promise<void>;

  private constructor(cluster: RunningCluster, shards: readonly Shard[]) {
    this.cluster = cluster;
    this.nodes = [...cluster.primaries, ...cluster.replicas];
    this.#shards = shards;
    this.#record = new ReplicationRecord(this.nodes);
    this.#following = this.#follow();
  }

  static async start(args: readonly string[]): Promise<ChaosCluster> {
    const cluster = await startCluster({ replicas: true, args });
    await cluster.settled();
    return new ChaosCluster(cluster, await cluster.shards());
  }

  /** The port of the primary that has the key's slot, as the application knows it. */
  portOf(key: string): number {
    return this.shardOf(slotOf(key)).primary.port;
  }

  get shards(): readonly Shard[] {
    return this.#shards;
  }

  shardOf(slot: number): Shard {
    const shard = this.#shards.find(({ slots }) => isIn(slots, slot));
    if (shard === undefined) throw new Error(`no primary has slot ${slot}`);
    return shard;
  }

  /** Resolves with the node that has taken over from the primary of a shard. */
  async movedFrom({ primary, replicas }: Shard): Promise<ClusterNode> {
    return eventually(
      'the replica has become the primary',
      () => {
        const primaries = this.#shards.map((shard) => shard.primary);
        return primaries.includes(primary)
          ? null
          : replicas.find((replica) => primaries.includes(replica));
      },
      FAILOVER_MS_MAX,
    );
  }

  /** The writes to a former primary that the promoted one may lack. `state`: a key of the state. */
  async lossAt(former: ClusterNode, promoted: ClusterNode, state: string): Promise<Loss> {
    const loss = await this.#record.lossAt(former, promoted);
    return { ...loss, isOfState: this.shardOf(slotOf(state)).primary.port === promoted.port };
  }

  /** Moves a slot, and remembers which deadlines that has changed. */
  async moveSlot(
    slot: number,
    from: ClusterNode,
    to: ClusterNode,
    pause: () => Promise<unknown>,
  ): Promise<void> {
    for (const { key, fromMs, toMs } of await this.cluster.moveSlot(slot, from, to, pause)) {
      if (fromMs > 0 && toMs > fromMs) this.#shifts.set(`${key} ${toMs}`, fromMs);
    }
  }

  /** The deadline that the application had given the key, or the key that was renamed to it. */
  givenDeadlineMs(key: string, deadlineMs: number): number {
    const parts = key.split(':');
    // Renamed keys have longer names.
    for (let length = parts.length; length >= NAME_PARTS; length -= 1) {
      const name = parts.slice(0, length).join(':');
      const before = this.#shifts.get(`${name} ${deadlineMs}`);
      if (before !== undefined) return this.givenDeadlineMs(name, before);
    }
    return deadlineMs;
  }

  /** Asks again and again which shards there are, as an application does. */
  async #follow(): Promise<void> {
    while (!this.#isOver) {
      const shards = await this.cluster.shards().catch(() => []);
      if (shards.length > 0) this.#shards = shards;
      await sleep(LOOK_EVERY_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.cluster[Symbol.asyncDispose]();
    await this.#record[Symbol.asyncDispose]();
    await this.#following;
  }
}
