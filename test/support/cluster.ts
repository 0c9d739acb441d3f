/** A real Redis Cluster: three primaries, each with a replica if the test needs one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, Redis } from 'ioredis';
import type { RunningRedis } from '../../scripts/lib/redis-server.mjs';
import { type View, viewOf } from '../../src/redis/cluster/nodes.js';
import type { SlotRange } from '../../src/redis/slots.js';
import { SLOTS, startClusterNode } from './cluster-node.js';
import { eventually } from './eventually.js';
import { resume } from './sentinel.js';

export interface ClusterNode {
  readonly server: RunningRedis;
  readonly port: number;
  readonly id: string;
  readonly client: Redis;
}

/** MIGRATE hands on the time that a key has left: its deadline is a moment later at the other node. */
export interface Shift {
  readonly key: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** A primary that has slots, and its replicas. */
export interface Shard {
  readonly primary: ClusterNode;
  readonly replicas: readonly ClusterNode[];
  readonly slots: readonly SlotRange[];
}

export interface ClusterOptions {
  /** Whether each primary has a replica. */
  readonly replicas?: boolean;
  /** More arguments for each node. */
  readonly args?: readonly string[];
  /** The path of another server; default: the machine's own. */
  readonly binary?: string;
}

export interface RunningCluster extends AsyncDisposable {
  /** The nodes that had slots at the beginning, by slots. */
  readonly primaries: readonly ClusterNode[];
  /** The replica of each of them; empty if there are none. */
  readonly replicas: readonly ClusterNode[];
  /** Sends each command to the node that has its key. */
  readonly client: Cluster;
  /** For `redis.cluster`. */
  readonly nodes: readonly string[];
  /** Adds a node without slots. */
  add(): Promise<ClusterNode>;
  /** Removes a node that was added, and has no slots any more. */
  forget(node: ClusterNode): Promise<void>;
  /** Moves a slot with its keys. `pause`: awaited between the steps. */
  moveSlot(
    slot: number,
    from: ClusterNode,
    to: ClusterNode,
    pause?: () => Promise<unknown>,
  ): Promise<readonly Shift[]>;
  /** The shards as the nodes report them that know the latest change. */
  shards(): Promise<readonly Shard[]>;
  /** Resolves when all nodes agree on the shards, and each replica has what its primary has. */
  settled(): Promise<void>;
}

const PRIMARIES = 3;

const SETTLED_MS_MAX = 60_000;

/** A node that a test has paused does not reply. */
const REPLY_MS_MAX = 1_000;

async function startNode(options: ClusterOptions): Promise<ClusterNode> {
  const server = await startClusterNode(options);
  const client = new Redis(server.port, '127.0.0.1', {
    protocol: 2,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 50,
  });
  client.on('error', () => undefined);
  return { server, port: server.port, id: String(await client.cluster('MYID')), client };
}

const stateOf = async ({ client }: ClusterNode) => String(await client.cluster('INFO'));

export async function startCluster(options: ClusterOptions = {}): Promise<RunningCluster> {
  const count = options.replicas ? 2 * PRIMARIES : PRIMARIES;
  const all = await Promise.all(Array.from({ length: count }, () => startNode(options)));
  const [first, ...others] = all as [ClusterNode, ...ClusterNode[]];
  const primaries = all.slice(0, PRIMARIES);
  const copies = all.slice(PRIMARIES);
  const join = async (node: ClusterNode) => {
    await node.client.cluster('MEET', '127.0.0.1', first.port);
    await eventually('the node knows all', async () =>
      /cluster_known_nodes:([2-9]|\d\d)/.test(await stateOf(node)),
    );
  };
  for (const [n, node] of all.entries())
    await node.client.call('CLUSTER', 'SET-CONFIG-EPOCH', n + 1);
  for (const node of others) await join(node);
  for (const [n, { client }] of primaries.entries()) {
    const from = Math.round((n * SLOTS) / PRIMARIES);
    const to = Math.round(((n + 1) * SLOTS) / PRIMARIES) - 1;
    const slots = Array.from({ length: to - from + 1 }, (_, at) => from + at);
    await client.cluster('ADDSLOTS', ...slots);
  }
  const isWhole = (info: string) =>
    info.includes('cluster_state:ok') &&
    info.includes('cluster_slots_assigned:16384') &&
    info.includes(`cluster_known_nodes:${count}`) &&
    info.includes(`cluster_size:${PRIMARIES}`);
  const whole = () =>
    eventually('the cluster is whole', async () =>
      (await Promise.all(all.map(stateOf))).every(isWhole),
    );
  await whole();
  for (const [n, { client }] of copies.entries()) {
    await client.cluster('REPLICATE', primaries[n]?.id ?? '');
  }
  for (const { client } of copies) {
    await eventually('a replica follows', async () =>
      String(await client.info('replication')).includes('master_link_status:up'),
    );
  }
  const client = new Cluster(
    primaries.map(({ port }) => ({ host: '127.0.0.1', port })),
    { redisOptions: { protocol: 2 }, clusterRetryStrategy: () => 100, retryDelayOnMoved: 10 },
  );
  client.on('error', () => undefined);
  const added: ClusterNode[] = [];
  const views = () => Promise.all([...all, ...added].map(viewFrom));
  return {
    primaries,
    replicas: copies,
    client,
    nodes: primaries.map(({ port }) => `127.0.0.1:${port}`),
    add: async () => {
      const node = await startNode(options);
      added.push(node);
      await join(node);
      await eventually('the node is ok', async () =>
        (await stateOf(node)).includes('cluster_state:ok'),
      );
      for (const { client } of all) {
        await eventually('the others know the node', async () =>
          String(await client.cluster('NODES')).includes(node.id),
        );
      }
      return node;
    },
    forget: async (node) => {
      // A node learns of the others by and by.
      for (const { client } of all) {
        await eventually('a node forgets another one', () =>
          client.cluster('FORGET', node.id).catch(() => null),
        );
      }
      await node.server.stop();
    },
    moveSlot,
    shards: async () => shardsIn(latestOf(await views()), [...all, ...added]),
    settled: async () => {
      const isSettled = async () => {
        const found = await views();
        const texts = new Set(found.map((view) => (view === null ? null : textOf(view))));
        if (texts.size > 1 || texts.has(null)) return false;
        const shards = shardsIn(latestOf(found), [...all, ...added]);
        const followers = shards.flatMap((shard) => shard.replicas);
        const links = await Promise.all(followers.map(({ client }) => client.info('replication')));
        const states = await Promise.all([...all, ...added].map(stateOf));
        return (
          followers.length === copies.length &&
          links.every((link) => link.includes('master_link_status:up')) &&
          states.every((state) => state.includes('cluster_state:ok'))
        );
      };
      await eventually('a settled cluster', () => isSettled().catch(() => false), SETTLED_MS_MAX);
    },
    [Symbol.asyncDispose]: async () => {
      client.disconnect();
      for (const node of [...all, ...added]) {
        node.client.disconnect();
        resume(node.server);
        await node.server.stop();
      }
    },
  };
}

/** What a node reports of all nodes; null: it does not reply. */
async function viewFrom({ client, port }: ClusterNode): Promise<View | null> {
  const late = sleep(REPLY_MS_MAX, null, { ref: false });
  const nodes = await Promise.race([client.cluster('NODES').catch(() => null), late]);
  if (nodes === null) return null;
  return viewOf(String(nodes), 'cluster_state:ok', { host: '127.0.0.1', port });
}

/** A node whose failover or move is not known to the others yet has the highest epoch. */
function latestOf(views: readonly (View | null)[]): View {
  const known = views.filter((view) => view !== null);
  return known.reduce((best, view) => (view.epoch > best.epoch ? view : best));
}

function shardsIn({ primaries }: View, nodes: readonly ClusterNode[]): readonly Shard[] {
  const byId = (id: string) => nodes.filter((node) => node.id === id);
  return primaries.flatMap(({ id, replicas, slots }) =>
    byId(id).map((primary) => ({
      primary,
      replicas: replicas.flatMap((replica) => byId(replica.id)),
      slots,
    })),
  );
}

function textOf({ primaries }: View): string {
  const idsOf = (nodes: readonly { readonly id: string }[]) => nodes.map(({ id }) => id).join();
  const lines = primaries.map((one) => `${one.id} ${one.slots.join()} ${idsOf(one.replicas)}`);
  return lines.join('\n');
}

/** Keys that MIGRATE moves at a time. */
const MIGRATED_AT_ONCE = 100;
const MIGRATE_MS_MAX = 5_000;

export async function moveSlot(
  slot: number,
  from: ClusterNode,
  to: ClusterNode,
  pause: () => Promise<unknown> = async () => undefined,
): Promise<readonly Shift[]> {
  const shifts: Shift[] = [];
  await to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
  await from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
  for (;;) {
    await pause();
    const keys = (await from.client.call(
      'CLUSTER',
      'GETKEYSINSLOT',
      slot,
      MIGRATED_AT_ONCE,
    )) as string[];
    if (keys.length === 0) break;
    const words = ['127.0.0.1', to.port, '', 0, MIGRATE_MS_MAX, 'KEYS', ...keys];
    const before = await deadlinesAt(from, keys);
    await from.client.call('MIGRATE', ...words);
    const after = await deadlinesAt(to, keys);
    for (const [at, key] of keys.entries()) {
      shifts.push({ key, fromMs: before[at] ?? 0, toMs: after[at] ?? 0 });
    }
  }
  await giveSlot(slot, from, to, pause);
  return shifts;
}

/** The node may be about to get these keys. */
async function deadlinesAt({ client }: ClusterNode, keys: readonly string[]): Promise<number[]> {
  return Promise.all(
    keys.map(async (key) => {
      const [, deadlineMs] = await Promise.all([
        client.asking(),
        client.pexpiretime(key).catch(() => 0),
      ]);
      return Number(deadlineMs);
    }),
  );
}

/** The last step of a migration. */
export async function giveSlot(
  slot: number,
  from: ClusterNode,
  to: ClusterNode,
  pause: () => Promise<unknown> = async () => undefined,
): Promise<void> {
  await to.client.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
  await pause();
  await from.client.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
}
