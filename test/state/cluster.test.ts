/** The state on a node of a Redis Cluster: what is said when another node has the relay's slot. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { RunningRedis } from '../../scripts/lib/redis-server.mjs';
import { join, SLOTS, serveSlots, startClusterNode } from '../support/cluster-node.js';
import { aDelivery } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { SILENT_STATE_EVENTS, startState } from '../support/redis-state.js';
import { holds, openReplicas } from '../support/replicas.js';

const never = new AbortController().signal;
const PREFIX = 'expiry-relay';
/** Of `{expiry-relay}`. */
const SLOT = 12_116;

/** Two nodes that know one another; only the second one has the slot of the relay's keys. */
let one: RunningRedis;
let other: RunningRedis;
beforeAll(async () => {
  [one, other] = await Promise.all([startClusterNode(), startClusterNode()]);
  await Promise.all([serveSlots(one.port, 0, SLOT - 1), serveSlots(other.port, SLOT, SLOTS - 1)]);
  await join(one, other);
});
afterAll(async () => {
  await Promise.all([one.stop(), other.stop()]);
});

function open(port: number, database = 0) {
  const said: string[] = [];
  const events = {
    ...SILENT_STATE_EVENTS,
    unavailable: (_: string, { message }: Error) => said.push(message),
    availableAgain: () => said.push('recovered'),
  };
  const opened = startState(port, PREFIX, events, database);
  onTestFinished(() => opened.state.close());
  return { ...opened, said };
}

const client = (port: number) => {
  const redis = new Redis(port, '127.0.0.1', { protocol: 2 });
  onTestFinished(() => redis.disconnect());
  return redis;
};

const elsewhere = () =>
  `the state Redis at 127.0.0.1:${one.port} is a node of a Redis Cluster, and slot ${SLOT} ` +
  `of the relay's own keys is on 127.0.0.1:${other.port}. Point state.url at that node, or ` +
  "choose a state.prefix whose slot is on this node (see redis-cli CLUSTER KEYSLOT '{prefix}')";

describe('a state Redis that is a node of a cluster', () => {
  it('is used when it has the slot of the prefix', async () => {
    const { state, outbox } = open(other.port);
    await state.ready(never);
    await outbox().enqueue([aDelivery()]);
    expect(await outbox().claim('shop', 1, never)).toHaveLength(1);
  });

  it('has the lease there, too, which passes on to a newer configuration, and to an heir', async (context) => {
    const [old, newer, heir] = await openReplicas(context, other.port, PREFIX, {
      names: ['old', 'new@b2', 'heir@b2'],
    });
    await holds(old);
    for (const next of [newer, heir]) {
      next?.compete(true);
      next?.start();
    }
    await old?.due(never);
    old?.withdraw();
    await Promise.race([newer?.taken(never), heir?.taken(never)]);
    const [holder, next] = heir?.token ? [heir, newer] : [newer, heir];
    const token = holder?.token ?? '';
    expect(token).not.toBe('');
    holder?.state.close();
    await next?.taken(never);
    expect(next?.token).not.toBe(token);
    expect(old?.standing?.kind).toBe('superseded');
  });

  it('is refused when another one has that slot: who, and what to do', async () => {
    const { state } = open(one.port);
    await expect(state.ready(never)).rejects.toThrow(elsewhere());
  });

  it('is refused when the file names another database than the first', async () => {
    const { state } = open(other.port, 3);
    await expect(state.ready(never)).rejects.toThrow(
      /has no database 3 \(a Redis Cluster has only database 0\)\. Correct state\.url$/,
    );
  });

  it('is waited for while no node has the slot, which is said', async () => {
    const lonely = await startClusterNode();
    onTestFinished(() => lonely.stop());
    await serveSlots(lonely.port, 0, 10);
    const { state, said } = open(lonely.port);
    await eventually('it is said', () => said.length > 0);
    expect(said).toEqual([
      `Redis at 127.0.0.1:${lonely.port} is a node of a Redis Cluster in which no node serves the ` +
        "relay's own keys (CLUSTERDOWN Hash slot not served). Check redis-cli CLUSTER INFO, and " +
        'that each slot has a node',
    ]);
    await serveSlots(lonely.port, SLOT, SLOT);
    await state.ready(never);
    expect(state.problem).toBeNull();
  });

  it('that loses the slot is left alone until it has it again', async () => {
    const { state, said, outbox } = open(other.port);
    await state.ready(never);
    const nodes = [client(one.port), client(other.port)];
    const ids = await Promise.all(nodes.map((node) => node.cluster('MYID')));
    const give = async (id: string | undefined) => {
      for (const node of nodes) await node.cluster('SETSLOT', SLOT, 'NODE', id ?? '');
    };
    await nodes[1]?.flushall();
    await give(ids[0]);
    await expect(outbox().enqueue([aDelivery({ id: 'b' })])).rejects.toThrow(
      `slot ${SLOT} of the relay's own keys is on 127.0.0.1:${one.port}`,
    );
    const connections = state.connections;
    await eventually(
      'it is looked at on another connection',
      () => state.connections > connections,
    );
    expect(state.problem).toContain(`is on 127.0.0.1:${one.port}`);
    await give(ids[1]);
    await eventually('it is used again', () => state.problem === null);
    await outbox().enqueue([aDelivery({ id: 'b' })]);
    expect(said.filter((line) => line.includes('is on'))).toHaveLength(1);
  });
});
