import { describe, expect, it } from 'vitest';
import { OverflowLog } from '../../src/capture/overflow-log.js';
import type { Expiration, ExpiredEvent } from '../../src/model/vocabulary.js';
import { anExpiration, anExpiredEvent } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';

const DEADLINE_MS = Date.parse('2026-11-22T06:00:10.000Z');
const MINUTE_MS = 60_000;

/** The expiration as it is recovered later, from its entry in the index. */
const found = (given: Partial<Expiration> = {}): Expiration =>
  anExpiration({
    expiredAtMs: DEADLINE_MS,
    detectedAtMs: DEADLINE_MS + MINUTE_MS,
    detectedBy: 'recovery',
    ...given,
  });

const detectedAt = (detectedAtMs: number, given: Partial<ExpiredEvent> = {}) =>
  anExpiredEvent({ detectedAtMs, ...given });

describe('an expiration that was dropped', () => {
  it('is restored as a notification, with its time of detection', () => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(detectedAt(DEADLINE_MS + 7));
    expect(dropped.restore(found())).toEqual(
      found({ detectedBy: 'notification', detectedAtMs: DEADLINE_MS + 7 }),
    );
  });

  it('is restored once', () => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(detectedAt(DEADLINE_MS));
    dropped.restore(found());
    expect(dropped.restore(found())).toEqual(found());
    expect(dropped.receivedAtMs(found())).toBeNull();
  });

  it('was not detected before its deadline, even if clocks differ by a few milliseconds', () => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(detectedAt(DEADLINE_MS - 5));
    expect(dropped.restore(found())).toMatchObject({
      detectedBy: 'notification',
      detectedAtMs: DEADLINE_MS,
    });
  });

  it.each<[string, Partial<Expiration>]>([
    ['of another key', { key: Buffer.from('order:43:unpaid') }],
    ['of another database', { database: 1 }],
    ['of a later life', { expiredAtMs: DEADLINE_MS + 1_000 }],
    ['whose deadline was never known', { expiredAtMs: null }],
  ])('does not restore one %s', (_, given) => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(detectedAt(DEADLINE_MS + 7));
    expect(dropped.restore(found(given))).toEqual(found(given));
  });

  it('leaves an expiration unchanged that was received in time', () => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(detectedAt(DEADLINE_MS + 7));
    const received = found({ detectedBy: 'notification' });
    expect(dropped.restore(received)).toBe(received);
    expect(dropped.receivedAtMs(received)).toBe(DEADLINE_MS + 7);
  });

  it('is forgotten after a while, and leaves no timer behind', async () => {
    const clock = new ManualClock();
    const dropped = new OverflowLog(clock);
    dropped.add(detectedAt(DEADLINE_MS));
    await clock.advance(9 * MINUTE_MS);
    dropped.add(detectedAt(DEADLINE_MS, { database: 1 }));
    await clock.advance(9 * MINUTE_MS);
    expect(dropped.receivedAtMs(found({ database: 1 }))).toBe(DEADLINE_MS);
    await clock.advance(30 * MINUTE_MS);
    expect(dropped.receivedAtMs(found())).toBeNull();
    expect(dropped.receivedAtMs(found({ database: 1 }))).toBeNull();
    expect(clock.timers).toBe(0);
    dropped.add(detectedAt(DEADLINE_MS + 1));
    expect(dropped.receivedAtMs(found())).toBe(DEADLINE_MS + 1);
    dropped.clear();
    expect(dropped.receivedAtMs(found())).toBeNull();
    expect(clock.timers).toBe(0);
  });

  it('is not stored beyond a million, and each of these is distinct', () => {
    const dropped = new OverflowLog(new ManualClock());
    const key = (n: number) => Buffer.from(`order:${n}:unpaid`);
    for (let n = 0; n <= 1_000_000; n += 1)
      dropped.add(detectedAt(DEADLINE_MS + n, { key: key(n) }));
    expect(dropped.receivedAtMs(found({ key: key(0) }))).toBe(DEADLINE_MS);
    expect(dropped.receivedAtMs(found({ key: key(999_999) }))).toBe(DEADLINE_MS + 999_999);
    expect(dropped.receivedAtMs(found({ key: key(1_000_000) }))).toBeNull();
  });
});
