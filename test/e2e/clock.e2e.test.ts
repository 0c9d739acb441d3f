/** A relay whose clock is wrong: it uses the clock of Redis and its monotonic clock. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it, type TestContext } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { aDeadLetter, storeDeadLetters } from '../support/dead-letters.js';
import { eventually } from '../support/eventually.js';
import { RelayHere, wrongClock } from '../support/relay-here.js';
import { type RelayFile, simpleFile } from '../support/relay-process.js';
import { type Respond, TestReceiver } from '../support/test-receiver.js';

const HOUR_MS = 3_600_000;
/** A TTL after which the metrics have been rendered twice. */
const LIVES_MS = 5_000;
/** Much more than anything here takes on a busy machine, and much less than the clock is wrong by. */
const LATE_MS_MAX = 5_000;
/** Timers of the machine and of Redis may differ by a few milliseconds. */
const EARLY_MS_MAX = 20;

/** Answers with this status at first, then accepts. */
const atFirst =
  (times: number, status: number, headers: () => Record<string, string> = () => ({})): Respond =>
  (_, response, count) =>
    void (count <= times
      ? response.writeHead(status, headers()).end()
      : response.writeHead(204).end());

/** With a Redis of its own: the tests run at the same time. */
async function aScene({ onTestFinished }: TestContext, aheadMs: number, respond?: Respond) {
  const server = await startRedis();
  onTestFinished(() => server.stop());
  const client = new Redis(server.url, { protocol: 2 });
  onTestFinished(() => client.disconnect());
  const receiver = await TestReceiver.start(respond);
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  const clock = wrongClock(aheadMs);
  const start = async (more: Parameters<typeof simpleFile>[2] = {}) => {
    const file: RelayFile = simpleFile(server.url, receiver.url, more);
    const relay = await RelayHere.start(file, clock);
    onTestFinished(() => relay.stop());
    return relay;
  };
  const { requests } = receiver;
  const arrived = (count: number) =>
    eventually(`${count} requests`, () => requests.length >= count, 30_000);
  /** From one request to a later one, each counted from 1. */
  const betweenMs = (one: number, other: number) =>
    (requests[other - 1]?.atMs ?? 0) - (requests[one - 1]?.atMs ?? 0);
  const expire = (deadlineMs: number, name = 'order:1') => client.set(name, '', 'PXAT', deadlineMs);
  return { client, requests, clock, start, arrived, betweenMs, expire };
}

const inMs = (ms: number) => Date.now() + ms;

const trackedAre = (relay: RelayHere, count: number) =>
  eventually(
    `${count} tracked`,
    async () => (await relay.metric('expiry_relay_tracked_deadlines')) === count,
  );

/** A webhook has arrived a moment before the relay counts it. */
async function latenessMs(relay: RelayHere, count: number): Promise<number> {
  const series = 'expiry_relay_lateness_seconds';
  let sumS = Number.NaN;
  await eventually(`${count} counted`, async () => {
    const [counted, sum = Number.NaN] = await relay.metrics(
      `${series}_count{route="all"}`,
      `${series}_sum{route="all"}`,
    );
    sumS = sum;
    return counted === count;
  });
  return 1_000 * sumS;
}

const EXPECT_SOON = (ms: number, fromMs: number) => {
  expect(ms).toBeGreaterThanOrEqual(fromMs - EARLY_MS_MAX);
  expect(ms).toBeLessThan(fromMs + LATE_MS_MAX);
};

describe.concurrent.each([
  ['an hour ahead', HOUR_MS],
  ['an hour behind', -HOUR_MS],
])('a relay whose clock is %s of the one of Redis', (_, aheadMs) => {
  it('reads deadlines and acts on time: only webhook-timestamp uses its own clock', async (context) => {
    const { requests, start, arrived, expire } = await aScene(context, aheadMs);
    const relay = await start();
    const deadlines = Array.from({ length: 10 }, (_, n) => inMs(LIVES_MS + 50 * n));
    for (const [n, deadlineMs] of deadlines.entries()) await expire(deadlineMs, `order:${n}`);
    await trackedAre(relay, 10);
    await arrived(10);
    for (const { body, atMs, headers } of requests) {
      const expiredAtMs = Date.parse(String(body.data.expired_at));
      expect(expiredAtMs).toBe(deadlines[Number(body.data.key.slice('order:'.length))]);
      expect(body.data.detected_by).toBe('notification');
      EXPECT_SOON(atMs, expiredAtMs);
      EXPECT_SOON(Date.parse(String(body.data.detected_at)), expiredAtMs);
      const sentAtMs = Number(headers['webhook-timestamp']) * 1_000;
      expect(Math.abs(sentAtMs - (atMs + aheadMs))).toBeLessThan(LATE_MS_MAX);
    }
    expect(await latenessMs(relay, 10)).toBeLessThan(10 * LATE_MS_MAX);
    expect(relay.logs('attempt')).toHaveLength(10);
  });

  it('recovers keys that expired in a gap, and none that still exist', async (context) => {
    const { requests, start, arrived, expire } = await aScene(context, aheadMs);
    const before = await start();
    const [goneAtMs, livesUntilMs] = [inMs(LIVES_MS), inMs(15_000)];
    await expire(goneAtMs, 'gone');
    await expire(livesUntilMs, 'lives');
    await trackedAre(before, 2);
    await before.stop();
    await sleep(goneAtMs + 200 - Date.now());
    await start();
    await arrived(2);
    expect(requests.map(({ body }) => [body.data.key, body.data.expired_at])).toEqual([
      ['gone', new Date(goneAtMs).toISOString()],
      ['lives', new Date(livesUntilMs).toISOString()],
    ]);
    expect(requests[1]?.body.data.detected_by).toBe('notification');
    EXPECT_SOON(requests[1]?.atMs ?? 0, livesUntilMs);
  });

  it('waits between attempts as scheduled', async (context) => {
    const { start, arrived, betweenMs, expire } = await aScene(context, aheadMs, atFirst(2, 500));
    await start({ endpoint: { retry: { schedule: ['1500ms', '500ms'], jitter: 0 } } });
    await expire(inMs(20));
    await arrived(3);
    EXPECT_SOON(betweenMs(1, 2), 1_500);
    EXPECT_SOON(betweenMs(2, 3), 500);
  });

  it('pauses an endpoint that does not respond for exactly a second', async (context) => {
    const { start, arrived, betweenMs, expire } = await aScene(
      context,
      aheadMs,
      (_, response, count) =>
        void (count <= 5 ? response.destroy() : response.writeHead(204).end()),
    );
    // No attempt is in progress when the fifth fails: all are made at once, and their retries follow later.
    const schedule = Array.from({ length: 6 }, () => '300ms');
    const relay = await start({ endpoint: { retry: { schedule, jitter: 0 } } });
    const dueMs = inMs(300);
    for (let n = 0; n < 5; n += 1) await expire(dueMs, `order:${n}`);
    await arrived(10);
    expect(relay.logs('breaker_opened')).toMatchObject([{ open_ms: 1_000 }]);
    EXPECT_SOON(betweenMs(5, 6), 1_000);
  });

  it('obeys a Retry-After with a date, by the clock of the response', async (context) => {
    let namedMs = 0;
    const { requests, start, arrived, expire } = await aScene(
      context,
      aheadMs,
      atFirst(1, 503, () => {
        namedMs = Math.ceil(inMs(1_500) / 1_000) * 1_000;
        return { 'retry-after': new Date(namedMs).toUTCString() };
      }),
    );
    await start({ endpoint: { retry: { schedule: ['10ms'], jitter: 0 } } });
    await expire(inMs(20));
    await arrived(2);
    // The answer's own time is in whole seconds, too.
    EXPECT_SOON(requests[1]?.atMs ?? 0, namedMs);
    expect((requests[1]?.atMs ?? 0) - namedMs).toBeLessThan(LATE_MS_MAX);
  });

  it('keeps dead letters for the configured time', async (context) => {
    const letters = [29, 31].map((minutes) =>
      aDeadLetter({ delivery: { id: `msg_${minutes}` }, agoMs: minutes * 60_000 }),
    );
    const { client, start } = await aScene(context, aheadMs);
    await storeDeadLetters(client, letters);
    const relay = await start({ state: { dead_letters: { keep: '30m' } } });
    await eventually(
      'one is forgotten',
      () => relay.logs('dead_letters_expired').length > 0,
      30_000,
    );
    expect(await relay.metric('expiry_relay_dead_letters{endpoint="shop"}')).toBe(1);
  });
});

describe.concurrent.each([
  ['forward', HOUR_MS],
  ['back', -HOUR_MS],
])('a relay whose clock is set %s by an hour while it runs', (_, aheadMs) => {
  it.for(['redis', 'memory'])(
    'loses no webhook and sends none early or late (state.kind: %s)',
    async (kind, context) => {
      const { requests, clock, start, arrived, betweenMs, expire } = await aScene(
        context,
        0,
        atFirst(1, 500),
      );
      const relay = await start({
        endpoint: { retry: { schedule: ['10s'], jitter: 0 } },
        state: { kind },
      });
      // One waits for its second attempt, one for its deadline.
      await expire(inMs(LIVES_MS), 'retried');
      await trackedAre(relay, 1);
      await arrived(1);
      const deadlineMs = inMs(LIVES_MS);
      await expire(deadlineMs, 'tracked');
      await trackedAre(relay, 1);
      clock.aheadMs = aheadMs;
      await arrived(3);
      expect(requests.map(({ body }) => body.data.key)).toEqual(['retried', 'tracked', 'retried']);
      EXPECT_SOON(requests[1]?.atMs ?? 0, deadlineMs);
      EXPECT_SOON(betweenMs(1, 3), 10_000);
      const later = inMs(LIVES_MS);
      await expire(later, 'later');
      await trackedAre(relay, 1);
      await arrived(4);
      EXPECT_SOON(requests[3]?.atMs ?? 0, later);
      expect(requests[3]?.body.data.expired_at).toBe(new Date(later).toISOString());
      expect(await latenessMs(relay, 3)).toBeLessThan(3 * LATE_MS_MAX);
      expect(relay.logs('subscription_lost')).toEqual([]);
    },
  );
});
