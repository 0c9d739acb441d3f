/** A watch with fakes that a test can inspect and delay. */
import { pino } from 'pino';
import { expect, onTestFinished } from 'vitest';
import { EventProcessor } from '../../src/capture/event-processor.js';
import { createEventQueue } from '../../src/capture/event-queue.js';
import { Intake } from '../../src/capture/intake.js';
import { OverflowLog } from '../../src/capture/overflow-log.js';
import { IndexTrust } from '../../src/deadlines/index-trust.js';
import { MemoryDeadlines } from '../../src/deadlines/memory-deadlines.js';
import { Tracker } from '../../src/deadlines/tracker.js';
import type { KeyInDatabase, KeyReading } from '../../src/model/vocabulary.js';
import { ALL_SLOTS } from '../../src/redis/slots.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { Routing } from '../../src/routing/routes.js';
import type { Keyspace } from '../../src/source/keyspace.js';
import type { Session } from '../../src/source/session.js';
import { CaptureEvents } from '../../src/telemetry/capture-events.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { WatchEvents } from '../../src/telemetry/watch-events.js';
import { ValueKeeper } from '../../src/values/keeper.js';
import { MemoryValues } from '../../src/values/memory-values.js';
import { Baton } from '../../src/watch/baton.js';
import { GATHER_MS, IndexUpdater } from '../../src/watch/index-updater.js';
import { Owners } from '../../src/watch/owners.js';
import { RoutedKeyspace } from '../../src/watch/routed-keyspace.js';
import { Watch } from '../../src/watch/watch.js';
import { Watermark } from '../../src/watch/watermark.js';
import { at, NOW_MS } from '../deadlines/deadlines.contract.js';
import { aCapturedExpiration, aRoute } from './domain.js';
import { ManualClock } from './manual-clock.js';

/** The contents of Redis that a watch reads; changes are not published. */
export class Keys {
  /** Deadlines by database and key; null: no deadline. */
  readonly #keys = new Map<string, number | null>();
  readonly markers = new Set<number>();
  /** The keys that were read, with times in milliseconds since the beginning. */
  readonly reads: { readonly key: string; readonly atMs: number }[] = [];
  sweeps = 0;
  /** Whether the server publishes `expired` for keys that commands remove. */
  tellsRemovals = false;
  /** The error of every command. */
  trouble: Error | null = null;
  /** The reason that the server is not the primary. */
  demoted: Error | null = null;
  /** The condition for writes. */
  writable: () => Promise<void> = async () => {};
  readonly #clock: ManualClock;
  readonly #did: string[];

  constructor(clock: ManualClock, did: string[]) {
    this.#clock = clock;
    this.#did = did;
  }

  /** `inMs` from the beginning; null: no deadline. */
  set(key: string, inMs: number | null, database = 0): void {
    this.#keys.set(`${database}:${key}`, inMs === null ? null : NOW_MS + inMs);
  }

  delete(key: string, database = 0): void {
    this.#keys.delete(`${database}:${key}`);
  }

  flush(database = 0): void {
    this.markers.delete(database);
    for (const name of this.#keys.keys()) {
      if (name.startsWith(`${database}:`)) this.#keys.delete(name);
    }
  }

  readTimes(key: string): number[] {
    return this.reads.filter((read) => read.key === key).map(({ atMs }) => atMs);
  }

  #read(key: KeyInDatabase): KeyReading {
    const name = `${key.database}:${key.key}`;
    const readAtMs = this.#clock.nowMs();
    this.reads.push({ key: key.key.toString(), atMs: readAtMs - NOW_MS });
    const deadlineMs = this.#keys.get(name);
    if (typeof deadlineMs === 'number' && deadlineMs < readAtMs) this.#keys.delete(name);
    if (!this.#keys.has(name)) return { ...key, ttl: 'missing', deadlineMs: 0, readAtMs };
    if (typeof deadlineMs !== 'number')
      return { ...key, ttl: 'persistent', deadlineMs: 0, readAtMs };
    return { ...key, ttl: 'volatile', deadlineMs, readAtMs };
  }

  #scan(database: number): Buffer[] {
    this.sweeps += 1;
    const names = [...this.#keys.keys()].filter((name) => name.startsWith(`${database}:`));
    return names.map((name) => Buffer.from(name.slice(name.indexOf(':') + 1)));
  }

  /** A session with it; `barrier` resolves when all notifications are received. */
  session(barrier: () => Promise<void>): Session {
    const unlessInTrouble = async <Reply>(reply: () => Reply): Promise<Reply> => {
      if (this.trouble !== null) throw this.trouble;
      return reply();
    };
    const read = (keys: readonly KeyInDatabase[]) =>
      unlessInTrouble(() => keys.map((key) => this.#read(key)));
    const scan = (database: number) =>
      unlessInTrouble(() => ({ next: '0', keys: this.#scan(database) }));
    const nudge = read;
    const nowMs = () => this.#clock.nowMs();
    const keyspace = { read, nudge, scan, nowMs } satisfies Partial<Keyspace>;
    const marker = {
      exists: async (database: number) => {
        await this.writable();
        return unlessInTrouble(() => this.markers.has(database));
      },
      write: (database: number) =>
        unlessInTrouble(() => {
          this.markers.add(database);
          this.#did.push(`marker ${database}`);
        }),
    };
    const isPrimary = async () => {
      if (this.demoted !== null) throw this.demoted;
    };
    const tellsRemovals = () => this.tellsRemovals;
    const asked = { isPrimary, tellsRemovals };
    const session = { marker, barrier, ...asked, keyspace, sweepKeyspace: keyspace };
    return session as unknown as Session;
  }
}

/** An index that records when a database is forgotten, and can be made to fail. */
class Index extends MemoryDeadlines {
  trouble: Error | null = null;
  /** The settled marks: all events before them are captured or stored. */
  readonly settled: string[] = [];
  readonly #did: string[];

  constructor(did: string[]) {
    super();
    this.#did = did;
  }

  override async put(readings: readonly KeyReading[]): Promise<void> {
    if (this.trouble !== null) throw this.trouble;
    await super.put(readings);
  }

  override async advanceWatermark(marks: readonly string[]): Promise<void> {
    if (this.trouble !== null) throw this.trouble;
    this.settled.push(...marks);
  }

  override async forget(database: number): Promise<number> {
    const count = await super.forget(database);
    this.#did.push(`forgotten ${database}: ${count}`);
    return count;
  }
}

/** A watch that has not begun, with its parts; recovered expirations are captured like by the outbox. */
export function aWatch(given: { databases?: readonly number[]; values?: ValueKeeper } = {}) {
  const clock = new ManualClock(NOW_MS);
  const did: string[] = [];
  const keys = new Keys(clock, did);
  const index = new Index(did);
  const lines: { event: string; error?: string }[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const metrics = new Metrics({ endpoints: new Map(), routes: [] });
  const events = new CaptureEvents(log, metrics, clock);
  const recovered: { key: string; atMs: number }[] = [];
  /** Conditions for: all published notifications are received, and all received ones are stored. */
  const gates = { barrier: async () => {}, drained: async (_: AbortSignal) => {} };
  const routes = [aRoute({ patterns: [compilePattern('order*')] })];
  const routing = new Routing(() => routes, '{relay}:');
  const trust = new IndexTrust();
  const eventQueue = createEventQueue(clock);
  const queue = {
    drained: async (signal: AbortSignal) => {
      await gates.drained(signal);
      await eventQueue.drained(signal);
    },
    has: (key: KeyInDatabase) => eventQueue.has(key),
  };
  const intake = new Intake({
    routing,
    queue: eventQueue,
    overflow: new OverflowLog(clock),
    trust,
    serverNowMs: () => clock.nowMs(),
    events,
  });
  const processor = new EventProcessor({ queue: eventQueue, events, clock });
  const tracker = new Tracker(index);
  const values =
    given.values ??
    new ValueKeeper({
      routing: { routes: [] },
      values: new MemoryValues(),
      events: { unreadable: () => {}, stale: () => {}, omitted: () => {} },
      clock,
    });
  const owners = new Owners();
  const refreshTopology = async () => {};
  const keyspace = new RoutedKeyspace({ owners, trust, refreshTopology, clock });
  const updater = new IndexUpdater({
    owners,
    keyspace,
    clock,
    queue: eventQueue,
    processor,
    routing,
    deadlines: index,
    tracker,
    values,
    trust,
  });
  const marks = {
    written: 0,
    arrive: true,
    write: async () => {
      marks.written += 1;
      return marks.arrive ? `mark ${marks.written}` : null;
    },
  };
  const watch = new Watch({
    databases: given.databases ?? [0],
    routing: { globs: [null], isRouted: (key) => routing.isRouted(key) },
    deadlines: index,
    tracker,
    values,
    queue,
    intake,
    trust,
    marks,
    slots: ALL_SLOTS,
    owners,
    keyspace,
    watermark: new Watermark(index),
    nudging: new Baton(clock),
    serverNowMs: () => clock.nowMs(),
    events: new WatchEvents(log, metrics, clock),
    clock,
  });
  updater.start();
  processor.run('plain', async (slice) => {
    const found = slice.flatMap(({ item }) => (item.kind === 'expired' ? [item] : []));
    const deadlines = await index.find(found);
    const claimed = found.map(({ database, key, detectedAtMs, detectedBy }, n) => {
      expect(detectedBy).toBe('recovery');
      return aCapturedExpiration({ database, key, deadlineMs: deadlines[n] ?? null, detectedAtMs });
    });
    for (const { key, detectedAtMs } of found.filter((_, n) => deadlines[n] !== null)) {
      recovered.push({ key: key.toString(), atMs: detectedAtMs - NOW_MS });
    }
    await index.consume(claimed);
    return true;
  });
  onTestFinished(async () => {
    await watch.end();
    await processor.stop(AbortSignal.abort());
  });
  const session = keys.session(() => gates.barrier());
  /** Lets it begin and catch up. */
  const begin = async () => {
    watch.begin(session);
    await clock.advance(0);
  };
  /** Redis publishes that these keys have changed, or were removed; resolves once that is applied to the index. */
  const receive = async (kind: 'changed' | 'removed', ...what: readonly KeyInDatabase[]) => {
    for (const key of what) intake.push({ ...key, kind, detectedAtMs: clock.nowMs() });
    const drained = eventQueue.drained(new AbortController().signal);
    await clock.advance(GATHER_MS);
    await drained;
  };
  const logged = (event: string) => lines.filter((line) => line.event === event);
  const known = async (...names: string[]) =>
    (await index.find(names.map((name) => at(name)))).map((ms) =>
      ms === null ? null : ms - NOW_MS,
    );
  const parts = { watch, trust, clock, keys, index, session, gates, marks };
  return { ...parts, begin, receive, logged, known, recovered, did };
}
