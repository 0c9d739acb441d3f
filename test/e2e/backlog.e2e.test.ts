/** Deliveries that wait for an endpoint that is down neither take memory nor delay other endpoints. */
import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { aDelivery } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { openState } from '../support/redis-state.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';

const WAITING = 200_000;

const MIB = 1024 * 1024;

/** Refuses connections. */
const DEAD_URL = 'http://127.0.0.1:9';

async function storeWaiting({ port }: RunningRedis): Promise<void> {
  await using opened = await openState(port, 'expiry-relay');
  const outbox = opened.outbox();
  const body = Buffer.alloc(300, 'x');
  for (let from = 0; from < WAITING; from += 1_000) {
    const ids = Array.from({ length: 1_000 }, (_, n) => `msg_${from + n}`);
    await outbox.enqueue(ids.map((id) => aDelivery({ id, body })));
  }
}

/** The smallest of several measurements, since uncollected garbage is not in use. */
async function residentBytes(relay: RelayProcess): Promise<number> {
  const looks: number[] = [];
  for (let n = 0; n < 8; n += 1) {
    looks.push(await relay.metric('process_resident_memory_bytes'));
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return Math.min(...looks);
}

describe(`${WAITING} deliveries that wait`, () => {
  it('cost the process at most 20 MB', async () => {
    await using redis = await startRedis();
    const file = simpleFile(redis.url, DEAD_URL);
    let without: number;
    {
      await using relay = await RelayProcess.start(file);
      without = await residentBytes(relay);
    }
    await storeWaiting(redis);
    await using relay = await RelayProcess.start(file);
    await relay.logged('breaker_opened');
    const withThem = await residentBytes(relay);
    expect(await relay.metric('expiry_relay_outbox_pending{endpoint="shop"}')).toBe(WAITING);
    expect(withThem - without, `${without} and ${withThem} bytes`).toBeLessThan(20 * MIB);
  }, 90_000);
});

/** With a route to a second endpoint for every key, too. */
function besideIt(file: RelayFile, url: string): RelayFile {
  return {
    ...file,
    endpoints: { ...(file.endpoints as object), dead: { url, secrets: 'none' } },
    routes: [{ name: 'all', match: '*', to: ['shop', 'dead'] }],
  };
}

/** The milliseconds from the detection of each expiration to its webhook. */
async function latenciesMs(receiver: TestReceiver, count: number): Promise<number[]> {
  await eventually('all webhooks', () => receiver.requests.length === count, 30_000);
  const requests = receiver.requests.splice(0);
  return requests.map(({ atMs, body }) => atMs - Date.parse(String(body.data.detected_at)));
}

function p99(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}

describe('a healthy endpoint', () => {
  it('has the same p99 beside a dead one as alone, within a factor of two', async () => {
    // Accepts connections and never answers: worse than one that refuses them.
    await using silent = await TestReceiver.start(() => undefined);
    // Both at the same time, so that other load of the machine slows down both.
    await using oneRedis = await startRedis();
    await using otherRedis = await startRedis();
    await using alone = await TestReceiver.start();
    await using beside = await TestReceiver.start();
    await using _one = await RelayProcess.start(simpleFile(oneRedis.url, alone.url));
    await using _other = await RelayProcess.start(
      besideIt(simpleFile(otherRedis.url, beside.url), silent.url),
    );
    const clients = [oneRedis, otherRedis].map(({ url }) => new Redis(url, { protocol: 2 }));
    onTestFinished(() => {
      for (const client of clients) client.disconnect();
    });
    const KEYS = 800;
    const ROUNDS_MAX = 5;
    const ratios: number[] = [];
    // Other load slows down one of them only sometimes; a dead endpoint would do so each time.
    while (ratios.length < ROUNDS_MAX && !ratios.some((ratio) => ratio <= 2)) {
      for (let n = 0; n < KEYS; n += 1) {
        await Promise.all(clients.map((client) => client.set(`order:${n}`, '', 'PX', 5)));
        await new Promise((resolve) => setTimeout(resolve, 4));
      }
      const one = await latenciesMs(alone, KEYS);
      const other = await latenciesMs(beside, KEYS);
      // The clocks have a resolution of a millisecond.
      ratios.push((p99(other) + 1) / (p99(one) + 1));
    }
    expect(silent.requests.length).toBeGreaterThan(0);
    expect(Math.min(...ratios), ratios.join(' ')).toBeLessThanOrEqual(2);
  }, 120_000);
});
