import { describe, expect, it } from 'vitest';
import { OverflowLog } from '../../src/capture/overflow-log.js';
import type { Expiration, ExpiredEvent } from '../../src/model/vocabulary.js';
import { anExpiration, anExpiredEvent } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';

const DEADLINE_MS = Date.parse('2026-11-22T06:00:10.000Z');
const MINUTE_MS = 60_000;

/** As it is found later, by its entry in the index. */
const found = (given: Partial<Expiration> = {}): Expiration =>
  anExpiration({
    expiredAtMs: DEADLINE_MS,
    detectedAtMs: DEADLINE_MS + MINUTE_MS,
    detectedBy: 'recovery',
    ...given,
  });

const heardAt = (detectedAtMs: number, given: Partial<ExpiredEvent> = {}) =>
  anExpiredEvent({ detectedAtMs, ...given });

describe('an expiration that was dropped', () => {
  it('is found again as what Redis said, and when it did', () => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(heardAt(DEADLINE_MS + 7));
    expect(dropped.restore(found())).toEqual(
      found({ detectedBy: 'notification', detectedAtMs: DEADLINE_MS + 7 }),
    );
  });

  it('is told once', () => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(heardAt(DEADLINE_MS));
    dropped.restore(found());
    expect(dropped.restore(found())).toEqual(found());
    expect(dropped.receivedAtMs(found())).toBeNull();
  });

  it('was not heard before its deadline, though clocks differ by a few milliseconds', () => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(heardAt(DEADLINE_MS - 5));
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
  ])('says nothing of one %s', (_, given) => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(heardAt(DEADLINE_MS + 7));
    expect(dropped.restore(found(given))).toEqual(found(given));
  });

  it('leaves alone what was heard in time', () => {
    const dropped = new OverflowLog(new ManualClock());
    dropped.add(heardAt(DEADLINE_MS + 7));
    const heard = found({ detectedBy: 'notification' });
    expect(dropped.restore(heard)).toBe(heard);
    expect(dropped.receivedAtMs(heard)).toBe(DEADLINE_MS + 7);
  });

  it('is forgotten after a while, and leaves no timer behind', async () => {
    const clock = new ManualClock();
    const dropped = new OverflowLog(clock);
    dropped.add(heardAt(DEADLINE_MS));
    await clock.advance(9 * MINUTE_MS);
    dropped.add(heardAt(DEADLINE_MS, { database: 1 }));
    await clock.advance(9 * MINUTE_MS);
    expect(dropped.receivedAtMs(found({ database: 1 }))).toBe(DEADLINE_MS);
    await clock.advance(30 * MINUTE_MS);
    expect(dropped.receivedAtMs(found())).toBeNull();
    expect(dropped.receivedAtMs(found({ database: 1 }))).toBeNull();
    expect(clock.timers).toBe(0);
    dropped.add(heardAt(DEADLINE_MS + 1));
    expect(dropped.receivedAtMs(found())).toBe(DEADLINE_MS + 1);
    dropped.clear();
    expect(dropped.receivedAtMs(found())).toBeNull();
    expect(clock.timers).toBe(0);
  });

  it('is not remembered beyond a million, of which none is another', () => {
    const dropped = new OverflowLog(new ManualClock());
    const key = (n: number) => Buffer.from(`order:${n}:unpaid`);
    for (let n = 0; n <= 1_000_000; n += 1) dropped.add(heardAt(DEADLINE_MS + n, { key: key(n) }));
    expect(dropped.receivedAtMs(found({ key: key(0) }))).toBe(DEADLINE_MS);
    expect(dropped.receivedAtMs(found({ key: key(999_999) }))).toBe(DEADLINE_MS + 999_999);
    expect(dropped.receivedAtMs(found({ key: key(1_000_000) }))).toBeNull();
  });
});
