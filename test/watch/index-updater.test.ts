/** Changes of keys in a cluster: what other nodes than a key's own one publish is only a hint. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { EventProcessor } from '../../src/capture/event-processor.js';
import { createEventQueue, type QueuedEvent } from '../../src/capture/event-queue.js';
import { MemoryDeadlines } from '../../src/deadlines/memory-deadlines.js';
import { Tracker } from '../../src/deadlines/tracker.js';
import { systemClock } from '../../src/lib/clock.js';
import type { ChangedEvent, KeyInDatabase, KeyReading } from '../../src/model/vocabulary.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { Routing } from '../../src/routing/routes.js';
import type { CaptureEvents } from '../../src/telemetry/capture-events.js';
import { ValueKeeper } from '../../src/values/keeper.js';
import { MemoryValues } from '../../src/values/memory-values.js';
import { IndexUpdater, MOVING_AGAIN_MS } from '../../src/watch/index-updater.js';
import { Owners } from '../../src/watch/owners.js';
import { aRoute } from '../support/domain.js';

const NOW_MS = 1_000_000;
const KEY: KeyInDatabase = { database: 0, key: Buffer.from('order:1') };

const nothing = new Proxy({}, { get: () => () => undefined });

const never = new AbortController().signal;

/** With the entry of a key that is missing now, and whose deadline has passed. */
async function anUpdater(ttl: KeyReading['ttl'] = 'missing') {
  const queue = createEventQueue(systemClock);
  const deadlines = new MemoryDeadlines();
  const tracker = new Tracker(deadlines);
  const events = nothing as CaptureEvents;
  const processor = new EventProcessor({ queue, events, clock: systemClock });
  onTestFinished(() => processor.stop(never));
  const routes = [aRoute({ patterns: [compilePattern('order:*')] })];
  const routing = new Routing(() => routes);
  const values = new ValueKeeper({
    routing,
    values: new MemoryValues(),
    events: nothing as ConstructorParameters<typeof ValueKeeper>[0]['events'],
    clock: systemClock,
  });
  const slots = { isAll: false, first: 0, has: () => true };
  const owners = new Owners();
  const reading: KeyReading = { ...KEY, ttl, deadlineMs: 0, readAtMs: NOW_MS };
  owners.join({
    slots,
    session: nothing as Parameters<Owners['join']>[0]['session'],
    sweepNow: () => undefined,
    captureMissing: async () => undefined,
  });
  const updater = new IndexUpdater({
    queue,
    processor,
    routing,
    deadlines,
    tracker,
    values,
    trust: { caughtUp: async () => false, barrier: async () => () => true },
    owners,
    clock: systemClock,
    keyspace: { readChanged: async (keys) => keys.map(() => reading) },
  });
  await deadlines.put([{ ...KEY, ttl: 'volatile', deadlineMs: NOW_MS - 10, readAtMs: NOW_MS }]);
  return { updater, queue, processor, deadlines };
}

/** Whether the expiration that follows a change counts as one with another deadline than that in the index. */
async function isOutdatedAfter(change: Partial<ChangedEvent>, ttl: KeyReading['ttl'] = 'missing') {
  const { updater, queue, processor } = await anUpdater(ttl);
  queue.push({ kind: 'changed', ...KEY, detectedAtMs: NOW_MS - 20, ...change });
  queue.push({
    kind: 'expired',
    ...KEY,
    detectedAtMs: NOW_MS,
    detectedBy: 'notification',
    routes: [],
  });
  const expired = new Promise<QueuedEvent | undefined>((resolve) => {
    processor.run('plain', async ([entry]) => {
      resolve(entry?.item);
      return true;
    });
  });
  updater.start();
  const event = await expired;
  return event?.kind === 'expired' && event.isOutdated === true;
}

/** Whether the index has the key after its removal, which was received after its deadline. */
async function hasEntryAfter(change: Partial<ChangedEvent>) {
  const { updater, queue, deadlines } = await anUpdater();
  queue.push({ kind: 'changed', ...KEY, detectedAtMs: NOW_MS, isRemoval: true, ...change });
  updater.start();
  await queue.drained(never);
  const [entryMs = null] = await deadlines.find([KEY]);
  return entryMs !== null;
}

it('dates an expiration by the index when another node announced the key just before it', async () => {
  expect(await isOutdatedAfter({ isHint: true })).toBe(false);
});

it('does not so when the key had changed at its own node', async () => {
  expect(await isOutdatedAfter({})).toBe(true);
});

it('does not so when its own node could not be asked after the change', async () => {
  expect(await isOutdatedAfter({}, 'elsewhere')).toBe(true);
});

it('tracks a key that cannot be read now under the deadline that was read after its change, once', async () => {
  const { updater, queue, deadlines } = await anUpdater('elsewhere');
  const deadlineMs = NOW_MS + 5_000;
  const change = { kind: 'changed', ...KEY, detectedAtMs: NOW_MS } as const;
  queue.push({ ...change, readDeadlineMs: deadlineMs });
  updater.start();
  await queue.drained(never);
  expect(await deadlines.find([KEY])).toEqual([deadlineMs]);
  // It is removed, and must not come back.
  await deadlines.remove([KEY]);
  await sleep(2 * MOVING_AGAIN_MS);
  await queue.drained(never);
  expect(await deadlines.find([KEY])).toEqual([null]);
});

it('forgets a key that its own node removed just before its deadline, however late the event is', async () => {
  expect(await hasEntryAfter({})).toBe(false);
});

it('keeps an overdue key that another node removed: its own node tells whether it has expired', async () => {
  expect(await hasEntryAfter({ isHint: true })).toBe(true);
});
