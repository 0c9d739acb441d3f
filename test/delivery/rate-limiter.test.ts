import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RateLimiter } from '../../src/delivery/rate-limiter.js';
import { ManualClock } from '../support/manual-clock.js';

/** Takes whenever it is allowed until `untilMs`, and returns the times. */
async function takeAll(limiter: RateLimiter, clock: ManualClock, untilMs: number) {
  const takenAtMs: number[] = [];
  while (clock.monotonicMs() < untilMs) {
    const count = limiter.available();
    limiter.take(count);
    takenAtMs.push(...Array<number>(count).fill(clock.monotonicMs()));
    await clock.advance(Math.max(1, limiter.waitMs()));
  }
  return takenAtMs;
}

/** The most that falls into any stretch of `lengthMs`. */
function mostWithin(timesMs: readonly number[], lengthMs: number): number {
  const counts = timesMs.map(
    (startMs) => timesMs.filter((ms) => ms >= startMs && ms < startMs + lengthMs).length,
  );
  return Math.max(0, ...counts);
}

describe('a rate limiter', () => {
  it('lets a tenth of its count through at once', () => {
    expect(new RateLimiter({ count: 100, perMs: 1_000 }, new ManualClock()).available()).toBe(10);
  });

  it('lets at least one through, even with the smallest count', () => {
    const limiter = new RateLimiter({ count: 1, perMs: 60_000 }, new ManualClock());
    expect(limiter.available()).toBe(1);
    expect(limiter.waitMs()).toBe(0);
  });

  it('returns the exact time until the next one', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({ count: 1, perMs: 60_000 }, clock);
    limiter.take(1);
    expect(limiter.waitMs()).toBe(60_000);
    await clock.advance(59_999);
    expect(limiter.available()).toBe(0);
    expect(limiter.waitMs()).toBe(1);
    await clock.advance(1);
    expect(limiter.available()).toBe(1);
  });

  it('saves at most a tenth, even after a long idle time', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({ count: 100, perMs: 1_000 }, clock);
    await clock.advance(3_600_000);
    expect(limiter.available()).toBe(10);
  });

  it('reaches its rate', async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter({ count: 20, perMs: 1_000 }, clock);
    const takenAtMs = await takeAll(limiter, clock, 10_000);
    expect(takenAtMs.length).toBeGreaterThanOrEqual(200);
  });

  it('never lets more than its count and a tenth through in its time', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 50 }),
        fc.constantFrom(1_000, 60_000),
        async (count, perMs) => {
          const clock = new ManualClock();
          const limiter = new RateLimiter({ count, perMs }, clock);
          const takenAtMs = await takeAll(limiter, clock, 3 * perMs);
          const burst = Math.max(1, Math.floor(count / 10));
          expect(mostWithin(takenAtMs, perMs)).toBeLessThanOrEqual(count + burst);
        },
      ),
      { numRuns: 15 },
    );
  });
});
