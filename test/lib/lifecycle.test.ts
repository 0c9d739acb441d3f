import { describe, expect, it } from 'vitest';
import { Lifecycle } from '../../src/lib/lifecycle.js';
import { ManualClock } from '../support/manual-clock.js';

function aLifecycle() {
  const clock = new ManualClock();
  const failures: string[] = [];
  const lifecycle = new Lifecycle(clock, (name, error) => failures.push(`${name}: ${error}`));
  return { clock, failures, lifecycle };
}

describe('Lifecycle', () => {
  it('runs the clean-ups last in first out, one after the other', async () => {
    const { lifecycle } = aLifecycle();
    const ran: string[] = [];
    for (const name of ['first', 'second', 'third']) {
      lifecycle.onStop(name, async () => {
        ran.push(`${name} begins`);
        await Promise.resolve();
        ran.push(`${name} ends`);
      });
    }
    await lifecycle.stop();
    expect(ran).toEqual(['third', 'second', 'first'].flatMap((n) => [`${n} begins`, `${n} ends`]));
  });

  it('continues when one fails, and reports it', async () => {
    const { lifecycle, failures } = aLifecycle();
    const ran: string[] = [];
    lifecycle.onStop('first', () => void ran.push('first'));
    lifecycle.onStop('broken', () => {
      throw new Error('no');
    });
    await lifecycle.stop();
    expect(ran).toEqual(['first']);
    expect(failures).toEqual(['broken: Error: no']);
  });

  it('skips one that exceeds its time limit', async () => {
    const { lifecycle, failures, clock } = aLifecycle();
    const ran: string[] = [];
    lifecycle.onStop('first', () => void ran.push('first'));
    lifecycle.onStop(
      'stuck',
      () => new Promise(() => undefined),
      () => 100,
    );
    const stopped = lifecycle.stop();
    await clock.advance(100);
    await stopped;
    expect(failures).toEqual(['stuck: Error: not done within 100 ms']);
    expect(ran).toEqual(['first']);
    expect(clock.timers).toBe(0);
  });

  it('runs nothing twice', async () => {
    const { lifecycle } = aLifecycle();
    let count = 0;
    lifecycle.onStop('once', () => void count++);
    await lifecycle.stop();
    await lifecycle.stop();
    expect(count).toBe(1);
  });
});
