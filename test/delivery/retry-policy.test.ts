import { describe, expect, it } from 'vitest';
import { disposition, readRetryAfter, receiverTimeMs } from '../../src/delivery/retry-policy.js';
import type { Outcome } from '../../src/model/vocabulary.js';
import { RETRY_AFTER_MS_MAX } from '../../src/outbox/outbox.js';

const retry = { scheduleMs: [1_000, 5_000], jitter: 0.2 };
const nowMs = Date.parse('2026-11-22T06:00:00.000Z');
const rejected = (status: number, retryAfter: number | null = null): Outcome => ({
  kind: 'rejected',
  status,
  retryAfterMs: retryAfter,
  location: null,
  answer: '',
});
const unreachable: Outcome = { kind: 'unreachable', reason: 'timeout', code: '', detail: '' };
const next = (outcome: Outcome, attempt: number, fraction = 0) =>
  disposition({ outcome, attempt, startedMs: nowMs - 12.4, nowMs, fraction }, retry);

describe('disposition', () => {
  it('is done after any 2xx', () => {
    expect(next({ kind: 'accepted', status: 202, answer: '' }, 1)).toEqual({ kind: 'done' });
  });

  it('follows the schedule, then gives up', () => {
    expect(next(unreachable, 1)).toMatchObject({ kind: 'retry', notBeforeMs: nowMs + 1_000 });
    expect(next(rejected(500), 2)).toMatchObject({ kind: 'retry', notBeforeMs: nowMs + 5_000 });
    expect(next(rejected(500), 3)).toMatchObject({
      kind: 'dead',
      reason: 'exhausted',
      lastOutcome: 'HTTP 500',
    });
  });

  it('reports the attempt that failed, in short', () => {
    const startedMs = nowMs - 12.4;
    const failed = { ...rejected(500), answer: 'out of memory' } as Outcome;
    expect(next(failed, 1)).toMatchObject({
      failure: { startedMs, durationMs: 12, outcome: 'HTTP 500' },
    });
    expect(next(unreachable, 3)).toMatchObject({
      kind: 'dead',
      lastOutcome: 'timeout',
      failure: { startedMs, durationMs: 12, outcome: 'timeout' },
    });
  });

  it('retries a redirect and a client error like everything else', () => {
    for (const status of [301, 307, 400, 401, 404, 422]) {
      expect(next(rejected(status), 1).kind).toBe('retry');
    }
  });

  it('is dead at once after 410', () => {
    expect(next(rejected(410), 1)).toMatchObject({
      kind: 'dead',
      reason: 'gone',
      lastOutcome: 'HTTP 410',
    });
  });

  it('shortens a wait by its jitter, and never lengthens it', () => {
    expect(next(unreachable, 1, 0.5)).toMatchObject({ kind: 'retry', notBeforeMs: nowMs + 900 });
    expect(next(unreachable, 1, 1)).toMatchObject({ kind: 'retry', notBeforeMs: nowMs + 800 });
  });

  it('waits as long as Retry-After asks when that is longer than the schedule', () => {
    expect(next(rejected(429, 30_000), 1)).toMatchObject({
      kind: 'retry',
      notBeforeMs: nowMs + 30_000,
    });
    expect(next(rejected(429, 10), 1)).toMatchObject({ kind: 'retry', notBeforeMs: nowMs + 1_000 });
  });

  it('is a retry for an attempt that the relay aborted', () => {
    const stopped: Outcome = { kind: 'unreachable', reason: 'stopped', code: '', detail: '' };
    expect(next(stopped, 3)).toMatchObject({ kind: 'retry', notBeforeMs: nowMs });
  });
});

describe('readRetryAfter', () => {
  const none = { kind: 'none' };
  const wait = (ms: number) => ({ kind: 'wait', ms });

  it('reads seconds and HTTP dates', () => {
    expect(readRetryAfter(429, '120', nowMs)).toEqual(wait(120_000));
    expect(readRetryAfter(503, 'Sun, 22 Nov 2026 06:00:30 GMT', nowMs)).toEqual(wait(30_000));
  });

  it.each([
    ['2.0', 2_000],
    ['30.0', 30_000],
    ['0.5', 1_000],
    ['1.5', 2_000],
  ])('reads %s as a number of seconds, rounded up', (text, ms) => {
    expect(readRetryAfter(429, text, nowMs)).toEqual(wait(ms));
  });

  it('reads a past date, and zero seconds, as no wait', () => {
    expect(readRetryAfter(503, 'Sun, 22 Nov 2026 05:00:00 GMT', nowMs)).toEqual(none);
    for (const zero of ['0', '0.0']) expect(readRetryAfter(503, zero, nowMs)).toEqual(none);
  });

  it('reads the obsolete forms of a date', () => {
    expect(readRetryAfter(503, 'Sunday, 22-Nov-26 06:00:30 GMT', nowMs)).toEqual(wait(30_000));
    expect(readRetryAfter(503, 'Sun Nov 22 06:00:30 2026 GMT', nowMs)).toEqual(wait(30_000));
  });

  it('is capped at its limit, even for a huge number', () => {
    const large = '999999999999999999999999';
    expect(readRetryAfter(429, large, nowMs)).toEqual(wait(RETRY_AFTER_MS_MAX));
  });

  it('is ignored on other statuses, and may be missing', () => {
    expect(readRetryAfter(500, '120', nowMs)).toEqual(none);
    expect(readRetryAfter(500, 'soon', nowMs)).toEqual(none);
    expect(readRetryAfter(429, undefined, nowMs)).toEqual(none);
  });

  it('reports an unreadable value', () => {
    for (const text of ['soon', 'see 2050', '-5', '.5', '5.', '1, 2', '30s', 'Infinity', '']) {
      expect(readRetryAfter(429, text, nowMs)).toEqual({ kind: 'unreadable', text });
    }
  });
});

describe('answeredAtMs', () => {
  const nowMs = Date.parse('2026-11-22T07:00:00.250Z');

  it("uses the receiver's clock, even if ours is wrong", () => {
    const itsMs = Date.parse('2026-11-22T06:00:00Z');
    expect(receiverTimeMs('Sun, 22 Nov 2026 06:00:00 GMT', nowMs)).toBe(itsMs);
    expect(receiverTimeMs(' Sunday, 22-Nov-26 06:00:00 GMT', nowMs)).toBe(itsMs);
  });

  it('uses our clock if the response has no Date', () => {
    for (const nonsense of [undefined, '', '0', 'soon', '2026', 'Sun, 22 Nov 2026 99:99:99 GMT']) {
      expect(receiverTimeMs(nonsense, nowMs)).toBe(nowMs);
    }
  });
});
