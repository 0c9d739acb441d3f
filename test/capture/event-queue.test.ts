import { expect, it } from 'vitest';
import { createEventQueue } from '../../src/capture/event-queue.js';
import { Sequence } from '../../src/capture/sequence.js';
import type { ChangedEvent } from '../../src/model/vocabulary.js';
import { ManualClock } from '../support/manual-clock.js';

const changed: ChangedEvent = {
  kind: 'changed',
  database: 0,
  key: Buffer.from('order:1'),
  detectedAtMs: 1,
};

it('merges a published change with a request to read the key again, at the place of the change', () => {
  const sequence = new Sequence();
  sequence.mark('run.1.1');
  const published = sequence.place(changed) as ChangedEvent;
  for (const both of [
    [published, changed],
    [changed, published],
  ]) {
    const queue = createEventQueue(new ManualClock());
    for (const event of both) queue.push(event);
    expect(queue.reset()).toEqual([published]);
  }
});

it('merges changes behind a removal, and remembers the removal', () => {
  const queue = createEventQueue(new ManualClock());
  const removed = { ...changed, kind: 'removed' } as const;
  for (const event of [changed, removed, changed, changed]) queue.push(event);
  expect(queue.reset()).toEqual([{ ...changed, followsRemoval: true }]);
});
