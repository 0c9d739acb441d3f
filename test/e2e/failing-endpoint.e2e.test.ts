/** Endpoints that fail, do not respond or ask for a wait, and the delays of their webhooks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it, type TestContext } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { type ReceivedRequest, type Respond, TestReceiver } from '../support/test-receiver.js';

const isBad = ({ body }: ReceivedRequest) => body.data.key.startsWith('bad:');

const refuseBad: Respond = (request, response) =>
  void response.writeHead(isBad(request) ? 500 : 204).end();

/**
 * A relay that sends good and bad keys to one endpoint, which refuses the bad ones, and the good ones to
 * another as well, for comparison without the bad ones.
 */
async function twoEndpoints({ onTestFinished }: TestContext) {
  const redis = await startRedis();
  const client = new Redis(redis.url, { protocol: 2 });
  const mixed = await TestReceiver.start(refuseBad);
  const alone = await TestReceiver.start();
  const relay = await RelayProcess.start({
    redis: { url: redis.url },
    endpoints: {
      mixed: { url: mixed.url, secrets: [TEST_SECRET] },
      alone: { url: alone.url, secrets: [TEST_SECRET] },
    },
    routes: [
      { name: 'good', match: 'good:*', to: ['mixed', 'alone'] },
      { name: 'bad', match: 'bad:*', to: 'mixed' },
    ],
  });
  onTestFinished(async () => {
    client.disconnect();
    for (const each of [relay, alone, mixed, redis]) await each[Symbol.asyncDispose]();
  });
  const goodOf = ({ requests }: TestReceiver) => requests.filter((one) => !isBad(one));
  const arrived = (count: number) =>
    eventually(
      `${count} good webhooks`,
      () => [mixed, alone].every((receiver) => goodOf(receiver).length >= count),
      60_000,
    );
  /** The delay of each good webhook compared with a run without bad ones, in milliseconds, ascending. */
  const delaysMs = () => {
    const aloneAtMs = new Map(goodOf(alone).map(({ atMs, body }) => [body.data.key, atMs]));
    return goodOf(mixed)
      .map(({ atMs, body }) => atMs - (aloneAtMs.get(body.data.key) ?? Number.NaN))
      .toSorted((a, b) => a - b);
  };
  return { client, mixed, alone, relay, arrived, delaysMs };
}

const at = (sorted: readonly number[], share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

// The longest first: all of them run at the same time.
describe.concurrent('an endpoint that asks for a wait of 30 s', () => {
  it('gets nothing for that time from two replicas, nor from one that is restarted', async ({
    onTestFinished,
  }) => {
    const WAIT_MS = 30_000;
    const redis = await startRedis();
    const client = new Redis(redis.url, { protocol: 2 });
    const receiver = await TestReceiver.start((_, response, count) => {
      if (count === 1) response.writeHead(503, { 'retry-after': '30' }).end();
      else response.writeHead(204).end();
    });
    const file = simpleFile(redis.url, receiver.url);
    const relays = [await RelayProcess.start(file), await RelayProcess.start(file)];
    onTestFinished(async () => {
      client.disconnect();
      for (const each of [...relays, receiver, redis]) await each[Symbol.asyncDispose]();
    });
    await client.set('order:0', '', 'PX', 20);
    await eventually('it is throttled', () =>
      relays.some((relay) => relay.logs('endpoint_throttled').length > 0),
    );
    const throttled = 'expiry_relay_endpoint_throttled_seconds{endpoint="shop"}';
    for (const relay of relays) expect(await relay.metric(throttled)).toBeGreaterThan(20);
    for (let n = 1; n <= 20; n += 1) await client.set(`order:${n}`, '', 'PX', 20);
    await relays[0]?.stop();
    relays[0] = await RelayProcess.start(file);
    for (let n = 21; n <= 40; n += 1) await client.set(`order:${n}`, '', 'PX', 20);
    await eventually('all webhooks', () => receiver.requests.length >= 42, 60_000);
    const [asked, ...later] = receiver.requests;
    const waitsMs = later.map(({ atMs }) => atMs - (asked?.atMs ?? Number.NaN));
    expect(Math.min(...waitsMs)).toBeGreaterThan(WAIT_MS - 100);
    expect(new Set(later.map(({ body }) => body.data.key)).size).toBe(41);
  });
});

describe.concurrent('good webhooks of an endpoint', () => {
  it('among 1,000 with 200 more that fail arrive within 10 s of the time that they take alone', async (context) => {
    const { client, arrived, delaysMs } = await twoEndpoints(context);
    const pipeline = client.pipeline();
    for (let n = 0; n < 1_200; n += 1) {
      pipeline.set(n % 6 === 0 ? `bad:${n}` : `good:${n}`, '', 'PX', 20);
    }
    await pipeline.exec();
    await arrived(1_000);
    const delays = delaysMs();
    expect(at(delays, 1)).toBeLessThan(10_000);
  });

  it('half of which fail are at most 1 s late', async (context) => {
    const { client, arrived, delaysMs } = await twoEndpoints(context);
    const COUNT = 400;
    for (let n = 0; n < COUNT; n += 1) {
      await client.set(`good:${n}`, '', 'PX', 20);
      await client.set(`bad:${n}`, '', 'PX', 20);
      await sleep(25);
    }
    await arrived(COUNT);
    const delays = delaysMs();
    expect(at(delays, 0.99)).toBeLessThan(1_000);
  });

  it('that follow 200 failing ones at intervals arrive at once', async (context) => {
    const { client, mixed, relay, arrived, delaysMs } = await twoEndpoints(context);
    const pipeline = client.pipeline();
    for (let n = 0; n < 200; n += 1) pipeline.set(`bad:${n}`, '', 'PX', 20);
    await pipeline.exec();
    await eventually('all have failed', () => mixed.requests.length >= 200);
    await relay.logged('breaker_half_open');
    const COUNT = 8;
    for (let n = 0; n < COUNT; n += 1) {
      await client.set(`good:${n}`, '', 'PX', 20);
      await sleep(1_500);
    }
    await arrived(COUNT);
    const delays = delaysMs();
    expect(at(delays, 1)).toBeLessThan(1_000);
  });
});

/** Long enough that each replica probes less often than every four seconds. */
const OPEN_MS = 4_000;

/** Three replicas of one relay, and the attempts that all of them made. */
async function threeReplicas({ onTestFinished }: TestContext, url: string, timeout: string) {
  const redis = await startRedis();
  const client = new Redis(redis.url, { protocol: 2 });
  const file = simpleFile(redis.url, url, { endpoint: { timeout } });
  const relays = await Promise.all([1, 2, 3].map(() => RelayProcess.start(file)));
  onTestFinished(async () => {
    client.disconnect();
    for (const each of [...relays, redis]) await each[Symbol.asyncDispose]();
  });
  const pipeline = client.pipeline();
  for (let n = 0; n < 500; n += 1) pipeline.set(`order:${n}`, '', 'PX', 20);
  await pipeline.exec();
  await eventually(
    'each replica leaves the endpoint alone for seconds',
    () =>
      relays.every((relay) =>
        relay.logs('breaker_opened').some(({ open_ms }) => Number(open_ms) >= OPEN_MS),
      ),
    60_000,
  );
  return () => relays.flatMap((relay) => relay.logs('attempt')).length;
}

describe.concurrent('an endpoint that does not respond', () => {
  it.for(['refuses connections', 'times out'] as const)(
    'and %s gets less than one attempt a second of three replicas',
    async (how, context) => {
      // The port of a closed receiver has no listener.
      const receiver = await TestReceiver.start(() => undefined);
      if (how === 'refuses connections') await receiver[Symbol.asyncDispose]();
      else context.onTestFinished(() => receiver[Symbol.asyncDispose]());
      const attempts = await threeReplicas(context, receiver.url, '500ms');
      const before = attempts();
      const SECONDS = 12;
      await sleep(1_000 * SECONDS);
      expect(attempts() - before).toBeLessThan(SECONDS);
    },
  );
});
