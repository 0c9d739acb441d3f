/** A relay of a cluster, keys of all its slots, and how late their webhooks arrive. */
import type { Cluster } from 'ioredis';
import { expect } from 'vitest';
import type { ClusterNode, RunningCluster } from './cluster.js';
import { eventually } from './eventually.js';
import { type RelayFile, RelayProcess, simpleFile } from './relay-process.js';
import { expectEach, type TestReceiver } from './test-receiver.js';

/** How many keys `setKeys` sets. */
export const KEYS = 600;

/** They are due over this time. */
const SPREAD_MS = 2_000;

/** On a busy machine. */
export const LATE_P50_MS_MAX = 500;
export const LATE_P99_MS_MAX = 2_000;

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

export function percentile(all: readonly number[], share: number): number {
  const sorted = all.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Notes how late the webhooks of these keys arrive. */
export function timed(
  receiver: TestReceiver,
  isOne: (key: string) => boolean = () => true,
): number[] {
  const late: number[] = [];
  receiver.respond = ({ body }, response) => {
    const { key, expired_at } = body.data;
    if (isOne(key)) late.push(Date.now() - Date.parse(String(expired_at)));
    response.writeHead(204).end();
  };
  return late;
}

/** At least one webhook is among them, and they are on time. */
export function expectOnTime(late: readonly number[]): void {
  expect(late.length).toBeGreaterThan(0);
  const figures = `p50 ${percentile(late, 0.5)} ms, p99 ${percentile(late, 0.99)} ms`;
  expect(percentile(late, 0.5), figures).toBeLessThan(LATE_P50_MS_MAX);
  expect(percentile(late, 0.99), figures).toBeLessThan(LATE_P99_MS_MAX);
}
