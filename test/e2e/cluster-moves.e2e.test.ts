/** A relay of a cluster whose slots move between its nodes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { slotOf } from '../../src/redis/slots.js';
import { ownKeyPrefix } from '../../src/state/format.js';
import {
  type ClusterNode,
  giveSlot,
  moveSlot,
  type RunningCluster,
  startCluster,
} from '../support/cluster.js';
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
import { RelayProcess } from '../support/relay-process.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

/** Long enough for the relay to act on one half of a migration before the other one follows. */
const HALVES_APART_MS = 300;

/** A webhook that is not to come would be there by then. */
const QUIET_MS = 2_500;

const MOVED_SLOTS = 60;

/** A key that the first primary has. */
function keyAt([first]: readonly ClusterNode[], { client }: RunningCluster): string {
  const nodeOf = (key: string) => client.slots[slotOf(key)]?.[0];
  for (let n = 0; ; n += 1) {
    const key = `order:moving:${n}`;
    if (nodeOf(key) === `127.0.0.1:${first?.port}`) return key;
  }
}

/** Moves one key as MIGRATE does, in two steps: the removal, and the restoration at the other node. */
class Migration {
  readonly #key: string;
  readonly #from: ClusterNode;
  readonly #to: ClusterNode;
  #dump: Buffer = Buffer.alloc(0);
  #deadlineMs = 0;

  constructor(key: string, from: ClusterNode, to: ClusterNode) {
    this.#key = key;
    this.#from = from;
    this.#to = to;
  }

  async begin(): Promise<void> {
    const slot = slotOf(this.#key);
    await this.#to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', this.#from.id);
    await this.#from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', this.#to.id);
    this.#deadlineMs = Number(await this.#from.client.pexpiretime(this.#key));
    this.#dump = await this.#from.client.dumpBuffer(this.#key);
  }

  async restore(): Promise<void> {
    const words = [this.#deadlineMs, this.#dump, 'ABSTTL'] as const;
    await Promise.all([this.#to.client.asking(), this.#to.client.restore(this.#key, ...words)]);
  }

  async remove(): Promise<void> {
    await this.#from.client.del(this.#key);
  }

  /** The slot has its new owner. */
  async end(): Promise<void> {
    await giveSlot(slotOf(this.#key), this.#from, this.#to);
  }
}

describe('a key that moves to another node', () => {
  it.each([
    ['is restored there before it is removed here', ['restore', 'remove']],
    ['is removed here before it is restored there', ['remove', 'restore']],
  ] as const)('%s: one webhook, at its deadline', async (_, steps) => {
    await using cluster = await startCluster();
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    const late = timed(receiver);
    const key = keyAt(cluster.primaries, cluster);
    await cluster.client.set(key, '', 'PX', 6_000);
    await tracked(relay, 1);
    const migration = new Migration(key, from, to);
    await migration.begin();
    for (const step of steps) {
      await migration[step]();
      await sleep(HALVES_APART_MS);
    }
    await migration.end();
    await expectAll(receiver, 1);
    expectOnTime(late);
    expect(receiver.requests[0]?.body.data.expired_at).not.toBeNull();
  });

  it('is not taken for expired while it is on its way past its deadline of before', async () => {
    await using cluster = await startCluster();
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    const key = keyAt(cluster.primaries, cluster);
    await cluster.client.set(key, '', 'PX', 2_500);
    await tracked(relay, 1);
    const migration = new Migration(key, from, to);
    await migration.begin();
    await migration.restore();
    await migration.remove();
    await Promise.all([to.client.asking(), to.client.persist(key)]);
    await sleep(2_500 + QUIET_MS);
    await migration.end();
    await sleep(QUIET_MS);
    expect(receiver.keys).toEqual([]);
    await cluster.client.pexpire(key, 100);
    await expectAll(receiver, 1);
  });
});

async function primariesKnown(relay: RelayProcess, count: number): Promise<void> {
  await eventually(
    `${count} primaries`,
    async () => (await relay.metric('expiry_relay_primaries')) === count,
  );
}

describe('a relay of a cluster that grows and shrinks', () => {
  it('delivers the keys of a node that joins, and of one that is removed, on time', async () => {
    await using cluster = await startCluster();
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    await using relay = await startWatching(fileOf(cluster, receiver, redis.url));
    const moved = new Set<number>();
    const late = timed(receiver, (key) => moved.has(slotOf(key)));
    for (const [name, fromMs] of Object.entries({ a: 5_000, b: 9_000, c: 14_000 })) {
      await setKeys(cluster.client, name, fromMs);
    }
    await tracked(relay, 3 * KEYS);
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    const joined = await cluster.add();
    for (const key of await keysOf([from])) if (moved.size < MOVED_SLOTS) moved.add(slotOf(key));
    for (const slot of moved) await cluster.moveSlot(slot, from, joined);
    await primariesKnown(relay, 4);
    // Keys of the first two names are due while the node is there, those of the third one when it is gone.
    const isDue = () => receiver.keys.filter((key) => key.startsWith('order:b:')).length === KEYS;
    await eventually('keys of the node that joined', isDue);
    for (const slot of moved) await cluster.moveSlot(slot, joined, to);
    await cluster.forget(joined);
    await expectAll(receiver, 3 * KEYS);
    expectOnTime(late);
    await primariesKnown(relay, 3);
    await relay.ready();
    expect(relay.logs('watch_failed')).toEqual([]);
  });
});

describe('relays of a cluster', () => {
  it('lose nothing when the one that captures is killed while slots move', async () => {
    await using cluster = await startCluster();
    await using receiver = await TestReceiver.start();
    await using redis = await startRedis();
    const file = fileOf(cluster, receiver, redis.url);
    await using first = await startWatching(file);
    await using second = await RelayProcess.start(file);
    for (const [name, fromMs] of Object.entries({ a: 3_000, b: 5_000, c: 9_000 })) {
      await setKeys(cluster.client, name, fromMs);
    }
    await tracked(first, 3 * KEYS);
    const [from, to] = cluster.primaries as [ClusterNode, ClusterNode];
    const moved = new Set([...(await keysOf([from]))].map(slotOf));
    const slots = [...moved].slice(0, 2 * MOVED_SLOTS);
    for (const [n, slot] of slots.entries()) {
      if (n === MOVED_SLOTS) first.kill('SIGKILL');
      await cluster.moveSlot(slot, from, to, () => sleep(5));
    }
    await expectAll(receiver, 3 * KEYS);
    expect(second.watches).toBe(true);
  });

  it('follow their state when its slot moves to another node', async () => {
    await using cluster = await startCluster();
    await using receiver = await TestReceiver.start();
    const file = fileOf(cluster, receiver);
    await using relay = await startWatching(file);
    await using other = await RelayProcess.start(file);
    const late = timed(receiver);
    await setKeys(cluster.client, 'before', 2_000);
    await setKeys(cluster.client, 'after', 8_000);
    await tracked(relay, 2 * KEYS);
    const slot = slotOf(ownKeyPrefix('{expiry-relay}'));
    const owner = (await cluster.shards()).find(({ slots }) =>
      slots.some(([from, to]) => from <= slot && slot <= to),
    )?.primary;
    const target = cluster.primaries.find((node) => node !== owner);
    if (owner === undefined || target === undefined) throw new Error('expected two primaries');
    await moveSlot(slot, owner, target, () => sleep(20));
    await expectAll(receiver, 2 * KEYS);
    expectOnTime(late);
    await Promise.all([relay.ready(), other.ready()]);
    expectEach(receiver, 2 * KEYS);
  });
});
