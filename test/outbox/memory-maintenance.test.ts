import { expect, it } from 'vitest';
import { MEMORY_GRACE_MS, MemoryMaintenance } from '../../src/outbox/memory-maintenance.js';
import { MemoryOutbox } from '../../src/outbox/memory-outbox.js';
import { aDelivery } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';
import { lettersOf } from './outbox.contract.js';

function aMaintenance() {
  const clock = new ManualClock();
  const outbox = new MemoryOutbox(clock, () => undefined);
  const known = new Set(['shop', 'other']);
  const said: unknown[][] = [];
  const maintenance = new MemoryMaintenance({
    outbox,
    has: (endpoint) => known.has(endpoint),
    clock,
    events: {
      unknownEndpoint: (...what) => said.push(['unknown', ...what]),
      unknownEndpointDeadLettered: (...what) => said.push(['buried', ...what]),
    },
  });
  return { clock, outbox, known, said, maintenance };
}

it('deliveries for an endpoint that a reload has removed become dead letters after the grace period', async () => {
  const { clock, outbox, known, said, maintenance } = aMaintenance();
  await outbox.enqueue([aDelivery({ id: 'a' }), aDelivery({ id: 'b', endpoint: 'other' })]);
  maintenance.runOnce();
  expect(said).toEqual([]);
  known.delete('shop');
  maintenance.runOnce();
  await clock.advance(MEMORY_GRACE_MS - 1);
  maintenance.runOnce();
  expect((await outbox.depth('shop')).pending).toBe(1);
  await clock.advance(1);
  maintenance.runOnce();
  expect(said).toEqual([
    ['unknown', 'shop', 1, MEMORY_GRACE_MS],
    ['unknown', 'shop', 1, 1],
    ['unknown', 'shop', 1, 0],
    ['buried', 'shop', 1],
  ]);
  const letters = await lettersOf(outbox.dead);
  expect(letters).toMatchObject([{ delivery: { id: 'a' }, reason: 'unknown_endpoint' }]);
  expect((await outbox.depth('shop')).pending).toBe(0);
  expect((await outbox.depth('other')).pending).toBe(1);
});

it('deliveries for an endpoint that returns in time are sent', async () => {
  const { clock, outbox, known, said, maintenance } = aMaintenance();
  await outbox.enqueue([aDelivery({ id: 'a' })]);
  known.delete('shop');
  maintenance.runOnce();
  known.add('shop');
  await clock.advance(MEMORY_GRACE_MS);
  maintenance.runOnce();
  expect(said.at(-1)).toEqual(['unknown', 'shop', 0, MEMORY_GRACE_MS]);
  expect(await outbox.claim('shop', 1, new AbortController().signal)).toHaveLength(1);
});
