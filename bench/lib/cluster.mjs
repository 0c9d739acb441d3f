/** A Redis Cluster: three primaries with a replica each. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster, Redis } from 'ioredis';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { startRedis } from '../../scripts/lib/redis-server.mjs';

export const PRIMARIES = 3;
const SLOTS = 16_384;
const LOOK_EVERY_MS = 20;
const MOVED_AT_ONCE = 100;

const ARGS = [
  ...['--cluster-enabled', 'yes'],
  ...['--cluster-require-full-coverage', 'no'],
  ...['--cluster-node-timeout', '2000'],
];

/** @typedef {{ server: import('../../scripts/lib/redis-server.mjs').RunningRedis, client: Redis, id: string }} Node */

/** @param {() => Promise<boolean>} look */
async function until(look) {
  while (!(await look().catch(() => false))) await sleep(LOOK_EVERY_MS);
}

/** @returns {Promise<Node>} */
async function startNode() {
  const server = await startRedis({ port: await freePort(), args: ARGS });
  const client = new Redis(server.port, '127.0.0.1', { protocol: 2, retryStrategy: () => 100 });
  client.on('error', () => undefined);
  return { server, client, id: String(await client.cluster('MYID')) };
}

/** The first slot of a primary; of the one after the last, the number of slots. @param {number} at */
const firstOf = (at) => Math.round((at * SLOTS) / PRIMARIES);

export async function startCluster() {
  const nodes = await Promise.all(Array.from({ length: 2 * PRIMARIES }, startNode));
  const [primaries, replicas] = [nodes.slice(0, PRIMARIES), nodes.slice(PRIMARIES)];
  const [first] = /** @type {[Node]} */ (primaries);
  for (const [at, { client }] of nodes.entries()) {
    await client.call('CLUSTER', 'SET-CONFIG-EPOCH', at + 1);
    if (at > 0) await client.cluster('MEET', '127.0.0.1', first.server.port);
  }
  for (const [at, { client }] of primaries.entries()) {
    await client.call('CLUSTER', 'ADDSLOTSRANGE', firstOf(at), firstOf(at + 1) - 1);
  }
  for (const { client } of nodes) {
    await until(async () => {
      const info = String(await client.cluster('INFO'));
      return /cluster_state:ok/.test(info) && info.includes(`cluster_known_nodes:${nodes.length}`);
    });
  }
  for (const [at, { client }] of replicas.entries()) {
    await client.cluster('REPLICATE', primaries[at]?.id ?? '');
  }
  for (const { client } of replicas) {
    await until(async () => /master_link_status:up/.test(await client.info('replication')));
  }
  const client = new Cluster(
    primaries.map(({ server }) => ({ host: '127.0.0.1', port: server.port })),
    { redisOptions: { protocol: 2 }, clusterRetryStrategy: () => 100, retryDelayOnMoved: 10 },
  );
  client.on('error', () => undefined);
  return {
    primaries,
    client,
    nodes: primaries.map(({ server }) => `127.0.0.1:${server.port}`),
    async stop() {
      client.disconnect();
      for (const node of nodes) {
        node.client.disconnect();
        await node.server.stop();
      }
    },
  };
}

/**
 * Moves a slot with its keys.
 * @param {number} slot
 * @param {Node} from
 * @param {Node} to
 */
export async function moveSlot(slot, from, to) {
  await to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
  await from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
  const next = () => from.client.call('CLUSTER', 'GETKEYSINSLOT', slot, MOVED_AT_ONCE);
  for (let keys = await next(); ; keys = await next()) {
    const names = /** @type {string[]} */ (keys);
    if (names.length === 0) break;
    await from.client.call('MIGRATE', '127.0.0.1', to.server.port, '', 0, 5_000, 'KEYS', ...names);
  }
  for (const { client } of [to, from]) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
}
