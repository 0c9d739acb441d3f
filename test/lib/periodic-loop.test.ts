import { expect, it } from 'vitest';
import { PeriodicLoop } from '../../src/lib/periodic-loop.js';
import { ManualClock, settled } from '../support/manual-clock.js';

it('waits for the time that each run returns, and before the first one for that of start', async () => {
  const clock = new ManualClock();
  const runsAtMs: number[] = [];
  const loop = new PeriodicLoop(clock, async () => runsAtMs.push(clock.monotonicMs()) * 100);
  loop.start(50);
  await clock.advance(1_000);
  await loop.stop();
  await clock.advance(1_000);
  expect(runsAtMs).toEqual([50, 150, 350, 650]);
});

it('ends when the run in progress has ended', async () => {
  const clock = new ManualClock();
  let endRun = () => {};
  const running = new Promise<number>((resolve) => {
    endRun = () => resolve(1);
  });
  const loop = new PeriodicLoop(clock, () => running);
  loop.start();
  let hasStopped = false;
  const stopped = loop.stop().then(() => {
    hasStopped = true;
  });
  expect(loop.signal.aborted).toBe(true);
  await settled();
  expect(hasStopped).toBe(false);
  endRun();
  await stopped;
});

it('never runs when it is stopped before its first run', async () => {
  const clock = new ManualClock();
  const loop = new PeriodicLoop(clock, () => Promise.reject(new Error('was run')));
  loop.start(10);
  await loop.stop();
  await clock.advance(100);
});
