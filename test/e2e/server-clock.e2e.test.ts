/** The clock of Redis is set while relays run: by hand, by NTP, or after a migration. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it, type TestContext } from 'vitest';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { clockIsFixedBecause, startRedisWithClock } from '../support/settable-clock.js';
import { type Respond, TestReceiver } from '../support/test-receiver.js';

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;

/** Much more than anything here takes on a busy machine, and much less than an hour. */
const SOON_MS = 30_000;

async function aScene(
  { onTestFinished, skip }: TestContext,
  respond?: Respond,
  args: readonly string[] = [],
) {
  if (clockIsFixedBecause !== null) skip(clockIsFixedBecause);
  const server = await startRedisWithClock(args);
  const receiver = await TestReceiver.start(respond);
  const client = new Redis(server.redis.url, { protocol: 2 });
  client.on('error', () => undefined);
  onTestFinished(async () => {
    client.disconnect();
    await receiver[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const start = async (more: Parameters<typeof simpleFile>[2] = {}) => {
    const relay = await RelayProcess.start(simpleFile(server.redis.url, receiver.url, more));
    onTestFinished(() => relay[Symbol.asyncDispose]());
    return relay;
  };
  /** Keys whose deadlines the relay has read, by name. */
  const trackedKeys = async (relay: RelayProcess, count: number, inMs: (n: number) => number) => {
    const deadlines = new Map<string, number>();
    const pipeline = client.pipeline();
    for (let n = 0; n < count; n += 1) {
      const deadlineMs = Math.round(server.nowMs() + inMs(n));
      deadlines.set(`order:${n}`, deadlineMs);
      pipeline.set(`order:${n}`, '', 'PXAT', deadlineMs);
    }
    await pipeline.exec();
    await eventually(
      'all are tracked',
      async () => (await relay.metric('expiry_relay_tracked_deadlines')) === count,
    );
    return deadlines;
  };
  const arrived = (count: number) =>
    eventually(`${count} requests`, () => receiver.requests.length >= count, SOON_MS);
  return { ...server, client, receiver, requests: receiver.requests, start, trackedKeys, arrived };
}

/** Resolves when a check of overdue keys would have caused a second webhook. */
const isOver = () => sleep(2_000);

/** Each key once, with its deadline. */
function expectDeadlines({ requests }: TestReceiver, deadlines: ReadonlyMap<string, number>): void {
  const arrived = requests.map(({ body }) => [body.data.key, body.data.expired_at]);
  const expected = Array.from(deadlines, ([key, ms]) => [key, new Date(ms).toISOString()]);
  expect(arrived.sort()).toEqual(expected.sort());
}

describe.concurrent('when the clock of Redis is set', () => {
  it.for([
    ['a second', 'redis', SECOND_MS],
    ['an hour', 'redis', HOUR_MS],
    ['a second', 'memory', SECOND_MS],
  ] as const)(
    'forward by %s, each webhook has its deadline and is sent once (state.kind: %s)',
    async ([, kind, stepMs], context) => {
      const { receiver, setAheadMs, start, trackedKeys, arrived } = await aScene(context);
      const relay = await start({ state: { kind } });
      const deadlines = await trackedKeys(relay, 40, (n) => 4_000 + 50 * n);
      setAheadMs(stepMs);
      await arrived(40);
      await isOver();
      expectDeadlines(receiver, deadlines);
    },
  );

  it('back by an hour and forward again, each webhook has its deadline and is sent once', async (context) => {
    const { receiver, setAheadMs, start, trackedKeys, arrived } = await aScene(context);
    const relay = await start();
    const before = await trackedKeys(relay, 40, (n) => 4_000 + 50 * n);
    await arrived(10);
    setAheadMs(-HOUR_MS);
    await sleep(2_000);
    setAheadMs(0);
    await arrived(40);
    await isOver();
    expectDeadlines(receiver, before);
  });

  it('back by an hour and forward again, keys of the hour between keep one id and their deadlines', async (context) => {
    const { receiver, client, nowMs, setAheadMs, start, arrived } = await aScene(context);
    await start();
    setAheadMs(-HOUR_MS);
    const deadlines = new Map<string, number>();
    for (let n = 0; n < 40; n += 1) {
      deadlines.set(`order:${n}`, Math.round(nowMs() + 6_000 + 50 * n));
      await client.set(`order:${n}`, '', 'PXAT', deadlines.get(`order:${n}`) ?? 0);
    }
    // The relay knows by now that the clock was set back.
    await sleep(6_500);
    setAheadMs(0);
    await arrived(40);
    await isOver();
    expectDeadlines(receiver, deadlines);
  });

  it('back by an hour, an endpoint is throttled no longer than it asked for', async (context) => {
    const { client, setAheadMs, start, arrived } = await aScene(
      context,
      (_, response, count) =>
        void response.writeHead(count === 1 ? 503 : 204, { 'retry-after': '2' }).end(),
    );
    const relay = await start();
    await client.set('order:0', '', 'PX', 20);
    await relay.logged('endpoint_throttled');
    setAheadMs(-HOUR_MS);
    await client.set('order:1', '', 'PX', 20);
    await arrived(3);
  });

  it('back by an hour, deliveries claimed by a killed replica are sent by another', async (context) => {
    const { requests, client, setAheadMs, start, arrived } = await aScene(
      context,
      // The first one never answers.
      (_, response, count) => void (count === 1 || response.writeHead(204).end()),
    );
    const killed = await start();
    await client.set('order:1', '', 'PX', 20);
    await arrived(1);
    await start();
    await killed.stop('SIGKILL');
    setAheadMs(-HOUR_MS);
    await arrived(2);
    expect(new Set(requests.map(({ id }) => id)).size).toBe(1);
  });

  it('back by an hour, a retry waits no longer than in its schedule', async (context) => {
    const { requests, client, setAheadMs, start, arrived } = await aScene(
      context,
      (_, response, count) => void response.writeHead(count === 1 ? 500 : 204).end(),
    );
    const relay = await start({ endpoint: { retry: { schedule: ['4s'], jitter: 0 } } });
    await client.set('order:1', '', 'PX', 20);
    await relay.logged('attempt');
    // Also settled, and the clock has been read.
    await sleep(1_000);
    setAheadMs(-HOUR_MS);
    await arrived(2);
    expect(new Set(requests.map(({ id }) => id)).size).toBe(1);
    await relay.logged('state_clock_set');
  });

  it('back by an hour across a restart, waiting retries are sent by a new relay', async (context) => {
    const { redis, client, setAheadMs, start, arrived } = await aScene(
      context,
      (_, response, count) => void response.writeHead(count === 1 ? 500 : 204).end(),
      DURABLE,
    );
    const more = { endpoint: { retry: { schedule: ['4s'], jitter: 0 } } };
    const before = await start(more);
    await client.set('order:1', '', 'PX', 20);
    await before.logged('attempt');
    await before.stop();
    setAheadMs(-HOUR_MS);
    await redis.restart();
    await start(more);
    await arrived(2);
  });

  it.for([
    ['back by an hour', -HOUR_MS],
    ['forward by an hour', HOUR_MS],
  ] as const)(
    '%s across a restart, each webhook has its deadline and comes once',
    async ([, stepMs], context) => {
      const { redis, receiver, setAheadMs, start, trackedKeys, arrived } = await aScene(
        context,
        undefined,
        DURABLE,
      );
      const relay = await start();
      const deadlines = await trackedKeys(relay, 40, (n) => 6_000 + 50 * n);
      await redis.kill('SIGKILL');
      setAheadMs(stepMs);
      await redis.restart();
      await eventually('it listens again', () => relay.logs('listening').length === 2, SOON_MS);
      await relay.logged('redis_clock_set');
      if (stepMs < 0) setAheadMs(0);
      await arrived(40);
      await isOver();
      expectDeadlines(receiver, deadlines);
    },
  );
});
