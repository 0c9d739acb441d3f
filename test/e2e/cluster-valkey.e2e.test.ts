/** A relay of a cluster of Valkey 9, which moves slots atomically and has numbered databases. */
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { isIn, slotOf } from '../../src/redis/slots.js';
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
import { otherServerFor } from '../support/other-server.js';
import { TestReceiver } from '../support/test-receiver.js';

/** A part of the first primary's slots. */
const MOVED = [0, 2_999] as const;

/** The snapshot takes long enough to be cancelled. */
const LARGE_BYTES = 100_000;

/** The state of the last migration, as its source reports it. */
async function migrationOf({ client }: ClusterNode): Promise<string> {
  const [last = []] = (await client.call('CLUSTER', 'GETSLOTMIGRATIONS')) as string[][];
  return String(last[last.indexOf('state') + 1]);
}

async function migrate(from: ClusterNode, to: ClusterNode): Promise<void> {
  await from.client.call('CLUSTER', 'MIGRATESLOTS', 'SLOTSRANGE', ...MOVED, 'NODE', to.id);
}

describe('a relay of a cluster of Valkey 9', () => {
  it('follows slots that move atomically: keys due before, during and after it are on time', async (context) => {
    const binary = otherServerFor(context, 'valkey-9');
    await using cluster = await startCluster({ binary });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    const late = timed(receiver, (key) => isIn([MOVED], slotOf(key)));
    for (const [name, fromMs] of Object.entries({ a: 3_000, b: 5_000, c: 9_000 })) {
      await setKeysAt(cluster.primaries, name, { fromMs });
    }
    await tracked(relay, 3 * KEYS);
    await migrate(from, to);
    await eventually('the slots have moved', async () => (await migrationOf(from)) === 'success');
    await expectAll(receiver, 3 * KEYS);
    expectOnTime(late);
    for (const { body } of receiver.requests) expect(body.data.expired_at).not.toBeNull();
  });

  it('sends nothing spurious, and loses nothing, when such a move is cancelled', async (context) => {
    const binary = otherServerFor(context, 'valkey-9');
    await using cluster = await startCluster({ binary });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    const late = timed(receiver);
    const value = 'x'.repeat(LARGE_BYTES);
    await setKeysAt(cluster.primaries, 'a', { fromMs: 8_000, value });
    await tracked(relay, KEYS);
    const announced = await announcedBy(to);
    await migrate(from, to);
    await eventually('the target announces keys', () => announced.keys.size > 0);
    await from.client.call('CLUSTER', 'CANCELSLOTMIGRATIONS');
    expect(await migrationOf(from)).toBe('cancelled');
    announced.end();
    const kept = await keysOf([from]);
    expect([...announced.keys].filter((key) => kept.has(key))).toEqual([...announced.keys]);
    // Keys that are deleted now exist nowhere, although the target had announced them.
    const deleted = [...announced.keys].slice(0, Math.ceil(announced.keys.size / 2));
    for (const key of deleted) await from.client.del(key);
    await expectAll(receiver, KEYS - deleted.length);
    expectOnTime(late);
    expect(receiver.keys.filter((key) => deleted.includes(key))).toEqual([]);
  });

  it('watches numbered databases', async (context) => {
    const binary = otherServerFor(context, 'valkey-9');
    const args = ['--cluster-databases', '16'];
    await using cluster = await startCluster({ binary, args });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    const file = fileOf(cluster, receiver, redis.url);
    const section = { ...(file.redis as object), databases: [0, 7] };
    await using relay = await startWatching({ ...file, redis: section });
    const late = timed(receiver);
    await setKeysAt(cluster.primaries, 'zero', { fromMs: 4_000 });
    await setKeysAt(cluster.primaries, 'seven', { fromMs: 4_000, database: 7 });
    await setKeysAt(cluster.primaries, 'other', { fromMs: 4_000, database: 3 });
    await tracked(relay, 2 * KEYS);
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    await migrate(from, to);
    await expectAll(receiver, 2 * KEYS);
    expectOnTime(late);
    for (const { body } of receiver.requests) {
      expect(body.data.database).toBe(body.data.key.startsWith('order:seven:') ? 7 : 0);
    }
  });
});

/** The keys whose deadlines a node announces. */
async function announcedBy({ port }: ClusterNode) {
  const client = new Redis(port, '127.0.0.1', { protocol: 2 });
  const keys = new Set<string>();
  client.on('message', (_, key: string) => keys.add(key));
  await client.subscribe('__keyevent@0__:expire');
  return { keys, end: () => client.disconnect() };
}
