import { describe, expect, it } from 'vitest';
import { MemoryDeadlines } from '../../src/deadlines/memory-deadlines.js';
import { MemoryOutbox } from '../../src/outbox/memory-outbox.js';
import { heapBytes } from '../support/heap.js';
import { ManualClock } from '../support/manual-clock.js';
import { at, describeDeadlines, endless, NOW_MS, until } from './deadlines.contract.js';

describeDeadlines('an index of deadlines in memory', async () => {
  const deadlines = new MemoryDeadlines();
  const outbox = new MemoryOutbox(
    new ManualClock(),
    () => undefined,
    undefined,
    (claimed) => deadlines.consume(claimed),
  );
  return {
    deadlines,
    claim: async (claimed) => void (await outbox.enqueue([], claimed)),
    [Symbol.asyncDispose]: async () => void (await outbox.close()),
  };
});

describe('an index of deadlines in memory that is full', () => {
  it('leaves further keys to Redis, and still updates its own', async () => {
    const deadlines = new MemoryDeadlines(2);
    await deadlines.put([until('a', 5), until('b', 6), until('c', 7)]);
    await deadlines.put([until('a', 50)]);
    expect(await deadlines.find([at('a'), at('b'), at('c')])).toEqual([
      NOW_MS + 50,
      NOW_MS + 6,
      null,
    ]);
    await deadlines.put([endless('b'), until('c', 7)]);
    expect(await deadlines.find([at('c')])).toEqual([NOW_MS + 7]);
  });

  it('does not grow when deadlines are moved a million times', async () => {
    const deadlines = new MemoryDeadlines();
    const before = heapBytes();
    for (let n = 0; n < 1_000_000; n += 1) await deadlines.put([until('a', 1_000_000 - n)]);
    expect(heapBytes() - before).toBeLessThan(100 * 1024 * 1024);
    expect(await deadlines.earliestMs(0)).toBe(NOW_MS + 1);
  });
});
