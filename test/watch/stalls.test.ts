import { describe, expect, it } from 'vitest';
import { Stalls } from '../../src/watch/stalls.js';
import { ManualClock } from '../support/manual-clock.js';

async function beating() {
  const clock = new ManualClock();
  const stalls = new Stalls(clock);
  const stop = new AbortController();
  const over = stalls.run(stop.signal);
  return {
    clock,
    stalls,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await over;
    },
  };
}

describe('a process', () => {
  it('that runs hears at once what is said', async () => {
    await using under = await beating();
    for (let n = 0; n < 30; n += 1) {
      await under.clock.advance(150);
      expect(under.stalls.lateMsMax()).toBe(0);
    }
  });

  it('that stood still may hear what was said since it did, until it has caught up', async () => {
    const clock = new ManualClock();
    const stalls = new Stalls(clock);
    // Nothing runs meanwhile.
    clock.jump(5_000);
    expect(stalls.lateMsMax()).toBe(5_000);
    clock.jump(500);
    expect(stalls.lateMsMax()).toBe(5_500);
    clock.jump(600);
    expect(stalls.lateMsMax()).toBe(6_100);
  });

  it('that has caught up hears at once again', async () => {
    await using under = await beating();
    under.clock.jump(5_000);
    expect(under.stalls.lateMsMax()).toBe(5_000);
    for (let n = 0; n < 20; n += 1) await under.clock.advance(150);
    expect(under.stalls.lateMsMax()).toBe(0);
  });
});
