/** A retry waits no longer than was meant, whatever becomes of the clock of Redis. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { Waits } from '../../src/outbox/waits.js';
import { endpointKeys } from '../../src/state/format.js';
import { aDelivery, retryAt } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
let prefixes = 0;

const never = new AbortController().signal;
const HOUR_MS = 3_600_000;

/** One retry for each of these waits, of an endpoint whose schedule is `scheduleMs`. */
async function waiting(waitsMs: readonly number[], scheduleMs = [60_000, 120_000]) {
  prefixes += 1;
  const prefix = `waits-${prefixes}`;
  const opened = await openState(shared.server.port, prefix);
  onTestFinished(() => opened[Symbol.asyncDispose]());
  const { state, scripts } = opened;
  const outbox = opened.outbox();
  const keys = endpointKeys(prefix, 'shop');
  await outbox.enqueue(waitsMs.map((_, n) => aDelivery({ id: `msg_${n}` })));
  const claims = await outbox.claim('shop', Math.max(1, waitsMs.length), never);
  for (const [n, claimed] of claims.entries()) {
    const notBeforeMs = systemClock.monotonicMs() + (waitsMs[n] ?? 0);
    await outbox.settle(claimed, retryAt(notBeforeMs), 0);
  }
  const said: unknown[][] = [];
  const clock = new ManualClock();
  const waits = new Waits({
    ...{ state, scripts, clock },
    endpoints: () => new Map([['shop', { retry: { scheduleMs, jitter: 0 } }]]),
    events: {
      stateClockSet: (...what) => said.push(['set', ...what]),
      waitsLimited: (...what) => said.push(['limited', ...what]),
    },
  });
  /** As if the clock had been set back. */
  const setBack = async (ms: number) => {
    const members = await shared.client.zrange(keys.waiting, 0, '-1');
    for (const member of members) await shared.client.zincrby(keys.waiting, ms, member);
  };
  /** For how long each one has to wait, in the order of their ids. */
  const leftMs = async () => {
    const members = (await shared.client.zrange(keys.waiting, 0, '-1')).sort();
    const scores = await shared.client.zmscore(keys.waiting, ...members);
    return scores.map((score) => Number(score) - Date.now());
  };
  return { waits, outbox, said, clock, keys, setBack, leftMs };
}

const about = (ms: number, expectedMs: number) => {
  expect(ms).toBeLessThanOrEqual(expectedMs);
  expect(ms).toBeGreaterThan(expectedMs - 30_000);
};

describe('retries', () => {
  it('wait for as long as was meant while nobody sets the clock', async () => {
    const { waits, said, leftMs } = await waiting([60_000, HOUR_MS]);
    await waits.runOnce();
    await waits.runOnce();
    const [one, other] = await leftMs();
    about(one ?? 0, 60_000);
    about(other ?? 0, HOUR_MS);
    expect(said).toEqual([]);
  });

  it('wait no longer after it was set back by an hour, each by its own measure', async () => {
    // The second one was asked for by a Retry-After: no schedule says so.
    const { waits, said, setBack, leftMs } = await waiting([60_000, 20 * 60_000]);
    await setBack(HOUR_MS);
    await waits.runOnce();
    const [one, other] = await leftMs();
    about(one ?? 0, 60_000);
    about(other ?? 0, 20 * 60_000);
    expect(said).toEqual([['limited', 'shop', 2]]);
  });

  it('that an older relay has stored wait as long as the schedule says for the attempt', async () => {
    const { waits, keys, setBack, leftMs } = await waiting([0, 0]);
    await shared.client.del(keys.waits, keys.waiting);
    for (const member of ['1:msg_0', '2:msg_1', '9:msg_2']) {
      await shared.client.zadd(keys.waiting, Date.now(), member);
    }
    await setBack(HOUR_MS);
    await waits.runOnce();
    const [one, two, nine] = await leftMs();
    about(one ?? 0, 60_000);
    about(two ?? 0, 120_000);
    about(nine ?? 0, 120_000);
  });

  it('are all looked at when it begins, and some at a time later on', async () => {
    const many = Array.from({ length: 1_500 }, () => 60_000);
    const { waits, said, setBack } = await waiting(many);
    await setBack(HOUR_MS);
    await waits.runOnce();
    const limited = () => said.reduce((sum, [, , count]) => sum + Number(count), 0);
    expect(limited()).toBe(1_500);
    await setBack(HOUR_MS);
    await waits.runOnce();
    expect(limited()).toBeLessThan(3_000);
    for (let n = 0; n < 4; n += 1) await waits.runOnce();
    expect(limited()).toBe(3_000);
  });

  it('are all checked when the clock was set, and the limits are reported', async () => {
    const many = Array.from({ length: 1_500 }, () => 60_000);
    const { waits, said, setBack, clock } = await waiting(many);
    await waits.runOnce();
    expect(waits.isClockSteady()).toBe(true);
    await setBack(HOUR_MS);
    // Ours goes on by an hour while that of Redis does not: it was set back.
    clock.jump(HOUR_MS);
    await waits.runOnce();
    expect(said.slice(1)).toEqual(
      Array(said.length - 1).fill(['limited', 'shop', expect.any(Number)]),
    );
    expect(said[0]).toEqual(['set', expect.closeTo(-HOUR_MS, -5)]);
    // What one round had begun goes on in the next.
    await waits.runOnce();
    expect(said.slice(1).reduce((sum, [, , count]) => sum + Number(count), 0)).toBe(1_500);
    expect(waits.isClockSteady()).toBe(false);
    clock.jump(HOUR_MS);
    expect(waits.isClockSteady()).toBe(true);
  });

  it('leave nothing behind once they are claimed', async () => {
    const { waits, outbox, keys } = await waiting([0, 0]);
    expect(await shared.client.hlen(keys.waits)).toBe(2);
    expect(await outbox.claim('shop', 2, never)).toHaveLength(2);
    expect(await shared.client.exists(keys.waits)).toBe(0);
    // An older relay does not know of it.
    await shared.client.hset(keys.waits, '1:msg_9', 5);
    await waits.runOnce();
    expect(await shared.client.exists(keys.waits)).toBe(0);
  });
});
