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

export interface IndexUpdaterParts {
  readonly queue: EventQueue;
  readonly processor: EventProcessor;
  readonly routing: Pick<Routing, 'match'>;
  readonly deadlines: Pick<Deadlines, 'find'>;
  readonly tracker: Pick<Tracker, 'reread' | 'remove'>;
  readonly values: Pick<ValueKeeper, 'onTracked' | 'onPersistent' | 'onRemoved'>;
  readonly trust: Pick<IndexTrust, 'caughtUp' | 'lose' | 'barrier'>;
}

/** While this replica holds the lease and listens. */
interface Term {
  readonly session: Pick<Session, 'keyspace' | 'isPrimary'>;
  /** Asks for a sweep of all keys, now. */
  readonly sweepNow: () => void;
}

export class IndexUpdater {
  readonly #parts: IndexUpdaterParts;
  #term: Term | null = null;

  constructor(parts: IndexUpdaterParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#parts.processor.run('changes', (slice) => this.#apply(slice));
  }

  begin(term: Term): void {
    this.#term = term;
  }

  /** What is queued is dropped from now on: the next term reads all keys again. */
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
    // What is read of a key from now on does not hide that it had expired before.
    if ((await trust.caughtUp()) && !(await this.#captureEarlierLives(slice))) return false;
    if ((await processor.persist(() => this.#remove(removed))) === null) return false;
    const missing = await processor.persist(() => this.#read(changed));
    if (missing === null) return false;
    if (missing.length > 0) await this.#outdate(slice, missing);
    return true;
  }

  /** Keys that were created although the deadlines of their lives before had passed: these had expired unheard. */
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
      const matches = routing.match(event.key);
      queue.follow(entry, { ...event, kind: 'expired', detectedBy: 'recovery', matches });
    }
    return true;
  }

  /** Keys that changed, and had expired before their deadlines were read: the index has older ones. */
  async #outdate(slice: readonly QueuedEntry[], missing: readonly KeyInDatabase[]): Promise<void> {
    // A key that expired before it was read is published to have: its event is queued behind the change.
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
   * Resolves with the keys that are gone. A key that cannot be read now is read by the next sweep. Rejects when the
   * deadlines cannot be stored.
   */
  async #read(keys: readonly ChangedKey[]): Promise<readonly KeyInDatabase[]> {
    const term = this.#term;
    if (term === null || keys.length === 0) return [];
    const { tracker, values, trust } = this.#parts;
    const read = async (wanted: readonly KeyInDatabase[]) => {
      try {
        return await term.session.keyspace.read(wanted);
      } catch {
        // A connection that stands may refuse, too, and no gap begins with that.
        trust.lose();
        term.sweepNow();
        return [];
      }
    };
    const readings = await tracker.reread(keys, { read });
    await values.onPersistent(readings);
    // Nobody waits for a large value.
    void values.onTracked(readings);
    return readings.filter(({ ttl }) => ttl === 'missing');
  }

  /**
   * A server that was demoted publishes a removal of each key that expires on the new primary, too: removals count
   * once the server has been asked after them. The next term reads again what is left.
   */
  async #remove(keys: readonly KeyInDatabase[]): Promise<void> {
    const term = this.#term;
    if (term === null || keys.length === 0) return;
    try {
      await term.session.isPrimary();
    } catch {
      // As above: the sweep reads again what the next term does not.
      return term.sweepNow();
    }
    const { tracker, values } = this.#parts;
    await tracker.remove(keys);
    await values.onRemoved(keys);
  }
}
