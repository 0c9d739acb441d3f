/**
 * Keeps the index of deadlines up to date with changes other than expirations: reads the deadline of a changed key
 * again, and deletes the entry of a removed key.
 */
import { hadExpired } from '../capture/dating.js';
import type { EventProcessor } from '../capture/event-processor.js';
import type { EventQueue, QueuedEntry } from '../capture/event-queue.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { IndexTrust } from '../deadlines/index-trust.js';
import type { Tracker } from '../deadlines/tracker.js';
import type { Clock } from '../lib/clock.js';
import { keyId } from '../model/key-id.js';
import type { ChangedEvent, CreatedEvent, KeyInDatabase, KeyReading } from '../model/vocabulary.js';
import type { Routing } from '../routing/routes.js';
import type { ValueKeeper } from '../values/keeper.js';
import type { Owners } from './owners.js';
import type { RoutedKeyspace } from './routed-keyspace.js';

/** The wait for more changes, so that several keys share the requests to Redis. Few keys live for so short a time. */
export const GATHER_MS = 10;

/** How soon a key is read again that is about to move to another primary. */
export const MOVING_AGAIN_MS = 100;

export interface IndexUpdaterParts {
  readonly queue: EventQueue;
  readonly processor: EventProcessor;
  readonly routing: Pick<Routing, 'routesOf'>;
  readonly deadlines: Pick<Deadlines, 'find'>;
  readonly tracker: Pick<Tracker, 'reread' | 'remove'>;
  readonly values: Pick<ValueKeeper, 'onTracked' | 'onPersistent' | 'onRemoved'>;
  readonly trust: Pick<IndexTrust, 'caughtUp' | 'barrier'>;
  readonly owners: Owners;
  readonly clock: Clock;
  readonly keyspace: Pick<RoutedKeyspace, 'readChanged'>;
}

export class IndexUpdater {
  readonly #parts: IndexUpdaterParts;

  constructor(parts: IndexUpdaterParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#parts.processor.run('changes', (slice) => this.#apply(slice), GATHER_MS);
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
    if ((await trust.caughtUp(events)) && !(await this.#captureEarlierLives(slice))) return false;
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
    await this.#parts.trust.barrier(missing);
    const ids = new Set(missing.map(keyId));
    for (const { id, next } of slice) {
      if (next === null || !ids.has(id)) continue;
      const { item } = next;
      const isPublished = item.kind === 'expired' && item.detectedBy === 'notification';
      if (isPublished) next.item = { ...item, isOutdated: true };
    }
  }

  /**
   * Reads changed keys. Resolves with those that are not there, and whose deadlines may have changed. A key that cannot be
   * read now is read by the next sweep. Outside a term of its primary, a change is dropped: the next term reads all keys
   * again. Rejects when the deadlines cannot be stored.
   */
  async #read(keys: readonly ChangedEvent[]): Promise<readonly KeyInDatabase[]> {
    const { owners, keyspace, tracker, values } = this.#parts;
    if (owners.all.length === 0 || keys.length === 0) return [];
    const readings = await tracker.reread(keys, {
      read: async (wanted) => withRemovals(await keyspace.readChanged(wanted), keys),
    });
    this.#readAgain(keys, readings);
    await this.#removeMissing(keys, readings);
    await values.onPersistent(readings);
    // Not awaited: a large value must not delay other events.
    void values.onTracked(readings);
    // A migration announces keys at the node that is to have them, which does not change their deadlines.
    const hints = new Set(keys.flatMap((event) => (event.isHint ? keyId(event) : [])));
    const isThere = ({ ttl }: KeyReading) => ttl !== 'missing' && ttl !== 'elsewhere';
    return readings.filter((one) => !isThere(one) && !hints.has(keyId(one)));
  }

  /**
   * Deletes the entries of keys that the primary of their slot has removed, and that are missing, also if their deadlines
   * have passed by now: they did not expire.
   */
  async #removeMissing(
    events: readonly ChangedEvent[],
    readings: readonly KeyReading[],
  ): Promise<void> {
    const { tracker, values } = this.#parts;
    const removed = new Set(
      events.flatMap((event) => (event.isRemoval && !event.isHint ? keyId(event) : [])),
    );
    const gone = readings.filter((one) => one.ttl === 'missing' && removed.has(keyId(one)));
    if (gone.length === 0) return;
    await tracker.remove(gone);
    await values.onRemoved(gone);
  }

  /**
   * Reads keys again that were on their way from one primary to another. A primary that is away reads all keys later. The
   * deadline that was read after the change is in the index by now, and may be consumed by then.
   */
  #readAgain(events: readonly ChangedEvent[], readings: readonly KeyReading[]): void {
    const { owners, queue, clock } = this.#parts;
    if (owners.sole !== null) return;
    const away = new Set(readings.flatMap((one) => (one.ttl === 'elsewhere' ? keyId(one) : [])));
    if (away.size === 0) return;
    for (const [owner, some] of owners.group(events.filter((event) => away.has(keyId(event))))) {
      if (owner === null) continue;
      clock.after(MOVING_AGAIN_MS, () => {
        if (!owners.all.includes(owner)) return;
        for (const { kind, database, key, detectedAtMs, isRemoval, isHint } of some) {
          const what = { ...(isRemoval ? { isRemoval } : {}), ...(isHint ? { isHint } : {}) };
          queue.push({ kind, database, key, detectedAtMs, ...what });
        }
      });
    }
  }

  /**
   * Deletes the entries of removed keys, once the server is confirmed as the primary: a demoted server also publishes a
   * removal of each key that expires on the new primary. The next term reads the remaining keys again.
   */
  async #remove(keys: readonly KeyInDatabase[]): Promise<void> {
    const { owners, tracker, values } = this.#parts;
    for (const [owner, removed] of owners.group(keys)) {
      if (owner === null) continue;
      try {
        await owner.session.isPrimary();
      } catch {
        // If no new term begins, the sweep reads the keys again.
        owner.sweepNow();
        continue;
      }
      await tracker.remove(removed);
      await values.onRemoved(removed);
    }
  }
}

/** A key that is missing after its removal was missing from then on: it did not expire since. */
function withRemovals(
  readings: readonly KeyReading[],
  events: readonly ChangedEvent[],
): readonly KeyReading[] {
  const removed = events.filter(({ isRemoval }) => isRemoval);
  if (removed.length === 0) return readings;
  const removedAtMs = new Map(removed.map((event) => [keyId(event), event.detectedAtMs]));
  return readings.map((reading) => {
    const atMs = removedAtMs.get(keyId(reading)) ?? reading.readAtMs;
    return reading.ttl === 'missing' ? { ...reading, readAtMs: atMs } : reading;
  });
}
