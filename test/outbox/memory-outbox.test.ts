import { describe, expect, it } from 'vitest';
import type { DeadLetter } from '../../src/model/vocabulary.js';
import { MemoryOutbox } from '../../src/outbox/memory-outbox.js';
import { aDelivery, deadOf, retryAt } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';
import { describeOutbox, lettersOf } from './outbox.contract.js';

describeOutbox('the outbox in memory', async () => {
  const clock = new ManualClock();
  const outbox = new MemoryOutbox(clock, () => undefined);
  return { outbox, nowMs: () => clock.monotonicMs(), advance: (ms) => clock.advance(ms) };
});

describe('the outbox in memory', () => {
  const limits = {
    deliveriesMax: 3,
    bodyBytesMax: 100,
    deadLettersMax: 2,
    deadLetterBytesMax: 100,
  };
  const never = new AbortController().signal;

  const withLimits = () => {
    const evicted: DeadLetter[] = [];
    const clock = new ManualClock();
    return {
      evicted,
      clock,
      outbox: new MemoryOutbox(clock, (dead) => evicted.push(dead), limits),
    };
  };
  const bytes = (id: string, length: number) => aDelivery({ id, body: Buffer.alloc(length) });

  it('refuses what exceeds the number of deliveries, and says which', async () => {
    const { outbox } = withLimits();
    const refused = await outbox.enqueue(['a', 'b', 'c', 'd'].map((id) => bytes(id, 1)));
    expect(refused.map(({ id }) => id)).toEqual(['d']);
  });

  it('refuses what exceeds the bytes, and takes again once there is room', async () => {
    const { outbox } = withLimits();
    expect(await outbox.enqueue([bytes('a', 80)])).toEqual([]);
    expect(await outbox.enqueue([bytes('b', 30)])).toHaveLength(1);
    const [claimed] = await outbox.claim('shop', 1, never);
    if (claimed) await outbox.settleDone([claimed]);
    expect(await outbox.enqueue([bytes('b', 30)])).toEqual([]);
  });

  it('lets one endpoint be full without another', async () => {
    const { outbox } = withLimits();
    await outbox.enqueue(['a', 'b', 'c'].map((id) => bytes(id, 1)));
    expect(await outbox.enqueue([aDelivery({ id: 'x', endpoint: 'other' })])).toEqual([]);
  });

  it('keeps the youngest dead letters and names each one that makes room', async () => {
    const { outbox, evicted } = withLimits();
    for (const id of ['a', 'b', 'c']) {
      await outbox.enqueue([bytes(id, 1)]);
      const [claimed] = await outbox.claim('shop', 1, never);
      if (claimed) await outbox.settle(claimed, deadOf('exhausted'), 0);
    }
    const kept = await lettersOf(outbox.dead);
    expect(kept.map(({ delivery }) => delivery.id)).toEqual(['b', 'c']);
    expect(evicted.map(({ delivery }) => delivery.id)).toEqual(['a']);
  });

  it('leaves no timer behind when it is closed', async () => {
    const { outbox, clock } = withLimits();
    await outbox.enqueue([bytes('a', 1)]);
    const [claimed] = await outbox.claim('shop', 1, never);
    if (claimed) await outbox.settle(claimed, retryAt(clock.monotonicMs() + 9), 0);
    expect(clock.timers).toBe(1);
    await outbox.close();
    expect(clock.timers).toBe(0);
  });
});
