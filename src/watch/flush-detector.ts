/**
 * Detects that a database was emptied. A flush removes all keys without notifications, which looks like a million
 * expirations. Therefore everything stored about the keys of such a database is deleted.
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
  /** The databases whose markers have existed. */
  readonly #marked = new Set<number>();

  constructor(parts: FlushDetectorParts) {
    this.#parts = parts;
  }

  /** Forgets the keys of the database if it was emptied. Resolves with whether it was. */
  async forget(marker: Marker, database: number): Promise<boolean> {
    const { deadlines, tracker, values, events } = this.#parts;
    if (await marker.exists(database)) {
      this.#marked.add(database);
      return false;
    }
    // The keys are forgotten before the marker is written: a crash between the two must not hide the flush.
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
