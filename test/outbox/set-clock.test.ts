/** The outbox on a Redis whose clock is set while it is in use. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it, type TestContext } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import type { RedisOutbox } from '../../src/outbox/redis-outbox.js';
import { Waits } from '../../src/outbox/waits.js';
import { aDelivery, deadOf } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { clockIsFixedBecause, startRedisWithClock } from '../support/settable-clock.js';

const HOUR_MS = 3_600_000;
/** Much more than anything here takes, and much less than the clock is set by. */
const SHORT_MS = 60_000;

const DEAD = deadOf('exhausted');

const never = new AbortController().signal;

async function anOutbox({ onTestFinished, skip }: TestContext) {
  if (clockIsFixedBecause !== null) skip(clockIsFixedBecause);
  const server = await startRedisWithClock();
  const opened = await openState(server.redis.port, 'set-clock');
  const client = new Redis(server.redis.url, { protocol: 2 });
  onTestFinished(async () => {
    client.disconnect();
    await opened[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const { state, scripts } = opened;
  const events = { stateClockSet: () => undefined, waitsLimited: () => undefined };
  const waits = new Waits({
    state,
    scripts,
    clock: systemClock,
    endpoints: () => new Map(),
    events,
  });
  const outbox = opened.outbox({ corrected: (timeMs) => waits.correct(timeMs) });
  await waits.runOnce();
  return { ...server, client, waits, outbox };
}

const dueForMs = async (outbox: RedisOutbox) =>
  (await outbox.depth('shop')).oldestDueForMs ?? Number.NaN;

describe.each([
  ['ahead', HOUR_MS],
  ['back', -HOUR_MS],
])('once the clock of Redis was set %s by an hour', (_, stepMs) => {
  it('what was ready before is as old as it is', async (context) => {
    const { setAheadMs, waits, outbox } = await anOutbox(context);
    await outbox.enqueue(['a', 'b'].map((id) => aDelivery({ id })));
    await sleep(300);
    setAheadMs(stepMs);
    await waits.runOnce();
    const ages = [await dueForMs(outbox)];
    await outbox.claim('shop', 1, never);
    ages.push(await dueForMs(outbox));
    for (const ageMs of ages) {
      expect(ageMs).toBeGreaterThanOrEqual(290);
      expect(ageMs).toBeLessThan(SHORT_MS);
    }
  });

  it('what becomes ready later is as old as it is', async (context) => {
    const { setAheadMs, waits, outbox } = await anOutbox(context);
    await outbox.enqueue([aDelivery({ id: 'before' })]);
    await outbox.claim('shop', 1, never);
    setAheadMs(stepMs);
    await outbox.enqueue([aDelivery({ id: 'after' })]);
    await sleep(300);
    await waits.runOnce();
    const ageMs = await dueForMs(outbox);
    expect(ageMs).toBeGreaterThanOrEqual(290);
    expect(ageMs).toBeLessThan(SHORT_MS);
  });

  it('an endpoint is throttled no longer than it asked for', async (context) => {
    const { setAheadMs, outbox } = await anOutbox(context);
    await outbox.enqueue(['a', 'b'].map((id) => aDelivery({ id })));
    const [claimed] = await outbox.claim('shop', 1, never);
    if (claimed) await outbox.settle(claimed, DEAD, SHORT_MS);
    expect((await outbox.depth('shop')).throttledForMs).toBeGreaterThan(0);
    setAheadMs(stepMs);
    expect(await outbox.claim('shop', 5, never)).toMatchObject([{ delivery: { id: 'b' } }]);
  });
});

describe('while the time is not known to have been set', () => {
  it('what waits is as old as it was seen to be, at least', async (context) => {
    const { setAheadMs, outbox } = await anOutbox(context);
    await outbox.enqueue([aDelivery()]);
    setAheadMs(-HOUR_MS);
    await dueForMs(outbox);
    await sleep(100);
    const ageMs = await dueForMs(outbox);
    expect(ageMs).toBeGreaterThanOrEqual(90);
    expect(ageMs).toBeLessThan(SHORT_MS);
  });
});
