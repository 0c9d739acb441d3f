/**
 * Goes through the keys and through the index, and makes the index true to the keys: once as fast as
 * others allow, when listening begins, and slowly ever after, for what was missed.
 */
import type { Bell } from '../bell.js';
import type { Clock } from '../clock.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { Tracker } from '../deadlines/tracker.js';
import type { WatchEvents } from '../events/watch-events.js';
import type { Keyspace } from '../source/keyspace.js';
import { pace, sweep } from '../source/sweep.js';
import type { ValueKeeper } from '../values/keeper.js';
import type { KeyInDatabase } from '../vocabulary.js';

/** What catches up is to be over soon; the later sweeps only mend what was missed. */
const URGENT_SHARE = 0.8;
const LATER_SHARE = 0.02;

/** From one sweep to the next. */
const SWEEP_EVERY_MS = 60_000;

/** How long a configuration may be away, such as in a roll-back, and still send what expired meanwhile. */
const ASIDE_KEPT_MS = 24 * 3_600_000;

export interface SweeperParts {
  readonly databases: readonly number[];
  /** What to look for, as Redis's own globs. */
  readonly globs: readonly (string | null)[];
  readonly isWanted: (key: Buffer) => boolean;
  readonly deadlines: Deadlines;
  readonly tracker: Tracker;
  /** Null when no route asks for a value. */
  readonly values: ValueKeeper | null;
  /** The time by the clock of the Redis that holds the keys. */
  readonly serverNowMs: () => number;
  readonly events: WatchEvents;
  readonly clock: Clock;
}

export class Sweeper {
  readonly #parts: SweeperParts;
  readonly #keyspace: Keyspace;

  constructor(parts: SweeperParts, keyspace: Keyspace) {
    this.#parts = parts;
    this.#keyspace = keyspace;
  }

  /** Until the signal aborts; `sweepNow` rings when a sweep must not wait for its time. */
  async run(sweepNow: Bell, signal: AbortSignal): Promise<void> {
    const { databases, globs, deadlines, values, serverNowMs, clock, events } = this.#parts;
    let share = URGENT_SHARE;
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      const rungBefore = sweepNow.rung;
      const beganAtMs = clock.monotonicMs();
      let found = 0;
      for (const database of databases) {
        for (const glob of globs) found += await this.#sweep(database, glob, share, signal);
        if (!isFirst) await this.#reconcile(database, share, signal);
        await values?.prune(database, serverNowMs());
        await deadlines.forgetAside(database, Math.floor(serverNowMs()) - ASIDE_KEPT_MS);
      }
      if (signal.aborted) return;
      events.swept(found, clock.monotonicMs() - beganAtMs);
      if (sweepNow.rung === rungBefore) await sweepNow.wait(clock, SWEEP_EVERY_MS, signal);
      share = sweepNow.rung === rungBefore ? LATER_SHARE : URGENT_SHARE;
    }
  }

  /** Catches up with what became of the keys of the index while nobody listened. */
  async reconcile(database: number, signal: AbortSignal): Promise<void> {
    await this.#reconcile(database, URGENT_SHARE, signal);
  }

  /**
   * Reads all keys of the index again: what was deleted, persisted or given another life before its
   * deadline, while nobody listened, is no expiration.
   */
  async #reconcile(database: number, share: number, signal: AbortSignal): Promise<void> {
    const { deadlines, clock } = this.#parts;
    for await (const keys of deadlines.scan(database)) {
      if (signal.aborted) return;
      const beganAtMs = clock.monotonicMs();
      await this.#track(keys);
      await pace(beganAtMs, share, clock, signal);
    }
  }

  async #sweep(
    database: number,
    glob: string | null,
    share: number,
    signal: AbortSignal,
  ): Promise<number> {
    const { isWanted, clock } = this.#parts;
    const keyspace = this.#keyspace;
    let found = 0;
    let writing: Promise<unknown> = Promise.resolve();
    const batches = sweep({ keyspace, database, glob, isWanted, share, clock }, signal);
    for await (const keys of batches) {
      await writing;
      // While it is read and written the next batch is looked for.
      writing = this.#track(keys);
      writing.catch(() => undefined);
      found += keys.length;
    }
    await writing;
    return found;
  }

  /** Writes down what these keys are now. */
  async #track(keys: readonly KeyInDatabase[]): Promise<void> {
    const { tracker, values } = this.#parts;
    const readings = await tracker.changed(keys, this.#keyspace);
    await values?.tracked(readings);
  }
}
