/** A watch, and small stand-ins for all around it that a test can see through and hold up. */
import { pino } from 'pino';
import { expect, onTestFinished } from 'vitest';
import { MemoryDeadlines } from '../../src/deadlines/memory-deadlines.js';
import { Tracker } from '../../src/deadlines/tracker.js';
import { WatchEvents } from '../../src/events/watch-events.js';
import { Metrics } from '../../src/metrics.js';
import type { Keyspace } from '../../src/source/keyspace.js';
import type { Session } from '../../src/source/session.js';
import type { ValueKeeper } from '../../src/values/keeper.js';
import type { Expiration, KeyInDatabase, KeyReading, Notice } from '../../src/vocabulary.js';
import { Watch } from '../../src/watch/watch.js';
import { at, NOW_MS } from '../deadlines/deadlines.contract.js';
import { ManualClock } from './manual-clock.js';

/** What is in Redis, as far as a watch reads it; nobody tells the watch when it changes. */
export class Keys {
  /** Deadlines by database and key; null: for ever. */
  readonly #keys = new Map<string, number | null>();
  readonly markers = new Set<number>();
  /** What was read, and when, in milliseconds since the beginning. */
  readonly reads: { readonly key: string; readonly atMs: number }[] = [];
  sweeps = 0;
  /** Whether the server publishes `expired` for keys that commands remove. */
  tellsRemovals = false;
  /** What every command is refused with. */
  trouble: Error | null = null;
  /** Why the server is not the primary. */
  demoted: Error | null = null;
  /** What has to happen until writes are carried out. */
  writable: () => Promise<void> = async () => {};
  readonly #clock: ManualClock;
  readonly #did: string[];

  constructor(clock: ManualClock, did: string[]) {
    this.#clock = clock;
    this.#did = did;
  }

  /** `inMs` from the beginning; null: for ever. */
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
    if (!this.#keys.has(name)) return { ...key, life: 'gone', deadlineMs: 0, readAtMs };
    if (typeof deadlineMs !== 'number') return { ...key, life: 'endless', deadlineMs: 0, readAtMs };
    return { ...key, life: 'until', deadlineMs, readAtMs };
  }

  #scan(database: number): Buffer[] {
    this.sweeps += 1;
    const names = [...this.#keys.keys()].filter((name) => name.startsWith(`${database}:`));
    return names.map((name) => Buffer.from(name.slice(name.indexOf(':') + 1)));
  }

  /** A stretch of listening to it; `heardAll` is what has to happen until all is heard. */
  session(heardAll: () => Promise<void>): Session {
    const unlessInTrouble = async <Reply>(reply: () => Reply): Promise<Reply> => {
      if (this.trouble !== null) throw this.trouble;
      return reply();
    };
    const read = (keys: readonly KeyInDatabase[]) =>
      unlessInTrouble(() => keys.map((key) => this.#read(key)));
    const scan = (database: number) =>
      unlessInTrouble(() => ({ next: '0', keys: this.#scan(database) }));
    const nudge = read;
    const keyspace = { read, nudge, scan } satisfies Pick<Keyspace, 'read' | 'nudge' | 'scan'>;
    const marker = {
      isThere: async (database: number) => {
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
    const session = { marker, heardAll, ...asked, keyspace, sweeping: keyspace };
    return session as unknown as Session;
  }
}

/** An index that writes down when a part of it is forgotten, and can be made to fail. */
class Index extends MemoryDeadlines {
  trouble: Error | null = null;
  /** The times until which all was said to be settled. */
  readonly settledUntil: number[] = [];
  readonly #did: string[];

  constructor(did: string[]) {
    super();
    this.#did = did;
  }

  override async put(readings: readonly KeyReading[]): Promise<void> {
    if (this.trouble !== null) throw this.trouble;
    await super.put(readings);
  }

  override async settled(untilMs: number): Promise<void> {
    if (this.trouble !== null) throw this.trouble;
    this.settledUntil.push(untilMs - NOW_MS);
  }

  override async forget(database: number): Promise<number> {
    const count = await super.forget(database);
    this.#did.push(`forgotten ${database}: ${count}`);
    return count;
  }
}

/** A watch that has not begun, and all around it. */
export function aWatch(given: { databases?: readonly number[]; values?: ValueKeeper } = {}) {
  const clock = new ManualClock(NOW_MS);
  const did: string[] = [];
  const keys = new Keys(clock, did);
  const index = new Index(did);
  const lines: { event: string; error?: string }[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const metrics = new Metrics({ endpoints: new Map(), routes: [] });
  const recovered: { key: string; atMs: number }[] = [];
  /** What has to happen until all that Redis said is heard, and until what was heard is stored. */
  const gates = { heardAll: async () => {}, settled: async (_: AbortSignal) => {} };
  let queued: Expiration[] = [];
  const capture = {
    expired: (expiration: Expiration) => {
      queued.push(expiration);
      expect(expiration.detectedBy).toBe('recovery');
      recovered.push({
        key: expiration.key.toString(),
        atMs: expiration.detectedAtMs - NOW_MS,
      });
    },
    noticed: ({ database, key }: Notice) => void watch.changed([{ database, key }]),
    settled: async (signal: AbortSignal) => {
      await gates.settled(signal);
      // As the outbox does.
      const deadlines = await index.of(queued);
      const claimed = queued.map(({ database, key, detectedAtMs }, n) => {
        return { database, key, deadlineMs: deadlines[n] ?? null, detectedAtMs };
      });
      queued = [];
      await index.claimed(claimed);
    },
    room: async () => undefined,
    isQueued: () => false,
  };
  const tracker = new Tracker(index, (key) => watch.tracked(key.database, key.deadlineMs));
  const watch = new Watch({
    databases: given.databases ?? [0],
    globs: [null],
    isWanted: (key) => key.toString().startsWith('order'),
    deadlines: index,
    tracker,
    capture,
    values: given.values ?? null,
    forgetValues: async () => undefined,
    serverNowMs: () => clock.nowMs(),
    events: new WatchEvents(log, metrics, clock),
    clock,
  });
  onTestFinished(() => watch.end());
  const session = keys.session(() => gates.heardAll());
  /** Lets it begin and catch up. */
  const begin = async () => {
    watch.begin(session);
    await clock.advance(0);
  };
  const logged = (event: string) => lines.filter((line) => line.event === event);
  const known = async (...names: string[]) =>
    (await index.of(names.map((name) => at(name)))).map((ms) => (ms === null ? null : ms - NOW_MS));
  return { watch, clock, keys, index, begin, session, logged, known, recovered, gates, did };
}
