/** A relay of a cluster whose primaries die, hang and fail over. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { slotOf } from '../../src/redis/slots.js';
import { deadlineKeys } from '../../src/state/format.js';
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
import { eventually } from '../support/eventually.js';
import { resume } from '../support/sentinel.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

/** The keys of a primary that is away are late: no others can be compared. */
const NONE = () => false;

const HUNG_MS = 10_000;

/** A failover takes two to five seconds, on a busy machine. */
const FAILOVER_MS_MAX = 30_000;

const MOVED_SLOTS = 30;

/** Resolves with the replica that has become the primary in place of this one. */
async function promotedFrom(cluster: RunningCluster, former: ClusterNode): Promise<ClusterNode> {
  const { replicas = [] } =
    (await cluster.shards()).find(({ primary }) => primary === former) ?? {};
  return eventually(
    'a promoted replica',
    async () => {
      const primaries = (await cluster.shards()).map(({ primary }) => primary);
      return replicas.find((replica) => primaries.includes(replica));
    },
    FAILOVER_MS_MAX,
  );
}

describe('a relay of a cluster with replicas', () => {
  it('follows a primary that is killed, and its successor that is killed: each is a gap', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [first] = cluster.primaries as [ClusterNode];
    await setKeys(cluster.client, 'a', 20_000);
    await tracked(relay, KEYS);
    let former = first;
    for (const gaps of [1, 2]) {
      const kill = promotedFrom(cluster, former);
      await former.server.kill('SIGKILL');
      const promoted = await kill;
      await eventually(
        'the relay listens to it',
        () => relay.logs('listening').filter(({ gap_ms }) => gap_ms !== undefined).length === gaps,
      );
      expect(relay.logs('listening').at(-1)?.redis).toBe(`127.0.0.1:${promoted.port}`);
      await former.server.restart();
      await cluster.settled();
      former = promoted;
    }
    expect(await relay.metric('expiry_relay_gaps_total')).toBe(2);
    await expectAll(receiver);
    for (const { body } of receiver.requests) expect(body.data.expired_at).not.toBeNull();
  });

  it('delivers keys that were set in the second before their primary was killed', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [dead] = cluster.primaries as [ClusterNode];
    const index = deadlineKeys('{expiry-relay}', 0);
    // They are due while nobody has the slots of that primary, and after that.
    await setKeys(cluster.client, 'a', 3_000);
    await withRedis(redis, (state) =>
      eventually('all are read', async () => {
        const [tracked, overdue] = [state.zcard(index.tracked), state.zcard(index.overdue)];
        return (await tracked) + (await overdue) + receiver.keys.length >= KEYS;
      }),
    );
    const replicated = await Promise.all(
      cluster.primaries.map(({ client }) => client.wait(1, 1_000)),
    );
    await dead.server.kill('SIGKILL');
    expect(replicated).toEqual([1, 1, 1]);
    await expectAll(receiver, KEYS, FAILOVER_MS_MAX);
    await relay.logged('subscription_lost');
    for (const { body } of receiver.requests) expect(body.data.expired_at).not.toBeNull();
  });

  it('follows the replica of a primary that hangs; the keys of the others are on time', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [hung, ...others] = cluster.primaries as [ClusterNode];
    for (const [name, fromMs] of Object.entries({ a: 3_000, b: 6_000, c: 12_000 })) {
      await setKeys(cluster.client, name, fromMs);
    }
    await tracked(relay, 3 * KEYS);
    const ofOthers = await keysOf(others);
    const late = timed(receiver, (key) => ofOthers.has(key), NONE);
    const promoted = promotedFrom(cluster, hung);
    process.kill(hung.server.pid, 'SIGSTOP');
    try {
      await promoted;
      // The last keys of the hung primary are due well after the failover.
      await expectAll(receiver, 3 * KEYS, FAILOVER_MS_MAX);
    } finally {
      resume(hung.server);
    }
    expectOnTime(late);
    await cluster.settled();
    await setKeys(cluster.client, 'd');
    await expectAll(receiver, 4 * KEYS);
  });

  it('loses nothing when a primary is killed while its slots move', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    for (const [name, fromMs] of Object.entries({ a: 4_000, b: 7_000, c: 12_000 })) {
      await setKeys(cluster.client, name, fromMs);
    }
    await tracked(relay, 3 * KEYS);
    const slots = [...new Set([...(await keysOf([from]))].map(slotOf))].slice(0, 2 * MOVED_SLOTS);
    for (const slot of slots.slice(0, MOVED_SLOTS)) await cluster.moveSlot(slot, from, to);
    // The slot in between has moved its keys, but not its owner.
    const between = slots[MOVED_SLOTS] ?? 0;
    let steps = 0;
    const promoted = promotedFrom(cluster, from);
    await cluster
      .moveSlot(between, from, to, async () => {
        steps += 1;
        if (steps === 2) await from.server.kill('SIGKILL');
      })
      .catch(() => undefined);
    const successor = await promoted;
    for (const slot of slots.slice(MOVED_SLOTS)) await cluster.moveSlot(slot, successor, to);
    await expectAll(receiver, 3 * KEYS, FAILOVER_MS_MAX);
  });
});

describe('a relay of a cluster without replicas', () => {
  it('delivers the keys of a primary that hangs for 10 s once it returns, and the others on time', async () => {
    await using cluster = await startCluster();
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [hung, ...others] = cluster.primaries as [ClusterNode];
    for (const [name, fromMs] of Object.entries({ a: 3_000, b: 6_000, c: 14_000 })) {
      await setKeys(cluster.client, name, fromMs);
    }
    await tracked(relay, 3 * KEYS);
    const ofOthers = await keysOf(others);
    const late = timed(receiver, (key) => ofOthers.has(key), NONE);
    process.kill(hung.server.pid, 'SIGSTOP');
    try {
      await sleep(HUNG_MS);
    } finally {
      resume(hung.server);
    }
    await expectAll(receiver, 3 * KEYS, FAILOVER_MS_MAX);
    expectOnTime(late);
    for (const { body } of receiver.requests) expect(body.data.expired_at).not.toBeNull();
  });
});
