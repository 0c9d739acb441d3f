/** A relay that watches all primaries of a cluster. */
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { slotOf } from '../../src/redis/slots.js';
import { type ClusterNode, type RunningCluster, startCluster } from '../support/cluster.js';
import {
  expectAll,
  expectOnTime,
  fileOf,
  KEYS,
  keysOf,
  setKeys,
  startWatching,
  timed,
  tracked,
} from '../support/cluster-relay.js';
import type { RelayProcess } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';

/** The keys of a primary that is away are late: no others can be compared. */
const NONE = () => false;

/** Each has a key or more. */
const MOVED_SLOTS = 100;

describe('a relay of a cluster with three primaries', () => {
  it.each(['on another server', 'in the cluster'])(
    'delivers every key of all slots once and on time, with its state %s',
    async (where) => {
      await using cluster = await startCluster();
      await using receiver = await TestReceiver.start();
      await using redis = await startRedis();
      const late = timed(receiver);
      const state = where === 'in the cluster' ? undefined : redis.url;
      await using relay = await startWatching(fileOf(cluster, receiver, state));
      await setKeys(cluster.client, 'a');
      await expectAll(receiver);
      for (const { body } of receiver.requests) {
        expect(body.data.detected_by).toBe('notification');
        expect(body.data.expired_at).not.toBeNull();
      }
      expectOnTime(late);
      expect(relay.logs().filter(({ level }) => level === 'error')).toEqual([]);
      expect(relay.logs('watch_failed')).toEqual([]);
    },
  );
});

/** Keys that are due before, during and after `change`. */
async function during(
  cluster: RunningCluster,
  receiver: TestReceiver,
  relay: RelayProcess,
  change: () => Promise<void>,
): Promise<void> {
  for (const [name, fromMs] of Object.entries({ a: 4_000, b: 7_000, c: 11_000 })) {
    await setKeys(cluster.client, name, fromMs);
  }
  await tracked(relay, 3 * KEYS);
  await change();
  await expectAll(receiver, 3 * KEYS);
  for (const { body } of receiver.requests) expect(body.data.expired_at).not.toBeNull();
}

describe('a relay of a cluster that changes', () => {
  it('follows CLUSTER FAILOVER of one primary: no key is lost or repeated', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    await during(cluster, receiver, relay, async () => {
      await cluster.replicas[1]?.client.cluster('FAILOVER');
    });
    expect(relay.logs('watch_failed')).toEqual([]);
  });

  it('goes on with the other primaries while one is killed, and recovers its keys', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [dead, ...others] = cluster.primaries;
    let ofOthers: ReadonlySet<string> = new Set();
    const late = timed(receiver, (key) => ofOthers.has(key), NONE);
    await during(cluster, receiver, relay, async () => {
      ofOthers = await keysOf(others);
      process.kill(dead?.server.pid ?? 0, 'SIGKILL');
    });
    expectOnTime(late);
  });

  it('follows slots that move: keys due before, during and after it are on time', async () => {
    await using cluster = await startCluster();
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    const moved = new Set<number>();
    const late = timed(receiver, (key) => moved.has(slotOf(key)));
    await during(cluster, receiver, relay, async () => {
      for (const key of await keysOf([from])) if (moved.size < MOVED_SLOTS) moved.add(slotOf(key));
      for (const slot of moved) await cluster.moveSlot(slot, from, to);
    });
    expectOnTime(late);
    expect(relay.logs('watch_failed')).toEqual([]);
  });
});
