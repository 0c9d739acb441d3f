/**
 * Whether a database was emptied: a flush takes all keys without a word, which looks like a million
 * expirations. What was known of its keys is forgotten then.
 */
import type { Deadlines } from '../deadlines/deadlines.js';
import type { Tracker } from '../deadlines/tracker.js';
import type { Marker } from '../source/marker.js';
import type { WatchEvents } from '../telemetry/watch-events.js';
import type { ValueKeeper } from '../values/keeper.js';

export interface FlushDetectorParts {
  readonly deadlines: Pick<Deadlines, 'forget'>;
  readonly tracker: Pick<Tracker, 'clear'>;
  readonly values: Pick<ValueKeeper, 'forgetAll'>;
  readonly events: Pick<WatchEvents, 'databaseEmptied'>;
}

export class FlushDetector {
  readonly #parts: FlushDetectorParts;
  /** The databases whose markers have been there. */
  readonly #marked = new Set<number>();

  constructor(parts: FlushDetectorParts) {
    this.#parts = parts;
  }

  /** Resolves with whether it was: what was known of its keys is true no longer. */
  async forget(marker: Marker, database: number): Promise<boolean> {
    const { deadlines, tracker, values, events } = this.#parts;
    if (await marker.exists(database)) {
      this.#marked.add(database);
      return false;
    }
    // Forgotten before the marker is there again: a crash between the two must not look like no flush.
    tracker.clear();
    const forgotten = await deadlines.forget(database);
    await values.forgetAll(database);
    await marker.write(database);
    const isFirst = forgotten === 0 && !this.#marked.has(database);
    this.#marked.add(database);
    if (isFirst) return false;
    events.databaseEmptied(database, forgotten);
    return true;
  }
}
