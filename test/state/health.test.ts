import { describe, expect, it } from 'vitest';
import { RedisUnreachableError, StateUnavailableError } from '../../src/model/errors.js';
import { StateHealth } from '../../src/state/health.js';
import { ManualClock } from '../support/manual-clock.js';

const FULL = new StateUnavailableError('it is full');
const AWAY = new StateUnavailableError('it is away');

function aHealth() {
  const said: unknown[] = [];
  let failures = 0;
  const clock = new ManualClock();
  const health = new StateHealth(clock, {
    failed: () => {
      failures += 1;
    },
    unavailable: (operation, error) => said.push([operation, error.message]),
    availableAgain: (afterMs) => said.push(afterMs),
  });
  return { health, said, clock, failures: () => failures };
}

describe('the health of the state', () => {
  it('tells each failure, but says the same trouble once', () => {
    const { health, said, failures } = aHealth();
    health.recordFailure('claim', 'shop', AWAY);
    health.recordFailure('claim', 'shop', AWAY);
    health.recordFailure('claim', 'other', AWAY);
    health.recordFailure('heartbeat', null, AWAY);
    expect(failures()).toBe(4);
    expect(said).toEqual([['claim', 'it is away']]);
    expect(health.problem).toBe('it is away');
  });

  it('says another trouble as well', () => {
    const { health, said } = aHealth();
    health.recordFailure('claim', 'shop', AWAY);
    health.recordFailure('enqueue', null, FULL);
    expect(said).toEqual([
      ['claim', 'it is away'],
      ['enqueue', 'it is full'],
    ]);
    expect(health.problem).toBe('it is away; it is full');
  });

  it('shows one problem while nothing can be read or written, however the commands before it failed', () => {
    const { health } = aHealth();
    health.recordFailure('claim', 'shop', new RedisUnreachableError('the state cannot be reached'));
    health.recordFailure('enqueue', null, FULL);
    health.recordFailure('connect', null, new RedisUnreachableError('connection refused'));
    expect(health.problem).toBe('connection refused');
    health.recordFailure('verify', null, new StateUnavailableError('it is a replica'));
    expect(health.problem).toBe('it is a replica');
    health.recordFailure('connect', null, new RedisUnreachableError('connection refused'));
    expect(health.problem).toBe('connection refused');
    health.reset();
    expect(health.problem).toBeNull();
    health.recordFailure('enqueue', null, FULL);
    expect(health.problem).toBe('it is full');
  });

  it('is well again once all that failed has succeeded, and says how long it took', async () => {
    const { health, said, clock } = aHealth();
    health.recordFailure('claim', 'shop', AWAY);
    await clock.advance(1_000);
    health.recordFailure('settle', 'shop', AWAY);
    health.recordSuccess('claim', 'shop');
    expect(health.problem).toBe('it is away');
    await clock.advance(1_000);
    health.recordSuccess('settle', 'shop');
    expect(health.problem).toBeNull();
    await clock.advance(5_000);
    expect(said).toEqual([['claim', 'it is away'], 2_000]);
  });

  it('is not troubled by what only a replica that watches does, once it stands by', async () => {
    const { health, said, clock } = aHealth();
    health.recordFailure('track', null, FULL);
    health.recordFailure('enqueue', null, FULL);
    health.clearLeaseErrors();
    expect(health.problem).toBeNull();
    await clock.advance(5_000);
    expect(said).toEqual([['track', 'it is full'], 0]);
    health.recordFailure('claim', 'shop', AWAY);
    health.clearLeaseErrors();
    expect(health.problem).toBe('it is away');
  });

  it('does not report one endpoint as recovered because of another', () => {
    const { health, said } = aHealth();
    health.recordFailure('claim', 'shop', AWAY);
    health.recordSuccess('claim', 'other');
    health.recordFailure('claim', 'shop', AWAY);
    expect(health.problem).toBe('it is away');
    expect(said).toHaveLength(1);
  });

  it('does not stay ill because of a look that nobody repeats', () => {
    const { health, said, failures } = aHealth();
    health.recordFailure('depth', 'shop', AWAY);
    expect(failures()).toBe(1);
    expect(health.problem).toBeNull();
    expect(said).toEqual([]);
  });

  it('says trouble that comes and goes once, and that it is over when it stays calm', async () => {
    const { health, said, clock } = aHealth();
    for (let n = 0; n < 5; n += 1) {
      health.recordFailure('enqueue', null, FULL);
      await clock.advance(1_000);
      health.recordSuccess('enqueue', null);
      await clock.advance(1_000);
    }
    expect(said).toEqual([['enqueue', 'it is full']]);
    await clock.advance(5_000);
    expect(said).toEqual([['enqueue', 'it is full'], 9_000]);
    expect(clock.timers).toBe(0);
  });

  it('says once that nobody answers, in whatever words', () => {
    const { health, said } = aHealth();
    health.recordFailure('connect', null, new RedisUnreachableError('connection refused'));
    health.recordFailure('claim', 'shop', new RedisUnreachableError('the connection is closed'));
    expect(said).toEqual([['connect', 'connection refused']]);
  });

  it('begins anew with a new connection', async () => {
    const { health, said, clock } = aHealth();
    health.reset();
    expect(said).toEqual([]);
    health.recordFailure('claim', 'shop', AWAY);
    health.reset();
    expect(health.problem).toBeNull();
    await clock.advance(5_000);
    expect(said).toEqual([['claim', 'it is away'], 0]);
  });
});
