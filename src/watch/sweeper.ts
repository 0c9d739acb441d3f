/**
 * Reads all keys and all tracked entries of the index, and corrects the index: once at high speed when a term begins,
 * and slowly from then on, for changes that were missed.
 */
import type { EventQueue } from '../capture/event-queue.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { Tracker } from '../deadlines/tracker.js';
import type { Clock } from '../lib/clock.js';
import type { Condition } from '../lib/condition.js';
import type { KeyInDatabase, KeyReading } from '../model/vocabulary.js';
import { keysIn, type Slots } from '../redis/slots.js';
import type { Routing } from '../routing/routes.js';
import type { Session } from '../source/session.js';
import type { WatchEvents } from '../telemetry/watch-events.js';
import type { ValueKeeper } from '../values/keeper.js';
import { pace, sweep } from './sweep.js';

/** Shares of the time, 0 to 1. Catching up must end soon; later sweeps only correct what was missed. */
const URGENT_SHARE = 0.8;
const LATER_SHARE = 0.02;

/** The pause between two sweeps. */
const SWEEP_EVERY_MS = 60_000;

/** How long a configuration may be absent, as in a rollback, and still deliver the expirations of that time. */
const ASIDE_KEPT_MS = 24 * 3_600_000;

export interface SweeperParts {
  readonly databases: readonly number[];
  readonly routing: Pick<Routing, 'globs' | 'isRouted'>;
  readonly deadlines: Deadlines;
  readonly tracker: Tracker;
  readonly queue: Pick<EventQueue, 'has' | 'drained'>;
  readonly values: ValueKeeper;
  /** The slots of the primary. */
  readonly slots: Slots;
  /** The session; `sweepKeyspace` has a connection of its own. */
  readonly session: Pick<Session, 'sweepKeyspace' | 'barrier'>;
  /** The time by the clock of the Redis that holds the keys, in milliseconds. */
  readonly serverNowMs: () => number;
  readonly events: WatchEvents;
  readonly clock: Clock;
}

export class Sweeper {
  readonly #parts: SweeperParts;

  constructor(parts: SweeperParts) {
    this.#parts = parts;
  }

  /**
   * Sweeps until the signal aborts. A notification of `sweepNow` makes the next sweep fast and immediate: keys have come,
   * or routes. The current sweep hurries up.
   */
  async run(sweepNow: Condition, signal: AbortSignal): Promise<void> {
    const { databases, routing, deadlines, values, serverNowMs, clock, events } = this.#parts;
    let isUrgent = true;
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      const { version } = sweepNow;
      const shareMin = isUrgent ? URGENT_SHARE : LATER_SHARE;
      const share = () => (sweepNow.version === version ? shareMin : URGENT_SHARE);
      const beganAtMs = clock.monotonicMs();
      let found = 0;
      for (const database of databases) {
        if (isUrgent && !isFirst) {
          await deadlines.bringBack(database, (key) => routing.isRouted(key));
        }
        for (const glob of routing.globs) found += await this.#sweep(database, glob, share, signal);
        if (!isFirst) await this.#reconcile(database, share, signal);
        await values.prune(database, serverNowMs());
        await deadlines.forgetAside(database, Math.floor(serverNowMs()) - ASIDE_KEPT_MS);
      }
      if (signal.aborted) return;
      events.swept(found, clock.monotonicMs() - beganAtMs);
      if (sweepNow.version === version) await sweepNow.wait(clock, SWEEP_EVERY_MS, signal);
      isUrgent = sweepNow.version !== version;
    }
  }

  /** Corrects entries whose keys changed while no replica listened. */
  async reconcile(database: number, signal: AbortSignal): Promise<void> {
    await this.#reconcile(database, () => URGENT_SHARE, signal);
  }

  /**
   * Reads the keys of all tracked entries again. A key that was deleted, persisted or set again before its deadline did
   * not expire, even if no replica received that change.
   */
  async #reconcile(database: number, share: () => number, signal: AbortSignal): Promise<void> {
    const { deadlines, slots, clock } = this.#parts;
    for await (const all of deadlines.scan(database)) {
      if (signal.aborted) return;
      const keys = keysIn(slots, all);
      if (keys.length === 0) continue;
      const beganAtMs = clock.monotonicMs();
      await this.#track(keys, signal);
      await pace(beganAtMs, share(), clock, signal);
    }
  }

  async #sweep(
    database: number,
    glob: string | null,
    share: () => number,
    signal: AbortSignal,
  ): Promise<number> {
    const { routing, session, clock } = this.#parts;
    const keyspace = session.sweepKeyspace;
    const isRouted = (key: Buffer) => routing.isRouted(key);
    let found = 0;
    let writing: Promise<unknown> = Promise.resolve();
    const batches = sweep({ keyspace, database, glob, isRouted, share, clock }, signal);
    for await (const keys of batches) {
      await writing;
      // The next batch is scanned while this one is read and written.
      writing = this.#track(keys, signal);
      writing.catch(() => undefined);
      found += keys.length;
    }
    await writing;
    return found;
  }

  /** Reads these keys, and writes their deadlines to the index. */
  async #track(keys: readonly KeyInDatabase[], signal: AbortSignal): Promise<void> {
    const { tracker, values } = this.#parts;
    const read = (wanted: readonly KeyInDatabase[]) => this.#read(wanted, signal);
    const readings = await tracker.reread(keys, { read });
    await values.onTracked(readings);
  }

  /**
   * Reads keys. Resolves once the expirations from before the reading are captured: an expired key may be set again
   * already, and the reading then has the deadline of the next life.
   */
  async #read(keys: readonly KeyInDatabase[], signal: AbortSignal): Promise<readonly KeyReading[]> {
    const { queue, session } = this.#parts;
    const readings = await session.sweepKeyspace.read(keys);
    await session.barrier();
    if (keys.some((key) => queue.has(key))) await queue.drained(signal);
    return readings;
  }
}
