/** A relay uses one node of a Redis Cluster, and reports the others. */
import { Redis } from 'ioredis';
import { describe, expect, it, type TestContext } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import {
  join,
  keyWithin,
  SLOTS,
  serveSlots,
  slotOf,
  startClusterNode,
} from '../support/cluster-node.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

/** Of `{expiry-relay}`. */
const SLOT = 12_116;

async function aReceiver({ onTestFinished }: TestContext): Promise<TestReceiver> {
  const receiver = await TestReceiver.start();
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  return receiver;
}

async function aNode(
  { onTestFinished }: TestContext,
  ...slots: readonly (readonly [number, number])[]
): Promise<RunningRedis> {
  const node = await startClusterNode();
  onTestFinished(() => node.stop());
  for (const [from, to] of slots) await serveSlots(node.port, from, to);
  return node;
}

async function aClient({ onTestFinished }: TestContext, port: number): Promise<Redis> {
  const client = new Redis(port, '127.0.0.1', { protocol: 2 });
  onTestFinished(() => client.disconnect());
  return client;
}

const KEYS = 40;

async function expireSome(client: Redis): Promise<void> {
  for (let n = 0; n < KEYS; n += 1) await client.set(`order:${n}`, '', 'PX', 1_000 + 10 * n);
}

async function expectAll(receiver: TestReceiver): Promise<void> {
  await eventually('all webhooks', () => new Set(receiver.keys).size === KEYS);
  expectEach(receiver, KEYS);
  for (const { body } of receiver.requests) {
    expect(body.data.detected_by).toBe('notification');
    expect(body.data.expired_at).not.toBeNull();
  }
}

/** They know one another; the second one has the slot of the relay's keys. */
async function twoNodes(context: TestContext): Promise<[RunningRedis, RunningRedis]> {
  const nodes = await Promise.all([
    aNode(context, [0, SLOT - 1]),
    aNode(context, [SLOT, SLOTS - 1]),
  ]);
  await join(...nodes);
  return nodes;
}

describe.concurrent('a relay', () => {
  it('keeps its state on a node that has only the slot of its keys', async (context) => {
    const redis = await startRedis();
    context.onTestFinished(() => redis.stop());
    const state = await aNode(context, [SLOT, SLOT]);
    const receiver = await aReceiver(context);
    const file = simpleFile(redis.url, receiver.url, { state: { url: state.url } });
    await using one = await RelayProcess.start(file);
    await using other = await RelayProcess.start(file);
    const watching = await eventually('one watches', () =>
      [one, other].find(({ watches }) => watches),
    );
    await expireSome(await aClient(context, redis.port));
    await expectAll(receiver);
    for (const relay of [one, other]) {
      expect(relay.logs('state_unavailable')).toEqual([]);
      expect(relay.logs('watch_failed')).toEqual([]);
      expect(relay.logs('cluster_part')).toEqual([]);
    }
    // Another one takes it over.
    await watching.stop('SIGKILL');
    const client = await aClient(context, redis.port);
    await client.set('after', '', 'PX', 50);
    await eventually('it is taken over', () => receiver.keys.includes('after'));
  });

  it('watches a cluster of one node, and keeps its state there', async (context) => {
    const node = await aNode(context, [0, SLOTS - 1]);
    const receiver = await aReceiver(context);
    await using relay = await RelayProcess.start(simpleFile(node.url, receiver.url));
    await eventually('it watches', () => relay.watches);
    await expireSome(await aClient(context, node.port));
    await expectAll(receiver);
    expect(relay.logs().filter(({ level }) => level === 'error')).toEqual([]);
    expect(relay.logs('cluster_part')).toEqual([]);
  });

  it('that watches one of two primaries warns that it sees only the keys there', async (context) => {
    const [one, other] = await twoNodes(context);
    const receiver = await aReceiver(context);
    await using relay = await RelayProcess.start(simpleFile(other.url, receiver.url));
    expect(await relay.logged('cluster_part')).toMatchObject({
      level: 'warn',
      redis: `127.0.0.1:${other.port}`,
      msg: expect.stringMatching(
        /\(cluster_size is 2\)\. Replace redis.url with redis: \{cluster: \{nodes: \["127\.0\.0\.1:\d+"\]\}\}/,
      ),
    });
    const elsewhere = await keyWithin(one.port, 'elsewhere', 0, SLOT - 1);
    const here = await keyWithin(one.port, 'here', SLOT, SLOTS - 1);
    await (await aClient(context, one.port)).set(elsewhere, '', 'PX', 50);
    await (await aClient(context, other.port)).set(here, '', 'PX', 1_000);
    await eventually('the webhook', () => receiver.keys.includes(here));
    expect(receiver.keys).toEqual([here]);
    expect(relay.logs('cluster_part')).toHaveLength(1);
  });

  it('for each of two primaries, with a prefix in its slots, sends one webhook for each key', async (context) => {
    const shares = [
      [0, SLOT - 1],
      [SLOT, SLOTS - 1],
    ] as const;
    const nodes = await twoNodes(context);
    const receiver = await aReceiver(context);
    const expected: string[] = [];
    for (const [at, [from, to]] of shares.entries()) {
      const { url, port } = nodes[at] ?? nodes[0];
      const prefix = await keyWithin(port, 'relay', from, to);
      const relay = await RelayProcess.start(simpleFile(url, receiver.url, { state: { prefix } }));
      context.onTestFinished(() => relay[Symbol.asyncDispose]());
    }
    for (const [at, [from, to]] of shares.entries()) {
      const { port } = nodes[at] ?? nodes[0];
      const client = await aClient(context, port);
      for (let n = 0; n < 5; n += 1) {
        const key = await keyWithin(port, `order:${at}:${n}`, from, to);
        expected.push(key);
        await client.set(key, '', 'PX', 300);
      }
    }
    await eventually('all webhooks', () => receiver.requests.length >= expected.length);
    expect(receiver.keys.sort()).toEqual(expected.sort());
    expectEach(receiver, expected.length);
  });

  it('forgets a key that moved to another node during a gap, and continues', async (context) => {
    const [one, other] = await twoNodes(context);
    const nodes = [await aClient(context, one.port), await aClient(context, other.port)] as const;
    const receiver = await aReceiver(context);
    const file = simpleFile(other.url, receiver.url);
    const tracked = (relay: RelayProcess) => relay.metric('expiry_relay_tracked_deadlines');
    const moves = await keyWithin(one.port, 'moves', SLOT + 1, SLOTS - 1);
    const stays = await keyWithin(one.port, 'stays', SLOT, SLOT + 100);
    await using before = await RelayProcess.start(file);
    await nodes[1].set(moves, '', 'PX', 60_000);
    await eventually('it is tracked', async () => (await tracked(before)) === 1);
    await before.stop();
    const [target, slot] = [await nodes[0].cluster('MYID'), await slotOf(one.port, moves)];
    await nodes[1].del(moves);
    for (const node of nodes) await node.cluster('SETSLOT', slot, 'NODE', target);
    await using relay = await RelayProcess.start(file);
    await eventually('it is forgotten', async () => (await tracked(relay)) === 0);
    await nodes[1].set(stays, '', 'PX', 50);
    await eventually('the webhook', () => receiver.requests.length > 0);
    expect(receiver.keys).toEqual([stays]);
    expect(relay.logs('watch_failed')).toEqual([]);
  });

  it('refuses a node without the slot of its keys, and names the right one', async (context) => {
    const [one, other] = await twoNodes(context);
    await using relay = await RelayProcess.spawn(simpleFile(one.url, 'http://127.0.0.1:9'));
    expect(await relay.exited).toMatchObject({ code: 1 });
    expect(relay.startError).toContain(
      `127.0.0.1:${one.port} is a node of a Redis Cluster, and slot ${SLOT} of the relay's ` +
        `own keys is on 127.0.0.1:${other.port}. Point redis.url at that node`,
    );
  });

  it('is not ready while the canary belongs to another node, and gives the reason', async (context) => {
    const [one, other] = await twoNodes(context);
    const file = simpleFile(one.url, 'http://127.0.0.1:9', { state: { url: other.url } });
    await using relay = await RelayProcess.spawn(file);
    const { error } = await relay.logged('canary_unwritable');
    expect(error).toMatch(
      new RegExp(`slot ${SLOT} .* is on 127.0.0.1:${other.port}: choose a state.prefix`),
    );
    expect(await relay.get('/readyz?verbose')).toMatchObject({
      status: 503,
      text: expect.stringContaining('choose a state.prefix'),
    });
  });

  it('refuses to watch any database but the first of a cluster', async (context) => {
    const node = await aNode(context, [0, SLOTS - 1]);
    const file = simpleFile(node.url, 'http://127.0.0.1:9', {
      redis: { url: node.url, databases: [0, 1] },
    });
    await using relay = await RelayProcess.spawn(file);
    expect(await relay.exited).toMatchObject({ code: 1 });
    expect(relay.startError).toContain(
      'has no database 1. Correct redis.databases (a Redis Cluster has only database 0)',
    );
  });
});
