/** A sweep's reading from before an expiration must not outlive the capture of that expiration. */
import { expect, it, onTestFinished } from 'vitest';
import { Capture } from '../../src/capture/capture.js';
import { EventProcessor } from '../../src/capture/event-processor.js';
import { createEventQueue } from '../../src/capture/event-queue.js';
import { Intake } from '../../src/capture/intake.js';
import { OverflowLog } from '../../src/capture/overflow-log.js';
import { Sequence } from '../../src/capture/sequence.js';
import type { Deadlines } from '../../src/deadlines/deadlines.js';
import { MemoryDeadlines } from '../../src/deadlines/memory-deadlines.js';
import { RedisDeadlines } from '../../src/deadlines/redis-deadlines.js';
import { Tracker } from '../../src/deadlines/tracker.js';
import { systemClock } from '../../src/lib/clock.js';
import { Latch } from '../../src/lib/latch.js';
import type { KeyInDatabase, KeyReading } from '../../src/model/vocabulary.js';
import { MemoryOutbox } from '../../src/outbox/memory-outbox.js';
import type { Outbox } from '../../src/outbox/outbox.js';
import { ALL_SLOTS } from '../../src/redis/slots.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { Routing } from '../../src/routing/routes.js';
import type { Session } from '../../src/source/session.js';
import { ALWAYS_HELD } from '../../src/state/lease.js';
import type { CaptureEvents } from '../../src/telemetry/capture-events.js';
import type { WatchEvents } from '../../src/telemetry/watch-events.js';
import { ValueKeeper } from '../../src/values/keeper.js';
import { MemoryValues } from '../../src/values/memory-values.js';
import { captureMissing } from '../../src/watch/missed-expirations.js';
import { Sweeper } from '../../src/watch/sweeper.js';
import { at, NOW_MS, until } from '../deadlines/deadlines.contract.js';
import { aRoute } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { fixedChance, ManualClock } from '../support/manual-clock.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
const never = new AbortController().signal;
const nothing = new Proxy({}, { get: () => () => undefined });

interface Stores {
  readonly deadlines: Deadlines;
  readonly outbox: Outbox;
}

function inMemory(): Stores {
  const deadlines = new MemoryDeadlines();
  const consume = deadlines.consume.bind(deadlines);
  const outbox = new MemoryOutbox(new ManualClock(), () => undefined, undefined, consume);
  return { deadlines, outbox };
}

async function inRedis(): Promise<Stores> {
  const opened = await openState(shared.server.port, 'overtaken-reading');
  onTestFinished(() => opened[Symbol.asyncDispose]());
  const deadlines = new RedisDeadlines(opened.state, ALWAYS_HELD, [0], () => undefined);
  return { deadlines, outbox: opened.outbox() };
}

it.each([
  ['memory', inMemory],
  ['Redis', inRedis],
])(
  'captures an expiration once, even if a sweep that read the key before writes the reading between look-up and capture; in %s',
  async (_, open) => {
    const { deadlines, outbox } = await open();
    const clock = systemClock;
    const tracker = new Tracker(deadlines);
    const routes = [aRoute({ patterns: [compilePattern('order:*')] })];
    const routing = new Routing(() => routes, '{relay}:');
    const queue = createEventQueue(clock);
    const overflow = new OverflowLog(clock);
    const barrier = new Latch();
    const isAsked = new Latch();
    const trust = {
      isCatchingUp: () => false,
      lose: () => undefined,
      tellsRemovals: () => false,
      barrier: async () => {
        isAsked.open();
        await barrier.untilOpen();
        return () => true;
      },
    };
    let nowMs = NOW_MS;
    const serverNowMs = () => nowMs;
    const events = nothing as CaptureEvents;
    const intake = new Intake({ routing, queue, overflow, trust, serverNowMs, events });
    const processor = new EventProcessor({ queue, events, clock });
    const values = new ValueKeeper({
      routing,
      values: new MemoryValues(),
      events: { unreadable: () => {}, stale: () => {}, omitted: () => {} },
      clock,
    });
    const serverClock = { refresh: async () => {}, corrected: (ms: number) => ms };
    new Capture({
      queue,
      processor,
      intake,
      overflow,
      tracker,
      trust,
      outbox,
      values,
      serverClock,
      events,
      clock,
      chance: fixedChance(),
    }).start();
    // The change of another key of the same page takes a while.
    const changeApplied = new Latch();
    processor.run('changes', async () => {
      await changeApplied.untilOpen();
      return true;
    });
    onTestFinished(() => processor.stop(AbortSignal.abort()));

    // The key is what Redis has: it expires at 20.
    const deadlineMs = NOW_MS + 20;
    const isSwept = new Latch();
    const read = async (keys: readonly KeyInDatabase[]) => {
      isSwept.open();
      return keys.map(({ database, key }): KeyReading => {
        const isLeft = nowMs <= deadlineMs;
        const ttl = isLeft ? 'volatile' : 'missing';
        return { database, key, ttl, deadlineMs: isLeft ? deadlineMs : 0, readAtMs: nowMs };
      });
    };
    const session = {
      sweepKeyspace: { read },
      keyspace: { read },
      barrier: async () => {},
    } as unknown as Session;
    const sweeper = new Sweeper({
      databases: [0],
      routing: { globs: [null], isRouted: () => true },
      deadlines,
      tracker,
      queue,
      values,
      session,
      slots: ALL_SLOTS,
      serverNowMs,
      events: nothing as WatchEvents,
      clock,
    });

    // The index has the deadline of a former life, which was deleted in a gap: no replica received the notice.
    await deadlines.put([until('order:1', 9_000), until('order:2', 9_000)]);
    intake.push({ ...at('order:2'), kind: 'changed', detectedAtMs: nowMs });
    const sweeping = sweeper.reconcile(0, never);
    await isSwept.untilOpen();
    await clock.sleep(10);
    // The key expires; capture looks its deadline up, finds the former life's, and waits for the barrier.
    nowMs = NOW_MS + 100;
    const sequence = new Sequence();
    sequence.mark('run.1.1');
    const expired = { ...at('order:1'), kind: 'expired', detectedBy: 'notification' } as const;
    intake.push(sequence.place({ ...expired, detectedAtMs: nowMs }));
    await isAsked.untilOpen();
    // The other key's change is applied, so that the sweep writes its readings; then the barrier is passed.
    changeApplied.open();
    await clock.sleep(50);
    barrier.open();
    await queue.drained(never);
    await sweeping;

    // The nudger does this with all due keys.
    nowMs = NOW_MS + 2_000;
    await deadlines.take(0, nowMs, 9);
    const overdue = (await deadlines.overdue(0, nowMs, 9)).filter(
      ({ key }) => `${key}` === 'order:1',
    );
    const parts = {
      database: 0,
      session,
      deadlines,
      tracker,
      queue,
      intake,
      routing,
      slots: ALL_SLOTS,
      serverNowMs,
      isEmptied: async () => false,
    };
    await captureMissing(overdue, parts, never);
    await eventually('it is captured', async () => (await outbox.depth('shop')).pending > 0);
    const claims = await outbox.claim('shop', 9, never);
    const captured = claims.map(({ delivery: { keyLabel, detectedBy, expiredAtMs } }) => [
      keyLabel,
      detectedBy,
      expiredAtMs,
    ]);
    expect(captured).toEqual([['order:1', 'notification', null]]);
  },
);
