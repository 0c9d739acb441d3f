/**
 * Detects that a database was emptied. A flush removes all keys without notifications, which looks like a million
 * expirations. Therefore everything stored about the keys of such a database is deleted.
 */
import type { Deadlines } from '../deadlines/deadlines.js';
import type { Tracker } from '../deadlines/tracker.js';
import { DEADLINE_MS_MAX } from '../model/deadline.js';
import type { KeyInDatabase } from '../model/vocabulary.js';
import { keysIn, type Slots } from '../redis/slots.js';
import type { Marker } from '../source/marker.js';
import type { WatchEvents } from '../telemetry/watch-events.js';
import type { ValueKeeper } from '../values/keeper.js';

/** Overdue entries that are looked at; the others are found by the nudger. */
const OVERDUE_MAX = 20_000;

export interface FlushDetectorParts {
  readonly deadlines: Pick<Deadlines, 'forget' | 'scan' | 'overdue' | 'remove'>;
  readonly tracker: Pick<Tracker, 'clear'>;
  readonly values: Pick<ValueKeeper, 'forgetAll' | 'onRemoved'>;
  /** The slots of the primary. */
  readonly slots: Slots;
  readonly events: Pick<WatchEvents, 'databaseEmptied'>;
}

export class FlushDetector {
  readonly #parts: FlushDetectorParts;
  /** The databases and keys of the markers that have existed. */
  readonly #marked = new Set<string>();

  constructor(parts: FlushDetectorParts) {
    this.#parts = parts;
  }

  /** Forgets the keys of the database if it was emptied. Resolves with whether it was. */
  async forget(marker: Marker, database: number): Promise<boolean> {
    const { slots, tracker, events } = this.#parts;
    const name = `${database} ${marker.key}`;
    if (await marker.exists(database)) {
      this.#marked.add(name);
      return false;
    }
    const wasMarked = this.#marked.has(name);
    if (!slots.isAll && !wasMarked) {
      // The marker of another slot has moved with its slot: only one that was seen here shows a flush.
      await marker.write(database);
      this.#marked.add(name);
      return false;
    }
    // The keys are forgotten before the marker is written: a crash between the two must not hide the flush.
    tracker.clear();
    const forgotten = await (slots.isAll ? this.#forgetAll(database) : this.#forgetOwn(database));
    await marker.write(database);
    this.#marked.add(name);
    if (forgotten === 0 && !wasMarked) return false;
    events.databaseEmptied(database, forgotten);
    return true;
  }

  async #forgetAll(database: number): Promise<number> {
    const { deadlines, values } = this.#parts;
    const forgotten = await deadlines.forget(database);
    await values.forgetAll(database);
    return forgotten;
  }

  /** Forgets the keys in the slots of the primary. */
  async #forgetOwn(database: number): Promise<number> {
    const { deadlines, values, slots } = this.#parts;
    let forgotten = 0;
    const forget = async (keys: readonly KeyInDatabase[]) => {
      const own = keysIn(slots, keys);
      if (own.length === 0) return;
      await deadlines.remove(own);
      await values.onRemoved(own);
      forgotten += own.length;
    };
    for await (const keys of deadlines.scan(database)) await forget(keys);
    await forget(await deadlines.overdue(database, DEADLINE_MS_MAX, OVERDUE_MAX));
    return forgotten;
  }
}
