/**
 * Keeps the index of deadlines up to date with changes other than expirations: reads the deadline of a changed key
 * again, and deletes the entry of a removed key.
 */
import { hadExpired } from '../capture/dating.js';
import type { EventProcessor } from '../capture/event-processor.js';
import type { EventQueue, QueuedEntry } from '../capture/event-queue.js';
import type { ChangedKey, Deadlines } from '../deadlines/deadlines.js';
import type { IndexTrust } from '../deadlines/index-trust.js';
import type { Tracker } from '../deadlines/tracker.js';
import { keyId } from '../model/key-id.js';
import type { CreatedEvent, KeyInDatabase } from '../model/vocabulary.js';
import type { Routing } from '../routing/routes.js';
import type { Session } from '../source/session.js';
import type { ValueKeeper } from '../values/keeper.js';

/** The wait for more changes, so that several keys share the requests to Redis. Few keys live for so short a time. */
export const GATHER_MS = 10;

export interface IndexUpdaterParts {
  readonly queue: EventQueue;
  readonly processor: EventProcessor;
  readonly routing: Pick<Routing, 'routesOf'>;
  readonly deadlines: Pick<Deadlines, 'find'>;
  readonly tracker: Pick<Tracker, 'reread' | 'remove'>;
  readonly values: Pick<ValueKeeper, 'onTracked' | 'onPersistent' | 'onRemoved'>;
  readonly trust: Pick<IndexTrust, 'caughtUp' | 'lose' | 'barrier'>;
}

/** A period in which this replica holds the lease and listens. */
interface Term {
  readonly session: Pick<Session, 'keyspace' | 'isPrimary'>;
  /** Requests an immediate sweep of all keys. */
  readonly sweepNow: () => void;
}

export class IndexUpdater {
  readonly #parts: IndexUpdaterParts;
  #term: Term | null = null;

  constructor(parts: IndexUpdaterParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#parts.processor.run('changes', (slice) => this.#apply(slice), GATHER_MS);
  }

  begin(term: Term): void {
    this.#term = term;
  }

  /** Drops queued changes from now on: the next term reads all keys again. */
  end(): void {
    this.#term = null;
  }

  /** Resolves with whether the slice is applied. */
  async #apply(slice: readonly QueuedEntry[]): Promise<boolean> {
    const { processor, trust } = this.#parts;
    const events = slice.map(({ item }) => item);
    const changed = events.filter((event) => event.kind === 'changed');
    const removed = events.filter(
      (event) => event.kind === 'removed' || (event.kind === 'changed' && event.followsRemoval),
    );
    // Expirations of earlier lives are captured first: a new reading of the key would hide them.
    if ((await trust.caughtUp()) && !(await this.#captureEarlierLives(slice))) return false;
    if ((await processor.persist(() => this.#remove(removed))) === null) return false;
    const missing = await processor.persist(() => this.#read(changed));
    if (missing === null) return false;
    if (missing.length > 0) await this.#outdate(slice, missing);
    return true;
  }

  /** Captures the missed expirations of keys that were created again after the deadlines of their earlier lives. */
  async #captureEarlierLives(slice: readonly QueuedEntry[]): Promise<boolean> {
    const { queue, processor, deadlines, routing } = this.#parts;
    const created = slice.flatMap((entry) =>
      entry.item.kind === 'created' ? [{ entry, event: entry.item }] : [],
    );
    if (created.length === 0) return true;
    const keys: readonly CreatedEvent[] = created.map(({ event }) => event);
    const entriesMs = await processor.persist(() => deadlines.find(keys));
    if (entriesMs === null) return false;
    for (const [at, { entry, event }] of created.entries()) {
      if (!hadExpired(event, entriesMs[at] ?? null)) continue;
      const routes = routing.routesOf(event.key);
      queue.follow(entry, { ...event, kind: 'expired', detectedBy: 'recovery', routes });
    }
    return true;
  }

  /** Marks expirations as outdated: the keys expired before their new deadlines were read; the index has older ones. */
  async #outdate(slice: readonly QueuedEntry[], missing: readonly KeyInDatabase[]): Promise<void> {
    // The expiration of such a key is already published: after the barrier it is queued behind the change.
    await this.#parts.trust.barrier();
    const ids = new Set(missing.map(keyId));
    for (const { id, next } of slice) {
      if (next === null || !ids.has(id)) continue;
      const { item } = next;
      const isPublished = item.kind === 'expired' && item.detectedBy === 'notification';
      if (isPublished) next.item = { ...item, isOutdated: true };
    }
  }

  /**
   * Reads changed keys. Resolves with the missing ones. A key that cannot be read now is read by the next sweep.
   * Rejects when the deadlines cannot be stored.
   */
  async #read(keys: readonly ChangedKey[]): Promise<readonly KeyInDatabase[]> {
    const term = this.#term;
    if (term === null || keys.length === 0) return [];
    const { tracker, values, trust } = this.#parts;
    const read = async (wanted: readonly KeyInDatabase[]) => {
      try {
        return await term.session.keyspace.read(wanted);
      } catch {
        // A refused read begins no gap if the connection stays open.
        trust.lose();
        term.sweepNow();
        return [];
      }
    };
    const readings = await tracker.reread(keys, { read });
    await values.onPersistent(readings);
    // Not awaited: a large value must not delay other events.
    void values.onTracked(readings);
    return readings.filter(({ ttl }) => ttl === 'missing');
  }

  /**
   * Deletes the entries of removed keys, once the server is confirmed as the primary: a demoted server also publishes a
   * removal of each key that expires on the new primary. The next term reads the remaining keys again.
   */
  async #remove(keys: readonly KeyInDatabase[]): Promise<void> {
    const term = this.#term;
    if (term === null || keys.length === 0) return;
    try {
      await term.session.isPrimary();
    } catch {
      // As above: if no new term begins, the sweep reads the keys again.
      return term.sweepNow();
    }
    const { tracker, values } = this.#parts;
    await tracker.remove(keys);
    await values.onRemoved(keys);
  }
}
