/** A real Redis Cluster: three primaries, each with a replica if the test needs one. */
import { Cluster, Redis } from 'ioredis';
import type { RunningRedis } from '../../scripts/lib/redis-server.mjs';
import { SLOTS, startClusterNode } from './cluster-node.js';
import { eventually } from './eventually.js';

export interface ClusterNode {
  readonly server: RunningRedis;
  readonly port: number;
  readonly id: string;
  readonly client: Redis;
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
  /** Moves a slot with its keys. `on`: called at each step. */
  moveSlot(slot: number, from: ClusterNode, to: ClusterNode): Promise<void>;
}

const PRIMARIES = 3;

async function startNode(): Promise<ClusterNode> {
  const server = await startClusterNode();
  const client = new Redis(server.port, '127.0.0.1', { protocol: 2 });
  client.on('error', () => undefined);
  return { server, port: server.port, id: String(await client.cluster('MYID')), client };
}

const stateOf = async ({ client }: ClusterNode) => String(await client.cluster('INFO'));

export async function startCluster({ replicas = false } = {}): Promise<RunningCluster> {
  const count = replicas ? 2 * PRIMARIES : PRIMARIES;
  const all = await Promise.all(Array.from({ length: count }, startNode));
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
  return {
    primaries,
    replicas: copies,
    client,
    nodes: primaries.map(({ port }) => `127.0.0.1:${port}`),
    add: async () => {
      const node = await startNode();
      added.push(node);
      await join(node);
      return node;
    },
    moveSlot,
    [Symbol.asyncDispose]: async () => {
      client.disconnect();
      for (const node of [...all, ...added]) {
        node.client.disconnect();
        await node.server.stop();
      }
    },
  };
}

/** Keys that MIGRATE moves at a time. */
const MIGRATED_AT_ONCE = 100;
const MIGRATE_MS_MAX = 5_000;

async function moveSlot(slot: number, from: ClusterNode, to: ClusterNode): Promise<void> {
  await to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
  await from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
  for (;;) {
    const keys = (await from.client.call(
      'CLUSTER',
      'GETKEYSINSLOT',
      slot,
      MIGRATED_AT_ONCE,
    )) as string[];
    if (keys.length === 0) break;
    const words = ['127.0.0.1', to.port, '', 0, MIGRATE_MS_MAX, 'KEYS', ...keys];
    await from.client.call('MIGRATE', ...words);
  }
  await to.client.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
  await from.client.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
}
