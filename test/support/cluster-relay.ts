/** A relay of a cluster, keys of all its slots, and how late their webhooks arrive. */
import type { ChainableCommander, Cluster } from 'ioredis';
import { expect } from 'vitest';
import { viewOf } from '../../src/redis/cluster/nodes.js';
import { isIn, type SlotRange, slotOf } from '../../src/redis/slots.js';
import type { ClusterNode, RunningCluster } from './cluster.js';
import { eventually } from './eventually.js';
import { type RelayFile, RelayProcess, simpleFile } from './relay-process.js';
import { expectEach, type TestReceiver } from './test-receiver.js';

/** How many keys `setKeys` sets. */
export const KEYS = 600;

/** They are due over this time. */
const SPREAD_MS = 2_000;

/** On a busy machine. */
const LATE_P50_MS_MAX = 500;
const LATE_P99_MS_MAX = 2_000;

/** The state is in the cluster, unless `state` says otherwise. */
export function fileOf(
  { nodes }: Pick<RunningCluster, 'nodes'>,
  receiver: TestReceiver,
  state?: string,
): RelayFile {
  const file = simpleFile('', receiver.url);
  const more = state === undefined ? {} : { state: { url: state } };
  return { ...file, redis: { cluster: { nodes: [nodes[0]] } }, ...more };
}

/** Starts a relay that watches all primaries. */
export async function startWatching(file: RelayFile): Promise<RelayProcess> {
  const relay = await RelayProcess.start(file);
  await eventually('it watches', () => relay.watches);
  return relay;
}

/** Keys of all primaries, due from `fromMs` on over two seconds. */
export async function setKeys(client: Cluster, name: string, fromMs = 1_500): Promise<void> {
  const keys = Array.from({ length: KEYS }, (_, n) => n);
  await Promise.all(
    keys.map((n) =>
      client.set(`order:${name}:${n}`, '', 'PX', fromMs + Math.round((SPREAD_MS * n) / KEYS)),
    ),
  );
}

/** Keys like those of `setKeys`, in a database, each set at its node: clients of a cluster know only one database. */
export async function setKeysAt(
  nodes: readonly ClusterNode[],
  name: string,
  { fromMs = 1_500, database = 0, value = '' } = {},
): Promise<void> {
  const shards = await Promise.all(
    nodes.map(async (node) => ({ node, slots: await slotsAt(node) })),
  );
  const ofNode = new Map<ClusterNode, ChainableCommander>();
  for (const node of nodes) ofNode.set(node, node.client.pipeline().select(database));
  for (let n = 0; n < KEYS; n += 1) {
    const key = `order:${name}:${n}`;
    const owner = shards.find(({ slots }) => isIn(slots, slotOf(key)))?.node;
    const lifeMs = fromMs + Math.round((SPREAD_MS * n) / KEYS);
    if (owner !== undefined) ofNode.get(owner)?.set(key, value, 'PX', lifeMs);
  }
  const results = await Promise.all(
    Array.from(ofNode.values(), (pipeline) => pipeline.select(0).exec()),
  );
  for (const [error] of results.flatMap((replies) => replies ?? [])) if (error) throw error;
}

/** The slots that a node says it has. */
async function slotsAt({ client, id, port }: ClusterNode): Promise<readonly SlotRange[]> {
  const nodes = String(await client.cluster('NODES'));
  const { primaries } = viewOf(nodes, '', { host: '127.0.0.1', port });
  return primaries.find((primary) => primary.id === id)?.slots ?? [];
}

export async function tracked(relay: RelayProcess, count: number): Promise<void> {
  await eventually(
    'all are tracked',
    async () => (await relay.metric('expiry_relay_tracked_deadlines')) === count,
  );
}

/** The keys of these nodes. */
export async function keysOf(nodes: readonly ClusterNode[]): Promise<ReadonlySet<string>> {
  const keys = await Promise.all(nodes.map(({ client }) => client.keys('order:*')));
  return new Set(keys.flat());
}

export async function expectAll(
  receiver: TestReceiver,
  count = KEYS,
  withinMs?: number,
): Promise<void> {
  const found = () => new Set(receiver.keys).size;
  await eventually('all webhooks', () => found() >= count, withinMs).catch((error) => {
    throw new Error(`${error}; ${found()} of ${count} keys`);
  });
  expectEach(receiver, count);
}

function percentile(all: readonly number[], share: number): number {
  const sorted = all.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** How late webhooks arrived, in milliseconds. */
export interface Lateness {
  /** Of the keys that a change of the cluster concerned. */
  readonly concerned: readonly number[];
  /** Of the other keys, in the same seconds. */
  readonly others: readonly number[];
}

/** Notes how late each webhook arrives. */
export function timed(
  receiver: TestReceiver,
  isConcerned: (key: string) => boolean = () => true,
  isOther: (key: string) => boolean = (key) => !isConcerned(key),
): Lateness {
  const concerned: number[] = [];
  const others: number[] = [];
  receiver.respond = ({ body }, response) => {
    const { key, expired_at } = body.data;
    const lateMs = Date.now() - Date.parse(String(expired_at));
    if (isConcerned(key)) concerned.push(lateMs);
    else if (isOther(key)) others.push(lateMs);
    response.writeHead(204).end();
  };
  return { concerned, others };
}

/** Keys that a change concerns may be so much later than the others. */
const LATER_MS_MAX = 200;

/**
 * At least one webhook is of a concerned key, and they are as punctual as those of the other keys, which a busy machine
 * delays as well. Without other keys, they are on time.
 */
export function expectOnTime({ concerned, others }: Lateness): void {
  expect(concerned.length).toBeGreaterThan(0);
  const [p50, p99] = [percentile(concerned, 0.5), percentile(concerned, 0.99)];
  const figures = `p50 ${p50} ms, p99 ${p99} ms`;
  if (others.length === 0) {
    expect(p50, figures).toBeLessThan(LATE_P50_MS_MAX);
    expect(p99, figures).toBeLessThan(LATE_P99_MS_MAX);
    return;
  }
  const [p50Max, p99Max] = [percentile(others, 0.5), percentile(others, 0.99)];
  const compared = `${figures}, of the others p50 ${p50Max} ms, p99 ${p99Max} ms`;
  expect(p50, compared).toBeLessThanOrEqual(p50Max + LATER_MS_MAX);
  expect(p99, compared).toBeLessThanOrEqual(p99Max + LATER_MS_MAX);
}
