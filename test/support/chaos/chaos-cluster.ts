/** A Redis Cluster under chaos: who has which slots, and how far each replica had followed its primary. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isIn, slotOf } from '../../../src/redis/slots.js';
import { parseInfo } from '../../../src/server/info.js';
import { type ClusterNode, type RunningCluster, type Shard, startCluster } from '../cluster.js';
import { eventually } from '../eventually.js';
import type { Loss } from './records.js';

const LOOK_EVERY_MS = 50;
const FAILOVER_MS_MAX = 60_000;

/** How long what a primary had written is remembered. */
const KEPT_MS = 120_000;

/** All that a primary had replied to before `atMs` is within this part of its replication stream. */
interface Written {
  readonly atMs: number;
  readonly stream: string;
  readonly offset: number;
}

export class ChaosCluster implements AsyncDisposable {
  readonly cluster: RunningCluster;
  readonly nodes: readonly ClusterNode[];
  #shards: readonly Shard[];
  /** The deadlines that moves have changed, by key and new deadline. */
  readonly #shifts = new Map<string, number>();
  /** By port. */
  readonly #written = new Map<number, Written[]>();
  #isOver = false;
  readonly #loops: Promise<unknown>;

  private constructor(cluster: RunningCluster, shards: readonly Shard[]) {
    this.cluster = cluster;
    this.nodes = [...cluster.primaries, ...cluster.replicas];
    this.#shards = shards;
    this.#loops = Promise.all([this.#follow(), ...this.nodes.map((node) => this.#measure(node))]);
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

  /**
   * The writes to a former primary that the promoted one may lack: what it had replied to later than it had written
   * the last of what the promoted one has. The replication stream tells how much that is.
   */
  async lossAt(former: ClusterNode, promoted: ClusterNode, state: string): Promise<Loss> {
    const info = parseInfo(await promoted.client.info('replication'));
    const stream = info.get('master_replid2');
    const reachedOffset = Number(info.get('second_repl_offset')) - 1;
    const written = this.#written.get(former.port) ?? [];
    const last = written.findLast((one) => one.stream === stream && one.offset <= reachedOffset);
    if (last === undefined) throw new Error(`unknown what ${promoted.port} has of ${former.port}`);
    const isOfState = this.shardOf(slotOf(state)).primary.port === promoted.port;
    return { fromMs: last.atMs, toMs: Date.now(), port: former.port, isOfState };
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

  /** The deadline that the application had given the key. */
  givenDeadlineMs(key: string, deadlineMs: number): number {
    let givenMs = deadlineMs;
    for (let before: number | undefined = givenMs; before !== undefined; ) {
      givenMs = before;
      before = this.#shifts.get(`${key} ${givenMs}`);
    }
    return givenMs;
  }

  /** Asks again and again which shards there are, as an application does. */
  async #follow(): Promise<void> {
    while (!this.#isOver) {
      const shards = await this.cluster.shards().catch(() => []);
      if (shards.length > 0) this.#shards = shards;
      await sleep(LOOK_EVERY_MS);
    }
  }

  async #measure({ client, port }: ClusterNode): Promise<void> {
    const written: Written[] = [];
    this.#written.set(port, written);
    for (; !this.#isOver; await sleep(LOOK_EVERY_MS)) {
      const atMs = Date.now();
      const text = await client.info('replication').catch(() => null);
      if (text === null) continue;
      const info = parseInfo(text);
      if (info.get('role') !== 'master') continue;
      const stream = info.get('master_replid') ?? '';
      written.push({ atMs, stream, offset: Number(info.get('master_repl_offset')) });
      while ((written[0]?.atMs ?? atMs) < atMs - KEPT_MS) written.shift();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.cluster[Symbol.asyncDispose]();
    await this.#loops;
  }
}
