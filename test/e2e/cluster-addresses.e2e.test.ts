/** A relay of a cluster whose nodes announce addresses that lead nowhere from where the relay is. */
import { expect, it } from 'vitest';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { slotOf } from '../../src/redis/slots.js';
import { type ClusterNode, startCluster } from '../support/cluster.js';
import {
  expectAll,
  expectOnTime,
  fileOf,
  KEYS,
  keysOf,
  setKeysAt,
  startWatching,
  timed,
  tracked,
} from '../support/cluster-relay.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess } from '../support/relay-process.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { TestReceiver } from '../support/test-receiver.js';

const BUS_ABOVE = 10_000;

const MOVED_SLOTS = 40;

/** The node announces a port at which nothing listens. */
async function announceElsewhere({ client, port }: ClusterNode): Promise<string> {
  const announced = await freePort();
  await client.config('SET', 'cluster-announce-bus-port', port + BUS_ABOVE);
  await client.config('SET', 'cluster-announce-port', announced);
  return `127.0.0.1:${announced}`;
}

it('reaches the nodes by redis.cluster.address_map, also after slots have moved', async ({
  onTestFinished,
}) => {
  await using cluster = await startCluster();
  // It would follow the announced addresses.
  cluster.client.disconnect();
  await using receiver = await TestReceiver.start();
  await using redis = await startRedis();
  const { primaries } = cluster;
  const announced = await Promise.all(primaries.map(announceElsewhere));
  const map: Record<string, string> = {};
  for (const [at, { port, client }] of primaries.entries()) {
    const proxy = await TcpProxy.start(port);
    onTestFinished(() => proxy[Symbol.asyncDispose]());
    map[announced[at] ?? ''] = `127.0.0.1:${proxy.port}`;
    await eventually('all addresses are announced', async () => {
      const nodes = String(await client.cluster('NODES'));
      return announced.every((address) => nodes.includes(`${address}@`));
    });
  }
  const [first = ''] = Object.values(map);
  const file = fileOf({ nodes: [first] }, receiver, redis.url);
  const section = { cluster: { nodes: [first], address_map: map } };
  await using relay = await startWatching({ ...file, redis: section });
  const late = timed(receiver);
  await setKeysAt(primaries, 'a', { fromMs: 5_000 });
  await setKeysAt(primaries, 'b', { fromMs: 9_000 });
  await tracked(relay, 2 * KEYS);
  const [from, to] = primaries as [ClusterNode, ClusterNode];
  const slots = [...new Set([...(await keysOf([from]))].map(slotOf))].slice(0, MOVED_SLOTS);
  for (const slot of slots) await cluster.moveSlot(slot, from, to);
  await expectAll(receiver, 2 * KEYS);
  expectOnTime(late);
  const listening = relay.logs('listening').map((line) => line.redis);
  expect(new Set(listening)).toEqual(new Set(Object.values(map)));
});

it('says which address cannot be reached while the map is missing', async () => {
  await using cluster = await startCluster();
  cluster.client.disconnect();
  await using receiver = await TestReceiver.start();
  await using redis = await startRedis();
  const announced = await Promise.all(cluster.primaries.map(announceElsewhere));
  const [{ client }] = cluster.primaries as [ClusterNode];
  await eventually('all addresses are announced', async () => {
    const nodes = String(await client.cluster('NODES'));
    return announced.every((address) => nodes.includes(`${address}@`));
  });
  await using relay = await RelayProcess.spawn(fileOf(cluster, receiver, redis.url));
  const { redis: address, error } = await relay.logged('redis_unavailable');
  expect(announced).toContain(address);
  expect(String(error)).toContain(String(address));
});
