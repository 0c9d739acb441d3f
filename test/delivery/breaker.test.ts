import { describe, expect, it } from 'vitest';
import { BREAKER, Breaker } from '../../src/delivery/breaker.js';
import type { Outcome, Prevented } from '../../src/model/vocabulary.js';
import { ACCEPTED, PREVENTED, rejected } from '../support/fake-sender.js';

const { noResponsesToOpen, openMsFirst, openMsMax, window, windowMsMax } = BREAKER;

const NO_RESPONSE: Outcome = { kind: 'unreachable', reason: 'timeout', code: '', detail: '' };
const STOPPED: Outcome = { kind: 'unreachable', reason: 'stopped', code: '', detail: '' };
const FAILED = rejected(500);

/** A breaker, and its time. */
function aBreaker(concurrency = 8) {
  const breaker = new Breaker(concurrency);
  let nowMs = 0;
  const end = (begun: number, outcome: Outcome | Prevented) => {
    const change = breaker.record(begun, outcome, nowMs);
    breaker.end(begun);
    return change;
  };
  const attempt = (outcome: Outcome | Prevented) => end(breaker.begin(), outcome);
  const attempts = (count: number, outcome: Outcome) =>
    Array.from({ length: count }, () => attempt(outcome)).filter((change) => change !== null);
  return {
    begin: () => breaker.begin(),
    end,
    attempt,
    attempts,
    open: () => attempts(noResponsesToOpen, NO_RESPONSE),
    limit: () => attempts(window, FAILED),
    room: () => breaker.capacity(nowMs).count,
    inMs: () => breaker.capacity(nowMs).inMs,
    state: () => breaker.state(nowMs),
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

describe('a circuit breaker', () => {
  it('is closed at first, and allows the full concurrency', () => {
    const { state, room, begin } = aBreaker(3);
    expect([state(), room()]).toEqual(['closed', 3]);
    begin();
    expect(room()).toBe(2);
  });

  it.each([200, 302, 404, 410, 422])('counts a response with status %i as a success', (status) => {
    const { attempts, state } = aBreaker();
    const outcome = status === 200 ? ACCEPTED : rejected(status);
    expect(attempts(2 * window, outcome)).toEqual([]);
    expect(state()).toBe('closed');
  });
});

describe('an endpoint that does not respond', () => {
  it('opens it with the fifth attempt in a row: none begins for a second', () => {
    const { attempts, attempt, state, room, inMs, pass } = aBreaker();
    expect(attempts(noResponsesToOpen - 1, NO_RESPONSE)).toEqual([]);
    expect(attempt(NO_RESPONSE)).toEqual({ kind: 'opened', openMs: openMsFirst });
    expect([state(), room(), inMs()]).toEqual(['open', 0, openMsFirst]);
    pass(openMsFirst - 1);
    expect([state(), room(), inMs()]).toEqual(['open', 0, 1]);
  });

  it.each([ACCEPTED, FAILED, rejected(429), rejected(404)])(
    'leaves it closed when there is a response in between: %j',
    (response) => {
      const { attempts, attempt, state } = aBreaker();
      attempts(noResponsesToOpen - 1, NO_RESPONSE);
      expect(attempt(response)).toBeNull();
      expect(attempts(noResponsesToOpen - 1, NO_RESPONSE)).toEqual([]);
      expect(state()).toBe('closed');
    },
  );

  it('is probed by one attempt at a time after the pause', () => {
    const { open, pass, state, room, begin, end } = aBreaker();
    open();
    pass(openMsFirst);
    expect([state(), room()]).toEqual(['half_open', 1]);
    const probe = begin();
    expect(room()).toBe(0);
    end(probe, PREVENTED);
    expect(room()).toBe(1);
  });

  it('is paused for twice as long after each failed probe, up to a minute', () => {
    const { open, pass, attempt } = aBreaker();
    open();
    let openMs: number = openMsFirst;
    for (let probes = 0; probes < 8; probes += 1) {
      pass(openMs);
      openMs = Math.min(2 * openMs, openMsMax);
      expect(attempt(NO_RESPONSE)).toEqual({ kind: 'opened', openMs });
    }
    expect(openMs).toBe(openMsMax);
  });

  it('gets twice as many at a time with each success, until the breaker is closed', () => {
    const { open, pass, attempt, state, room } = aBreaker(8);
    open();
    pass(openMsFirst);
    expect(attempt(ACCEPTED)).toEqual({ kind: 'limited' });
    expect([state(), room()]).toEqual(['half_open', 2]);
    expect(attempt(ACCEPTED)).toBeNull();
    expect([state(), room()]).toEqual(['half_open', 4]);
    expect(attempt(ACCEPTED)).toEqual({ kind: 'closed' });
    expect([state(), room()]).toEqual(['closed', 8]);
  });

  it('is up once it responds, even with an error: the breaker does not open again', () => {
    const { open, pass, attempt, attempts, state, room } = aBreaker();
    open();
    pass(openMsFirst);
    expect(attempt(FAILED)).toEqual({ kind: 'limited' });
    expect([state(), room()]).toEqual(['half_open', 1]);
    expect(attempts(noResponsesToOpen - 1, NO_RESPONSE)).toEqual([]);
    expect(attempt(NO_RESPONSE)).toEqual({ kind: 'opened', openMs: openMsFirst });
  });

  it.each([ACCEPTED, FAILED, NO_RESPONSE])(
    'is not judged by an attempt that began before the breaker opened: %j',
    (outcome) => {
      const { begin, end, open, pass, state, room, inMs } = aBreaker();
      const [early, late, latest] = [begin(), begin(), begin()];
      open();
      expect(end(early, outcome)).toBeNull();
      expect([state(), inMs()]).toEqual(['open', openMsFirst]);
      pass(openMsFirst);
      expect(room()).toBe(1);
      const probe = begin();
      expect(end(late, outcome)).toBeNull();
      expect([state(), room()]).toEqual(['half_open', 0]);
      expect(end(probe, ACCEPTED)).toEqual({ kind: 'limited' });
      expect(end(latest, outcome)).toBeNull();
      expect([state(), room()]).toEqual(['half_open', 2]);
    },
  );
});

describe('an endpoint that fails most attempts', () => {
  it('gets one attempt at a time once more than 90 % of 50 have failed', () => {
    const { attempts, attempt, state, room } = aBreaker();
    attempts(4, ACCEPTED);
    expect(attempts(window - 5, FAILED)).toEqual([]);
    expect(attempt(rejected(429))).toEqual({ kind: 'limited' });
    expect([state(), room()]).toEqual(['half_open', 1]);
  });

  it('counts attempts without a response as failures, too', () => {
    const { attempt, state } = aBreaker();
    const outcomes = Array.from({ length: window }, (_, n) => (n % 2 ? NO_RESPONSE : FAILED));
    expect(outcomes.map(attempt).filter((change) => change !== null)).toEqual([
      { kind: 'limited' },
    ]);
    expect(state()).toBe('half_open');
  });

  it('keeps its concurrency while 10 % succeed', () => {
    const { attempts, attempt, state } = aBreaker();
    for (let round = 0; round < 30; round += 1) {
      expect(attempts(9, FAILED)).toEqual([]);
      expect(attempt(ACCEPTED)).toBeNull();
    }
    expect(state()).toBe('closed');
  });

  it('keeps its concurrency when the 50 attempts took more than half a minute', () => {
    const { attempt, pass, state } = aBreaker();
    for (let n = 0; n < 3 * window; n += 1) {
      expect(attempt(FAILED)).toBeNull();
      pass(windowMsMax / (window - 1) + 1);
    }
    expect(state()).toBe('closed');
  });

  it('gets twice as many at a time with each success, and one again after a failure', () => {
    const { limit, attempt, room, state } = aBreaker(8);
    limit();
    expect(attempt(ACCEPTED)).toBeNull();
    expect(attempt(ACCEPTED)).toBeNull();
    expect(room()).toBe(4);
    expect(attempt(FAILED)).toBeNull();
    expect(room()).toBe(1);
    for (const rooms of [2, 4]) {
      expect(attempt(ACCEPTED)).toBeNull();
      expect(room()).toBe(rooms);
    }
    expect(attempt(ACCEPTED)).toEqual({ kind: 'closed' });
    expect([state(), room()]).toEqual(['closed', 8]);
  });

  it('is never limited where its concurrency is 1', () => {
    const { limit, state, room } = aBreaker(1);
    expect(limit()).toEqual([]);
    expect([state(), room()]).toEqual(['closed', 1]);
  });

  it('opens the breaker when it does not respond any more', () => {
    const { limit, open, state } = aBreaker();
    limit();
    expect(open()).toEqual([{ kind: 'opened', openMs: openMsFirst }]);
    expect(state()).toBe('open');
  });
});

describe('an attempt that the relay has aborted or not made', () => {
  it.each([STOPPED, PREVENTED])('is not counted: %j', (outcome) => {
    const { attempts, attempt, state } = aBreaker();
    attempts(noResponsesToOpen - 1, NO_RESPONSE);
    for (let n = 0; n < window; n += 1) expect(attempt(outcome)).toBeNull();
    expect(state()).toBe('closed');
    expect(attempt(NO_RESPONSE)).toMatchObject({ kind: 'opened' });
  });
});
