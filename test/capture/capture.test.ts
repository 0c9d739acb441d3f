import { describe, expect, it } from 'vitest';
import { Capture } from '../../src/capture/capture.js';
import { EventProcessor, SLICE_MAX } from '../../src/capture/event-processor.js';
import { createEventQueue } from '../../src/capture/event-queue.js';
import { Intake } from '../../src/capture/intake.js';
import { OverflowLog } from '../../src/capture/overflow-log.js';
import { Sequence } from '../../src/capture/sequence.js';
import { MemoryDeadlines } from '../../src/deadlines/memory-deadlines.js';
import { FencedError } from '../../src/model/errors.js';
import type {
  Delivery,
  ExpiredEvent,
  KeyEvent,
  KeyInDatabase,
  KeyReading,
  Route,
} from '../../src/model/vocabulary.js';
import { MemoryOutbox } from '../../src/outbox/memory-outbox.js';
import type { Outbox } from '../../src/outbox/outbox.js';
import { BODY_BYTES_MAX } from '../../src/payload/body.js';
import { compileTemplate } from '../../src/payload/body-template.js';
import { ALL_SLOTS } from '../../src/redis/slots.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { KEY_BYTES_MAX, Routing } from '../../src/routing/routes.js';
import type { Session } from '../../src/source/session.js';
import type { CaptureEvents } from '../../src/telemetry/capture-events.js';
import { ValueKeeper } from '../../src/values/keeper.js';
import { MemoryValues } from '../../src/values/memory-values.js';
import { GATHER_MS, IndexUpdater } from '../../src/watch/index-updater.js';
import { Owners } from '../../src/watch/owners.js';
import { anExpiredEvent, aRoute } from '../support/domain.js';
import { fixedChance, ManualClock, settled } from '../support/manual-clock.js';

/** Keeps the name and arguments of every event. */
function recordedEvents() {
  const happened: [string, ...unknown[]][] = [];
  const events = new Proxy({} as CaptureEvents, {
    get:
      (_, name: string) =>
      (...args: unknown[]) =>
        happened.push([name, ...args]),
  });
  return { events, named: (name: string) => happened.filter(([event]) => event === name) };
}

/** A capture with all parts between an event and a delivery; the index of deadlines is in memory. */
function aCapture(enqueue?: Outbox['enqueue'], route: Partial<Route> = {}) {
  const clock = new ManualClock();
  const deadlines = new MemoryDeadlines();
  const outbox: Outbox = new MemoryOutbox(
    clock,
    () => undefined,
    undefined,
    (claimed) => deadlines.consume(claimed),
  );
  if (enqueue !== undefined) outbox.enqueue = enqueue;
  const { events, named } = recordedEvents();
  const routes = [aRoute({ patterns: [compilePattern('order:*')], ...route })];
  const routing = new Routing(() => routes, '{relay}:');
  /** The actions, in order. */
  const steps: string[] = [];
  const note = (step: string, keys: readonly KeyInDatabase[]) => {
    if (keys.length > 0) steps.push(`${step} ${keys.map(({ key }) => key.toString()).join(' ')}`);
  };
  /** `onBarrier`: called when the capture waits for all published notifications. */
  const given = {
    isCatchingUp: false,
    tellsRemovals: false,
    caughtUp: async () => true,
    onBarrier: () => {},
  };
  const trust = {
    isCatchingUp: () => given.isCatchingUp,
    caughtUp: () => given.caughtUp(),
    tellsRemovals: () => given.tellsRemovals,
    lose: () => void steps.push('change lost'),
    barrier: async () => {
      given.onBarrier();
      return () => true;
    },
  };
  /** Keys are gone when they are read. */
  const tracker = {
    find: (keys: readonly KeyInDatabase[]) => deadlines.find(keys),
    invalidate: (keys: readonly KeyInDatabase[]) => note('claim', keys),
    reread: async (keys: readonly KeyInDatabase[]) => {
      note('changed', keys);
      return keys.map((key) => ({ ...key, ttl: 'missing' as const, deadlineMs: 0, readAtMs: 0 }));
    },
    remove: async (keys: readonly KeyInDatabase[]) => {
      note('removed', keys);
      await deadlines.remove(keys);
    },
  };
  /** The step of the clock of Redis, which is detected when its time is read. */
  const server = { aheadMs: 0, asked: 0 };
  let knownMs = 0;
  const serverClock = {
    refresh: async () => {
      server.asked += 1;
      knownMs = server.aheadMs;
    },
    corrected: (readMs: number) => readMs + knownMs,
  };
  const queue = createEventQueue(clock);
  const dropped = new OverflowLog(clock);
  const serverNowMs = () => clock.nowMs();
  const intake = new Intake({ routing, queue, overflow: dropped, trust, serverNowMs, events });
  const processor = new EventProcessor({ queue, events, clock });
  const values = new ValueKeeper({
    routing,
    values: new MemoryValues(),
    events: { unreadable: () => {}, stale: () => {}, omitted: () => {} },
    clock,
  });
  new Capture({
    queue,
    processor,
    intake,
    overflow: dropped,
    tracker,
    trust,
    outbox,
    values,
    serverClock,
    events,
    clock,
    chance: fixedChance(),
  }).start();
  const owners = new Owners();
  const updater = new IndexUpdater({
    queue,
    processor,
    routing,
    deadlines,
    tracker,
    values,
    trust,
    owners,
    keyspace: { readChanged: async () => [] },
    clock,
  });
  updater.start();
  const session = { isPrimary: async () => {} } as unknown as Session;
  const captureMissing = async () => {};
  owners.join({ slots: ALL_SLOTS, session, sweepNow: () => {}, captureMissing });
  const capture = {
    push: (event: KeyEvent) => intake.push(event),
    room: (signal: AbortSignal) => intake.room(signal),
    /** Allows several slices of changes. */
    drained: async (signal: AbortSignal) => {
      const drained = queue.drained(signal);
      for (let slice = 0; slice < 5; slice += 1) await clock.advance(GATHER_MS);
      await drained;
    },
    suspended: (signal: AbortSignal) => queue.suspended(signal),
    reset: () => queue.reset(),
    stop: (signal: AbortSignal) => processor.stop(signal),
    get queued() {
      return queue.size;
    },
  };
  const claimAll = async () => {
    if ((await outbox.depth('shop')).pending === 0) return [];
    return (await outbox.claim('shop', 999, never)).map(({ delivery }) => delivery);
  };
  return { capture, given, clock, outbox, deadlines, steps, named, claimAll, server };
}

/** In the index: a key and its deadline, `agoMs` before it is detected. */
const deadlineOf = (event: ExpiredEvent, agoMs = 3): KeyReading => ({
  database: event.database,
  key: event.key,
  ttl: 'volatile',
  deadlineMs: event.detectedAtMs - agoMs,
  readAtMs: 0,
});

const order = (id: number | string) => anExpiredEvent({ key: Buffer.from(`order:${id}`) });
const changed = (id: number | string) => ({ ...order(id), kind: 'changed' }) as const;
const removed = (id: number | string) => ({ ...order(id), kind: 'removed' }) as const;
const never = new AbortController().signal;

describe('Capture', () => {
  it('puts a delivery for each expiration into the outbox, in order', async () => {
    const { capture, outbox } = aCapture();
    for (const id of [1, 2, 3]) capture.push(order(id));
    await settled();
    const claims = await outbox.claim('shop', 9, never);
    expect(claims.map(({ delivery }) => delivery.keyLabel)).toEqual([
      'order:1',
      'order:2',
      'order:3',
    ]);
  });

  it('gives an expiration the same id in a replica that receives it and in one that recovers it', async () => {
    const ids: (string | undefined)[] = [];
    for (const detectedBy of ['notification', 'recovery'] as const) {
      const { capture, deadlines, claimAll } = aCapture();
      const sequence = new Sequence();
      sequence.mark('run.1.1');
      await deadlines.put([deadlineOf(order(1))]);
      const event = { ...order(1), detectedBy };
      capture.push(detectedBy === 'recovery' ? event : sequence.place(event));
      await settled();
      ids.push(...(await claimAll()).map(({ id }) => id));
    }
    expect(ids).toEqual([ids[0], ids[0]]);
  });

  it('gives an expiration without a known deadline the same id in all replicas that received it', async () => {
    const ids: string[] = [];
    for (const wasMarked of [false, true]) {
      const { capture, claimAll } = aCapture();
      const sequence = new Sequence();
      sequence.mark('run.1.1');
      const events = [order(1), order(1)].map((event) => sequence.place(event));
      if (wasMarked) sequence.mark('run.2.1');
      for (const event of events) capture.push(event);
      await settled();
      ids.push(...(await claimAll()).map(({ id }) => id));
    }
    expect(ids.slice(0, 2)).toEqual(ids.slice(2));
    expect(new Set(ids).size).toBe(2);
  });

  it('loses no other expiration when a bug prevents the webhook of one from being built', async () => {
    const { capture, claimAll, named } = aCapture();
    capture.push(order(1));
    // No date can name this moment.
    capture.push({ ...order(2), detectedAtMs: Number.NaN });
    capture.push(order(3));
    await settled();
    expect((await claimAll()).map(({ keyLabel }) => keyLabel)).toEqual(['order:1', 'order:3']);
    expect(named('unbuildable')).toMatchObject([
      [expect.anything(), { key: Buffer.from('order:2') }, { message: 'Invalid time value' }],
    ]);
    expect(capture.queued).toBe(0);
  });

  it('tries again after an unexpected error', async () => {
    const { capture, claimAll, named, clock, deadlines } = aCapture();
    const { find: of } = deadlines;
    deadlines.find = () => {
      throw new TypeError('a bug');
    };
    capture.push(order(1));
    await settled();
    expect(named('captureFailed')).toMatchObject([
      [expect.anything(), { message: 'a bug' }, 1, 100],
    ]);
    deadlines.find = of;
    await clock.advance(100);
    expect(await claimAll()).toHaveLength(1);
  });

  it('gives two expirations of the same key two ids', async () => {
    const { capture, outbox } = aCapture();
    capture.push(order(1));
    capture.push(order(1));
    await settled();
    const claims = await outbox.claim('shop', 9, never);
    expect(new Set(claims.map(({ delivery }) => delivery.id)).size).toBe(2);
  });

  describe('when the clock of Redis was set a moment ago', () => {
    it.each([1_000, 3_600_000])('%d ms ahead, still knows the deadline', async (aheadMs) => {
      const { capture, deadlines, server, claimAll } = aCapture();
      const early = anExpiredEvent({ key: Buffer.from('order:1') });
      await deadlines.put([deadlineOf(early, -aheadMs + 3)]);
      server.aheadMs = aheadMs;
      capture.push(early);
      await settled();
      const [delivery] = await claimAll();
      expect(delivery?.expiredAtMs).toBe(early.detectedAtMs + aheadMs - 3);
      expect(delivery?.detectedAtMs).toBe(early.detectedAtMs + aheadMs);
    });

    it('an hour back, still knows the deadline and the time of detection', async () => {
      const { capture, deadlines, server, claimAll } = aCapture();
      const late = anExpiredEvent({ key: Buffer.from('order:1') });
      await deadlines.put([deadlineOf(late, 3_600_000 + 3)]);
      server.aheadMs = -3_600_000;
      capture.push(late);
      await settled();
      const [delivery] = await claimAll();
      expect(delivery?.expiredAtMs).toBe(late.detectedAtMs - 3_600_000 - 3);
      expect(delivery?.detectedAtMs).toBe(late.detectedAtMs - 3_600_000);
    });

    it('asks for the time only where a deadline suggests it, and once for many keys', async () => {
      const { capture, deadlines, server } = aCapture();
      for (const id of [1, 2]) {
        await deadlines.put([deadlineOf(order(id))]);
        capture.push(order(id));
      }
      await settled();
      expect(server.asked).toBe(0);
      for (const id of [3, 4]) {
        await deadlines.put([deadlineOf(order(id), -900)]);
        capture.push(order(id));
      }
      await settled();
      expect(server.asked).toBe(1);
    });
  });

  it('ignores keys that match no route', async () => {
    const { capture, outbox, named } = aCapture();
    capture.push(anExpiredEvent({ key: Buffer.from('cart:1') }));
    await settled();
    expect((await outbox.depth('shop')).pending).toBe(0);
    expect(named('expired')).toHaveLength(1);
  });

  it('refuses a key that is too long to be sent, and logs it', async () => {
    const { capture, outbox, named } = aCapture();
    capture.push(order('x'.repeat(KEY_BYTES_MAX - 'order:'.length)));
    capture.push(order('x'.repeat(KEY_BYTES_MAX - 'order:'.length + 1)));
    await settled();
    expect((await outbox.depth('shop')).pending).toBe(1);
    expect(named('expirationOversized')).toHaveLength(1);
  });

  it('repeats a failed enqueue, with the same deliveries and batch, until it succeeds', async () => {
    const tried: string[][] = [];
    const batches = new Set<unknown>();
    const { capture, clock, named } = aCapture(async (deliveries, _, batch) => {
      tried.push(deliveries.map(({ id }) => id));
      batches.add(batch);
      if (tried.length < 3) throw new Error('reply lost');
      return [];
    });
    capture.push(order(1));
    await clock.advance(1_000);
    expect(tried).toHaveLength(3);
    expect(new Set(tried.flat()).size).toBe(1);
    expect(batches.size).toBe(1);
    expect(named('captureFailed')).toHaveLength(2);
  });

  it('suspends the queue, which keeps all events in order, when another replica holds the lease', async () => {
    const { capture, named } = aCapture(async () => {
      throw new FencedError('another replica holds the lease');
    });
    const found = { ...order(3), detectedBy: 'recovery' } as const;
    const events = [order(1), found, changed(1), order(1)];
    for (const event of events) capture.push(event);
    await capture.suspended(never);
    await settled();
    expect(capture.reset()).toMatchObject(events);
    expect(capture.queued).toBe(0);
    expect(named('leaseLost')).toEqual([['leaseLost', 4]]);
  });

  it('stores nothing of a slice that was given to the next term meanwhile', async () => {
    const { capture, clock, deadlines, outbox } = aCapture();
    const { find } = deadlines;
    let answer: () => void = () => undefined;
    deadlines.find = async (keys) => {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return find.call(deadlines, keys);
    };
    capture.push(order(1));
    await clock.advance(0);
    const events = capture.reset();
    deadlines.find = find;
    for (const event of events) capture.push(event);
    answer();
    await capture.drained(never);
    await settled();
    expect((await outbox.depth('shop')).pending).toBe(1);
  });

  it('is bounded while the outbox is stuck, and logs dropped expirations', async () => {
    const { capture, named } = aCapture(() => new Promise(() => undefined));
    capture.push(order(0));
    await settled();
    for (let id = 0; id < 50_010; id += 1) capture.push(order(id));
    expect(named('queueFull')).toHaveLength(11);
  });

  it('is bounded by the bytes of the keys too', async () => {
    const { capture, named } = aCapture(() => new Promise(() => undefined));
    const long = 'x'.repeat(KEY_BYTES_MAX - 'order:'.length);
    for (let id = 0; id < 70; id += 1) capture.push(order(long));
    expect(named('queueFull').length).toBeGreaterThan(0);
  });

  it('stores about 500 deliveries at once, for any number of endpoints', async () => {
    const sizes: number[] = [];
    const enqueue: Outbox['enqueue'] = async (deliveries) => {
      sizes.push(deliveries.length);
      return [];
    };
    const to = Array.from({ length: 20 }, (_, n) => `endpoint-${n}`);
    const { capture } = aCapture(enqueue, { to });
    for (let n = 0; n < 60; n += 1) {
      capture.push(anExpiredEvent({ key: Buffer.from(`order:${n}`) }));
    }
    await capture.drained(new AbortController().signal);
    expect(sizes).toEqual([500, 500, 200]);
  });

  it('yields to the rest of the process during a burst', async () => {
    const { capture, outbox } = aCapture();
    for (let id = 0; id < 2_000; id += 1) capture.push(order(id));
    let turns = 0;
    for (; (await outbox.depth('shop')).pending < 2_000; turns += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(turns).toBeGreaterThan(2);
  });

  it('waits at a stop until all expirations are in the outbox', async () => {
    const answers: (() => void)[] = [];
    const { capture } = aCapture(() => new Promise((resolve) => answers.push(() => resolve([]))));
    capture.push(order(1));
    let stopped = false;
    const stop = capture.stop(never).then(() => {
      stopped = true;
    });
    await settled();
    expect(stopped).toBe(false);
    answers[0]?.();
    await stop;
  });

  it('gives up at a stop when the grace is over, and logs the loss', async () => {
    const { capture, named } = aCapture(async () => {
      throw new Error('gone');
    });
    capture.push(order(1));
    await settled();
    for (const id of [2, 3]) capture.push(order(id));
    // Behind the expiration of its key, and so is the next one.
    capture.push(changed(1));
    capture.push(order(1));
    const grace = new AbortController();
    const stop = capture.stop(grace.signal);
    grace.abort();
    await stop;
    expect(named('abandoned')).toEqual([['abandoned', 4]]);
  });

  it('logs no loss at a stop when all expirations are in the outbox', async () => {
    const { capture, named } = aCapture();
    capture.push(order(1));
    await capture.stop(never);
    expect(named('abandoned')).toEqual([]);
    expect(named('flush')).toHaveLength(1);
  });
});

describe('the deadline of an expiration', () => {
  it('is taken from the index, and its entry is claimed with the deliveries', async () => {
    const { capture, deadlines, claimAll } = aCapture();
    await deadlines.put([deadlineOf(order(1))]);
    capture.push(order(1));
    await settled();
    const [delivery] = await claimAll();
    expect(delivery?.expiredAtMs).toBe(order(1).detectedAtMs - 3);
    expect(JSON.parse(`${delivery?.body}`)).toMatchObject({
      timestamp: '2026-11-22T06:00:10.000Z',
      data: { expired_at: '2026-11-22T06:00:10.000Z', detected_at: '2026-11-22T06:00:10.003Z' },
    });
    expect(await deadlines.count()).toBe(0);
  });

  it('belongs to one of two expirations of the same key; each has its own id', async () => {
    const { capture, deadlines, claimAll } = aCapture();
    await deadlines.put([deadlineOf(order(1))]);
    capture.push(order(1));
    capture.push(order(1));
    await settled();
    const deliveries = await claimAll();
    expect(deliveries.map(({ expiredAtMs }) => expiredAtMs)).toEqual([
      order(1).detectedAtMs - 3,
      null,
    ]);
    expect(new Set(deliveries.map(({ id }) => id)).size).toBe(2);
    expect(await deadlines.count()).toBe(0);
  });

  it.each([3, -100, -60_000])(
    'is unknown when the key was changed and not read, and its entry is removed: %i',
    async (agoMs) => {
      const { capture, deadlines, claimAll, steps } = aCapture();
      await deadlines.put([deadlineOf(order(1), agoMs)]);
      capture.push(changed(1));
      capture.push(order(1));
      await capture.drained(never);
      expect((await claimAll()).map(({ expiredAtMs }) => expiredAtMs)).toEqual([null]);
      expect(await deadlines.count()).toBe(0);
      expect(steps).toEqual(['changed order:1', 'claim order:1']);
    },
  );

  it('is unknown when the key was changed, and expired before it could be read', async () => {
    const { capture, deadlines, claimAll, given } = aCapture();
    await deadlines.put([deadlineOf(order(1))]);
    given.onBarrier = () => capture.push(order(1));
    capture.push(changed(1));
    await capture.drained(never);
    await capture.drained(never);
    expect((await claimAll()).map(({ expiredAtMs }) => expiredAtMs)).toEqual([null]);
    expect(await deadlines.count()).toBe(0);
  });

  it('is taken from the index for a key that is found missing, even after a change of it', async () => {
    const { capture, deadlines, claimAll } = aCapture();
    await deadlines.put([deadlineOf(order(1))]);
    capture.push(changed(1));
    await capture.drained(never);
    capture.push({ ...order(1), detectedBy: 'recovery' });
    await settled();
    const known = order(1).detectedAtMs - 3;
    expect((await claimAll()).map(({ expiredAtMs }) => expiredAtMs)).toEqual([known]);
  });

  it('is not the next deadline of a key that was set again', async () => {
    const { capture, deadlines, steps, claimAll } = aCapture();
    await deadlines.put([deadlineOf(order(1), -30)]);
    capture.push(order(1));
    capture.push(changed(1));
    await settled();
    expect((await claimAll()).map(({ expiredAtMs }) => expiredAtMs)).toEqual([null]);
    // It was treated as a late entry of the life that ended, and is read again.
    expect(await deadlines.count()).toBe(0);
    expect(steps.at(-1)).toBe('changed order:1');
  });

  it('is null when none was known', async () => {
    const { capture, claimAll } = aCapture();
    capture.push(order(1));
    await settled();
    expect((await claimAll()).map(({ expiredAtMs }) => expiredAtMs)).toEqual([null]);
  });

  it('is not after the detection, even if clocks differ by a few milliseconds', async () => {
    const { capture, deadlines, claimAll } = aCapture();
    await deadlines.put([deadlineOf(order(1), -5)]);
    capture.push(order(1));
    await settled();
    const [delivery] = await claimAll();
    expect(delivery?.detectedAtMs).toBe(delivery?.expiredAtMs);
  });

  it("is not taken from the key's next life, which stays tracked and is read again", async () => {
    const { capture, deadlines, given, steps, claimAll } = aCapture();
    await deadlines.put([deadlineOf(order(1), -60_000)]);
    // The change that began the next life is received only at the barrier.
    given.onBarrier = () => capture.push(changed(1));
    capture.push(order(1));
    await settled();
    expect((await claimAll()).map(({ expiredAtMs }) => expiredAtMs)).toEqual([null]);
    expect(await deadlines.count()).toBe(1);
    expect(steps).toEqual(['claim order:1', 'changed order:1']);
  });

  it('is not one that was shortened since: its entry is removed, so that no recovery follows', async () => {
    const { capture, deadlines, steps, claimAll } = aCapture();
    await deadlines.put([deadlineOf(order(1), -600)]);
    capture.push(order(1));
    await settled();
    expect((await claimAll()).map(({ expiredAtMs }) => expiredAtMs)).toEqual([null]);
    expect(await deadlines.count()).toBe(0);
    expect(steps).toEqual(['claim order:1']);
  });

  it('determines the id of the webhook: the same for a repeat, another for another deadline', async () => {
    const idAt = async (agoMs: number) => {
      const { capture, deadlines, claimAll } = aCapture();
      await deadlines.put([deadlineOf(order(1), agoMs)]);
      capture.push(order(1));
      await settled();
      return (await claimAll())[0]?.id;
    };
    expect(await idAt(3)).toBe(await idAt(3));
    expect(await idAt(4)).not.toBe(await idAt(3));
  });
});

describe('a recovery', () => {
  const recovered = (id: number): ExpiredEvent => ({ ...order(id), detectedBy: 'recovery' });

  it('is delivered with the deadline that was known', async () => {
    const { capture, deadlines, claimAll } = aCapture();
    await deadlines.put([deadlineOf(order(1))]);
    capture.push(recovered(1));
    await settled();
    expect(await claimAll()).toMatchObject([
      { detectedBy: 'recovery', expiredAtMs: order(1).detectedAtMs - 3 },
    ]);
  });

  it('has no effect when its entry has been claimed or removed by then', async () => {
    const { capture, deadlines, claimAll } = aCapture();
    await deadlines.put([deadlineOf(order(1))]);
    capture.push(order(1));
    await settled();
    capture.push(recovered(1));
    capture.push(order(2));
    await settled();
    expect(await claimAll()).toMatchObject([
      { keyLabel: 'order:1', detectedBy: 'notification' },
      { keyLabel: 'order:2' },
    ]);
  });

  it('is claimed without a webhook where the route has `skip`', async () => {
    const { capture, deadlines, outbox } = aCapture(undefined, { onAmbiguous: 'skip' });
    await deadlines.put([deadlineOf(order(1))]);
    capture.push(recovered(1));
    await settled();
    expect((await outbox.depth('shop')).pending).toBe(0);
    expect(await deadlines.count()).toBe(0);
  });
});

describe('a key that is reported as new', () => {
  const created = (id: number, detectedAtMs: number) =>
    ({ ...order(id), kind: 'created', detectedAtMs }) as const;

  /** A capture during the search for missed expirations; the deadline of order 1 was long ago. */
  async function catchingUp() {
    const parts = aCapture();
    parts.given.isCatchingUp = true;
    await parts.deadlines.put([deadlineOf(order(1), 60_000)]);
    return { ...parts, nowMs: order(1).detectedAtMs };
  }

  it('had expired without a notification if its deadline has passed: the expiration is captured', async () => {
    const { capture, claimAll, nowMs, steps } = await catchingUp();
    capture.push(created(1, nowMs));
    capture.push(changed(1));
    await capture.drained(never);
    expect(await claimAll()).toMatchObject([
      { detectedBy: 'recovery', expiredAtMs: nowMs - 60_000, detectedAtMs: nowMs },
    ]);
    expect(steps).toEqual(['claim order:1', 'changed order:1']);
  });

  it('had not expired unnoticed if its removal or expiration was received before', async () => {
    const { capture, claimAll, nowMs, deadlines } = await catchingUp();
    await deadlines.put([deadlineOf(order(2), 60_000)]);
    capture.push(removed(1));
    capture.push(created(1, nowMs));
    capture.push(order(2));
    capture.push(created(2, nowMs));
    await settled();
    expect(await claimAll()).toMatchObject([{ keyLabel: 'order:2', detectedBy: 'notification' }]);
  });

  it('had not expired if the deadline belongs to its new life', async () => {
    const { capture, claimAll, nowMs } = await catchingUp();
    capture.push(created(1, nowMs - 60_000));
    await settled();
    expect(await claimAll()).toEqual([]);
  });

  it('had not expired unnoticed if all expirations were received', async () => {
    const { capture, given, claimAll, nowMs } = await catchingUp();
    given.isCatchingUp = false;
    capture.push(created(1, nowMs));
    await settled();
    expect(await claimAll()).toEqual([]);
  });

  it('causes nothing if it is only touched: its deadline may be later', async () => {
    const { capture, claimAll } = await catchingUp();
    capture.push(changed(1));
    await settled();
    expect(await claimAll()).toEqual([]);
  });
});

describe('an expiration long before the deadline that is known', () => {
  const early = async (aheadMs: number, tellsRemovals = true) => {
    const parts = aCapture();
    parts.given.tellsRemovals = tellsRemovals;
    await parts.deadlines.put([deadlineOf(order(1), -aheadMs)]);
    parts.capture.push(order(1));
    await settled();
    const found = (await parts.claimAll()).map(({ expiredAtMs }) => expiredAtMs);
    return { ...parts, found };
  };

  it('is a removal where the server reports it as one, and is claimed without a webhook', async () => {
    const { found, steps, deadlines, named } = await early(1_001);
    expect(found).toEqual([]);
    expect(steps).toEqual(['claim order:1']);
    expect(await deadlines.count()).toBe(0);
    expect(named('removedEarly')).toHaveLength(1);
  });

  it('is an expiration within the tolerance of clocks, or where the server does not report removals', async () => {
    expect((await early(1_000)).found).toEqual([null]);
    expect((await early(60_000, false)).found).toEqual([null]);
  });

  it('is an expiration where the clock of Redis was set ahead: its time is read afterwards', async () => {
    const { capture, given, deadlines, server, claimAll } = aCapture();
    given.tellsRemovals = true;
    server.aheadMs = 3_600_000;
    await deadlines.put([deadlineOf(order(1), -60_000)]);
    capture.push(order(1));
    await settled();
    expect(server.asked).toBe(1);
    expect(await claimAll()).toMatchObject([{ expiredAtMs: order(1).detectedAtMs + 60_000 }]);
  });

  it('is an expiration where its key was set again since: the deadline may belong to the next life', async () => {
    const { capture, given, deadlines, claimAll } = aCapture();
    given.tellsRemovals = true;
    await deadlines.put([deadlineOf(order(1), -60_000)]);
    capture.push(order(1));
    given.onBarrier = () => capture.push(changed(1));
    await settled();
    expect(await claimAll()).toMatchObject([{ expiredAtMs: null }]);
    expect(await deadlines.count()).toBe(1);
  });
});

describe('an expiration for which there was no room', () => {
  const QUEUED_MAX = 50_000;

  /** A capture that was full when order 1 expired, and has room again. */
  async function afterFlood(route: Partial<Route> = {}) {
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const enqueued: Delivery[] = [];
    const parts = aCapture(async (deliveries) => {
      await opened;
      enqueued.push(...deliveries);
      return [];
    }, route);
    const { capture, deadlines, named } = parts;
    await deadlines.put([deadlineOf(order(1))]);
    for (let id = 0; id < QUEUED_MAX; id += 1) capture.push(order(`flood:${id}`));
    capture.push(order(1));
    expect(named('queueFull')).toHaveLength(1);
    open();
    await capture.drained(never);
    const ofOrder1 = () => enqueued.filter(({ keyLabel }) => keyLabel === 'order:1');
    return { ...parts, ofOrder1 };
  }

  const found = (): ExpiredEvent => ({
    ...order(1),
    detectedAtMs: order(1).detectedAtMs + 60_000,
    detectedBy: 'recovery',
  });

  it('is no recovery when its key is found missing: Redis has published it', async () => {
    const { capture, ofOrder1, named } = await afterFlood({ onAmbiguous: 'skip' });
    capture.push(found());
    await settled();
    expect(ofOrder1()).toMatchObject([
      {
        detectedBy: 'notification',
        expiredAtMs: order(1).detectedAtMs - 3,
        detectedAtMs: order(1).detectedAtMs,
      },
    ]);
    expect(named('expirations_recovered')).toEqual([]);
  });

  it('is claimed before its key is read again', async () => {
    const { capture, steps, ofOrder1 } = await afterFlood();
    steps.length = 0;
    capture.push(changed(1));
    await capture.drained(never);
    await settled();
    expect(steps).toEqual(['claim order:1', 'changed order:1']);
    expect(ofOrder1()).toMatchObject([{ expiredAtMs: order(1).detectedAtMs - 3 }]);
  });

  it('causes no second webhook after later notices of its key', async () => {
    const { capture, deadlines, ofOrder1 } = await afterFlood();
    capture.push(found());
    await settled();
    // A key whose delivery is in the outbox is no longer in the index.
    await deadlines.remove([order(1)]);
    for (const event of [changed(1), removed(1)]) capture.push(event);
    capture.push(found());
    await capture.drained(never);
    await settled();
    expect(ofOrder1()).toHaveLength(1);
  });

  it('leaves the room for notices unchanged', async () => {
    const { capture, named } = aCapture(() => new Promise(() => undefined));
    for (let id = 0; id <= QUEUED_MAX; id += 1) capture.push(order(`flood:${id}`));
    capture.push(removed(1));
    expect(named('queueFull')).toHaveLength(1);
    expect(named('keyChangeDropped')).toEqual([]);
  });
});

describe('other notices', () => {
  it('are passed on once a key, and delay no expiration of another key', async () => {
    const { capture, deadlines, steps } = aCapture();
    await deadlines.put([deadlineOf(order(1))]);
    capture.push(changed(2));
    capture.push(order(1));
    capture.push(removed(3));
    capture.push(changed(4));
    capture.push(changed(2));
    await settled();
    await capture.drained(never);
    expect(steps).toHaveLength(3);
    expect(steps).toContain('claim order:1');
    expect(steps.filter((step) => !step.startsWith('claim'))).toEqual([
      'removed order:3',
      'changed order:2 order:4',
    ]);
  });

  it('of a key are processed before its expiration that was received after them', async () => {
    const { capture, steps } = aCapture();
    capture.push(changed(1));
    capture.push(order(1));
    capture.push(order(2));
    await capture.drained(never);
    expect(steps.filter((step) => step.includes('order:1'))).toEqual([
      'changed order:1',
      'claim order:1',
    ]);
  });

  it('of a key wait for its expiration that was received before them', async () => {
    const answers: (() => void)[] = [];
    const { capture, steps } = aCapture(
      () => new Promise((resolve) => answers.push(() => resolve([]))),
    );
    capture.push(order(1));
    capture.push(changed(1));
    await settled();
    expect(steps).toEqual(['claim order:1']);
    answers[0]?.();
    await capture.drained(never);
    expect(steps).toEqual(['claim order:1', 'changed order:1']);
  });

  it('and expirations of one key that is set repeatedly delay no other key', async () => {
    const { capture, steps, claimAll } = aCapture();
    for (let life = 0; life < 3; life += 1) {
      capture.push(changed(1));
      capture.push(order(1));
    }
    capture.push(order(2));
    await settled();
    expect(steps).toContain('claim order:2');
    await capture.drained(never);
    const life = ['changed order:1', 'claim order:1'];
    expect(steps.filter((step) => step.includes('order:1'))).toEqual([...life, ...life, ...life]);
    expect((await claimAll()).length).toBe(4);
  });

  it('are handled at once, and those that follow are gathered', async () => {
    const { capture, steps, clock } = aCapture();
    capture.push(changed(1));
    await settled();
    expect(steps).toEqual(['changed order:1']);
    capture.push(removed(1));
    await settled();
    capture.push(changed(2));
    await clock.advance(GATHER_MS - 1);
    expect(steps).toEqual(['changed order:1']);
    await clock.advance(1);
    expect(steps).toEqual(['changed order:1', 'removed order:1', 'changed order:2']);
  });

  it('are processed without a wait after a full slice', async () => {
    const { capture, steps } = aCapture();
    for (let n = 0; n < SLICE_MAX + 1; n += 1) capture.push(changed(n));
    await settled();
    expect(steps).toHaveLength(2);
  });

  it('of keys that match no route are ignored', async () => {
    const { capture, steps } = aCapture();
    capture.push({ ...changed(1), key: Buffer.from('cart:1') });
    await settled();
    expect(steps).toEqual([]);
  });

  it('without room are counted, and are no loss', async () => {
    const { capture, named } = aCapture(() => new Promise(() => undefined));
    capture.push(order(0));
    await settled();
    for (let id = 0; id < 50_010; id += 1) capture.push(changed(id));
    expect(named('keyChangeDropped')).toHaveLength(10);
    expect(named('queueFull')).toEqual([]);
  });

  it('pause the reading of due keys while too many wait', async () => {
    const answers: (() => void)[] = [];
    const { capture } = aCapture(() => new Promise((resolve) => answers.push(() => resolve([]))));
    await capture.room(never);
    for (let id = 0; id < 5_400; id += 1) capture.push(order(id));
    let hasRoom = false;
    const room = capture.room(never).then(() => {
      hasRoom = true;
    });
    await settled();
    expect(hasRoom).toBe(false);
    while (!hasRoom) {
      answers.pop()?.();
      await settled();
    }
    await room;
    expect(capture.queued).toBeLessThanOrEqual(5_000);
    expect(capture.queued).toBeGreaterThan(4_000);
  });

  it('that wait for the catch-up leave room for its findings, even if expirations wait behind them', async () => {
    const { capture, given } = aCapture();
    let endCatchUp: (isCaughtUp: boolean) => void = () => undefined;
    given.caughtUp = () => new Promise((resolve) => (endCatchUp = resolve));
    for (let id = 0; id < 5_100; id += 1) {
      capture.push(changed(id));
      capture.push(order(id));
    }
    await settled();
    const giveUp = new AbortController();
    let hasRoom = false;
    void capture.room(giveUp.signal).then(() => {
      hasRoom = true;
    });
    await settled();
    expect(hasRoom).toBe(true);
    giveUp.abort();
    given.caughtUp = async () => true;
    endCatchUp(true);
    await capture.drained(never);
    expect(capture.queued).toBe(0);
  });

  it('of one key that is set and deleted repeatedly become one', async () => {
    const { capture, deadlines, steps } = aCapture();
    await deadlines.put([deadlineOf(order(1), 60_000)]);
    for (let life = 0; life < 1_000; life += 1) {
      capture.push(changed(1));
      capture.push(removed(1));
    }
    capture.push(changed(1));
    expect(capture.queued).toBe(1);
    await capture.drained(never);
    expect(steps).toEqual(['removed order:1', 'changed order:1']);
    expect(await deadlines.count()).toBe(0);
  });

  it('delay `drained` until all of them are processed, or the signal aborts', async () => {
    const { capture } = aCapture(() => new Promise(() => undefined));
    await capture.drained(never);
    capture.push(order(0));
    const giveUp = new AbortController();
    const waiting = capture.drained(giveUp.signal);
    giveUp.abort();
    await waiting;
  });
});

describe('a body that would be too large', () => {
  it('is logged, and is the only webhook that is lost', async () => {
    const contentType = 'application/json';
    const pieces = compileTemplate(['{key}', '{key}', '{key}'], contentType);
    const format = { kind: 'template', contentType, pieces } as const;
    const { capture, claimAll, named } = aCapture(undefined, { format });
    const large = anExpiredEvent({
      key: Buffer.concat([Buffer.from('order:'), Buffer.alloc(1e6)]),
    });
    for (const expiration of [order(1), large, order(2)]) capture.push(expiration);
    await settled();
    expect((await claimAll()).map(({ keyLabel }) => keyLabel)).toEqual(['order:1', 'order:2']);
    const said = named('deliveriesOversized').filter(([, , refused]) => `${refused}` !== '');
    const refused = [{ route: 'cancel', endpoint: 'shop' }];
    expect(said).toMatchObject([
      ['deliveriesOversized', { key: large.key }, refused, BODY_BYTES_MAX],
    ]);
  });
});
