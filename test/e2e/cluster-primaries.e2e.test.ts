/** A relay that watches all primaries of a cluster. */
import type { Cluster } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { slotOf } from '../../src/redis/slots.js';
import { type ClusterNode, type RunningCluster, startCluster } from '../support/cluster.js';
import { eventually } from '../support/eventually.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

const KEYS = 600;

/** Each has a key or more. */
const MOVED_SLOTS = 100;

/** On a busy machine. */
const LATE_P50_MS_MAX = 500;
const LATE_P99_MS_MAX = 2_000;

/** The state is in the cluster, unless `state` says otherwise. */
function fileOf({ nodes }: RunningCluster, receiver: TestReceiver, state?: string): RelayFile {
  const file = simpleFile('', receiver.url);
  const more = state === undefined ? {} : { state: { url: state } };
  return { ...file, redis: { cluster: { nodes: [nodes[0]] } }, ...more };
}

/** Keys of all primaries, due from `fromMs` on over two seconds. */
async function setKeys(client: Cluster, name: string, fromMs = 1_500): Promise<void> {
  const keys = Array.from({ length: KEYS }, (_, n) => n);
  await Promise.all(
    keys.map((n) =>
      client.set(`order:${name}:${n}`, '', 'PX', fromMs + Math.round((2_000 * n) / KEYS)),
    ),
  );
}

function percentile(all: readonly number[], share: number): number {
  const sorted = all.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

async function expectAll(receiver: TestReceiver, count = KEYS): Promise<void> {
  await eventually('all webhooks', () => new Set(receiver.keys).size >= count);
  expectEach(receiver, count);
}

/** Notes how late the webhooks of these keys arrive. */
function timed(receiver: TestReceiver, isOne: (key: string) => boolean = () => true): number[] {
  const late: number[] = [];
  receiver.respond = ({ body }, response) => {
    const { key, expired_at } = body.data;
    if (isOne(key)) late.push(Date.now() - Date.parse(String(expired_at)));
    response.writeHead(204).end();
  };
  return late;
}

describe('a relay of a cluster with three primaries', () => {
  it.each(['on another server', 'in the cluster'])(
    'delivers every key of all slots once and on time, with its state %s',
    async (where) => {
      await using cluster = await startCluster();
      await using receiver = await TestReceiver.start();
      await using redis = await startRedis();
      const late = timed(receiver);
      const state = where === 'in the cluster' ? undefined : redis.url;
      await using relay = await RelayProcess.start(fileOf(cluster, receiver, state));
      await eventually('it watches', () => relay.watches);
      await setKeys(cluster.client, 'a');
      await expectAll(receiver);
      for (const { body } of receiver.requests) {
        expect(body.data.detected_by).toBe('notification');
        expect(body.data.expired_at).not.toBeNull();
      }
      expect(percentile(late, 0.5)).toBeLessThan(LATE_P50_MS_MAX);
      expect(percentile(late, 0.99)).toBeLessThan(LATE_P99_MS_MAX);
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
  await eventually(
    'all are tracked',
    async () => (await relay.metric('expiry_relay_tracked_deadlines')) === 3 * KEYS,
  );
  await change();
  await expectAll(receiver, 3 * KEYS);
  for (const { body } of receiver.requests) expect(body.data.expired_at).not.toBeNull();
}

/** The keys of these nodes. */
async function keysOf(nodes: readonly ClusterNode[]): Promise<ReadonlySet<string>> {
  const keys = await Promise.all(nodes.map(({ client }) => client.keys('order:*')));
  return new Set(keys.flat());
}

describe('a relay of a cluster that changes', () => {
  it('follows CLUSTER FAILOVER of one primary: no key is lost or repeated', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await RelayProcess.start(fileOf(cluster, receiver, redis.url));
    await eventually('it watches', () => relay.watches);
    await during(cluster, receiver, relay, async () => {
      await cluster.replicas[1]?.client.cluster('FAILOVER');
    });
    expect(relay.logs('watch_failed')).toEqual([]);
  });

  it('goes on with the other primaries while one is killed, and recovers its keys', async () => {
    await using cluster = await startCluster({ replicas: true });
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await RelayProcess.start(fileOf(cluster, receiver, redis.url));
    await eventually('it watches', () => relay.watches);
    const [dead, ...others] = cluster.primaries;
    let ofOthers: ReadonlySet<string> = new Set();
    const late = timed(receiver, (key) => ofOthers.has(key));
    await during(cluster, receiver, relay, async () => {
      ofOthers = await keysOf(others);
      process.kill(dead?.server.pid ?? 0, 'SIGKILL');
    });
    expect(percentile(late, 0.5)).toBeLessThan(LATE_P50_MS_MAX);
    expect(percentile(late, 0.99)).toBeLessThan(LATE_P99_MS_MAX);
  });

  it('follows slots that move: keys due before, during and after it are on time', async () => {
    await using cluster = await startCluster();
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await RelayProcess.start(fileOf(cluster, receiver, redis.url));
    await eventually('it watches', () => relay.watches);
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    const moved = new Set<number>();
    const late = timed(receiver, (key) => moved.has(slotOf(key)));
    await during(cluster, receiver, relay, async () => {
      for (const key of await keysOf([from])) if (moved.size < MOVED_SLOTS) moved.add(slotOf(key));
      for (const slot of moved) await cluster.moveSlot(slot, from, to);
    });
    expect(late.length).toBeGreaterThan(0);
    expect(percentile(late, 0.5)).toBeLessThan(LATE_P50_MS_MAX);
    expect(percentile(late, 0.99)).toBeLessThan(LATE_P99_MS_MAX);
    expect(relay.logs('watch_failed')).toEqual([]);
  });
});
