import { describe, expect, it } from 'vitest';
import { Overheard } from '../../src/capture/overheard.js';
import type { Expiration } from '../../src/vocabulary.js';
import { anExpiration } from '../support/domain.js';
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

const heardAt = (detectedAtMs: number, given: Partial<Expiration> = {}) =>
  anExpiration({ detectedAtMs, ...given });

describe('an expiration that was overheard', () => {
  it('is found again as what Redis said, and when it did', () => {
    const overheard = new Overheard(new ManualClock());
    overheard.add(heardAt(DEADLINE_MS + 7));
    expect(overheard.told(found())).toEqual(
      found({ detectedBy: 'notification', detectedAtMs: DEADLINE_MS + 7 }),
    );
  });

  it('is told once', () => {
    const overheard = new Overheard(new ManualClock());
    overheard.add(heardAt(DEADLINE_MS));
    overheard.told(found());
    expect(overheard.told(found())).toEqual(found());
    expect(overheard.atMs(found())).toBeNull();
  });

  it('was not heard before its deadline, though clocks differ by a few milliseconds', () => {
    const overheard = new Overheard(new ManualClock());
    overheard.add(heardAt(DEADLINE_MS - 5));
    expect(overheard.told(found())).toMatchObject({
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
    const overheard = new Overheard(new ManualClock());
    overheard.add(heardAt(DEADLINE_MS + 7));
    expect(overheard.told(found(given))).toEqual(found(given));
  });

  it('leaves alone what was heard in time', () => {
    const overheard = new Overheard(new ManualClock());
    overheard.add(heardAt(DEADLINE_MS + 7));
    const heard = found({ detectedBy: 'notification' });
    expect(overheard.told(heard)).toBe(heard);
    expect(overheard.atMs(heard)).toBe(DEADLINE_MS + 7);
  });

  it('is forgotten after a while, and leaves no timer behind', async () => {
    const clock = new ManualClock();
    const overheard = new Overheard(clock);
    overheard.add(heardAt(DEADLINE_MS));
    await clock.advance(9 * MINUTE_MS);
    overheard.add(heardAt(DEADLINE_MS, { database: 1 }));
    await clock.advance(9 * MINUTE_MS);
    expect(overheard.atMs(found({ database: 1 }))).toBe(DEADLINE_MS);
    await clock.advance(30 * MINUTE_MS);
    expect(overheard.atMs(found())).toBeNull();
    expect(overheard.atMs(found({ database: 1 }))).toBeNull();
    expect(clock.timers).toBe(0);
    overheard.add(heardAt(DEADLINE_MS + 1));
    expect(overheard.atMs(found())).toBe(DEADLINE_MS + 1);
    overheard.clear();
    expect(overheard.atMs(found())).toBeNull();
    expect(clock.timers).toBe(0);
  });

  it('is not remembered beyond a million, of which none is another', () => {
    const overheard = new Overheard(new ManualClock());
    const key = (n: number) => Buffer.from(`order:${n}:unpaid`);
    for (let n = 0; n <= 1_000_000; n += 1)
      overheard.add(heardAt(DEADLINE_MS + n, { key: key(n) }));
    expect(overheard.atMs(found({ key: key(0) }))).toBe(DEADLINE_MS);
    expect(overheard.atMs(found({ key: key(999_999) }))).toBe(DEADLINE_MS + 999_999);
    expect(overheard.atMs(found({ key: key(1_000_000) }))).toBeNull();
  });
});
