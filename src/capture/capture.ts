/**
 * Turns each expiration into its deliveries: dates it by the index of deadlines, builds its webhooks, stores them and
 * consumes its entry in one step.
 */
import type { Chance, Clock } from '../clock.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { Tracker } from '../deadlines/tracker.js';
import type { IndexTrust } from '../deadlines/trust.js';
import type { CaptureEvents } from '../events/capture-events.js';
import type { Outbox, Writer } from '../outbox/outbox.js';
import type { ServerClock } from '../redis/server-clock.js';
import type { ValueKeeper } from '../values/keeper.js';
import type { ClaimedKey, Delivery } from '../vocabulary.js';
import { buildClaims } from './claims.js';
import { type DatedExpiration, dated, isEarly, removal } from './dating.js';
import { correctDetected } from './detected.js';
import type { Dropped } from './dropped.js';
import type { EventProcessor } from './event-processor.js';
import type { EventQueue, QueuedEntry, RoutedExpiration } from './event-queue.js';
import type { Intake } from './intake.js';

export interface CaptureParts {
  readonly queue: EventQueue;
  readonly processor: EventProcessor;
  readonly intake: Pick<Intake, 'reread'>;
  readonly dropped: Dropped;
  readonly deadlines: Pick<Deadlines, 'of' | 'letGo'>;
  readonly tracker: Pick<Tracker, 'overtaken'>;
  readonly trust: Pick<IndexTrust, 'tellsRemovals' | 'barrier'>;
  readonly outbox: Pick<Outbox, 'beginBatch' | 'enqueue'>;
  readonly values: Pick<ValueKeeper, 'countMax' | 'valuesFor' | 'claimed'>;
  readonly serverClock: Pick<ServerClock, 'refresh' | 'corrected'>;
  readonly events: CaptureEvents;
  readonly clock: Clock;
  readonly chance: Chance;
}

export class Capture {
  readonly #parts: CaptureParts;

  constructor(parts: CaptureParts) {
    this.#parts = parts;
  }

  start(): void {
    const { processor } = this.#parts;
    for (const writer of ['plain', 'carrying'] as const) {
      processor.run(writer, (slice) => this.#capture(slice, writer));
    }
  }

  /** Resolves with whether all of the slice is captured. */
  async #capture(slice: readonly QueuedEntry[], writer: Writer): Promise<boolean> {
    const { processor, intake, deadlines, values, clock } = this.#parts;
    const expired = slice.flatMap(({ item }) => (item.kind === 'expired' ? [item] : []));
    const entriesMs = await processor.persist(() => deadlines.of(expired));
    if (entriesMs === null) return false;
    const expirations = await this.#date(slice, expired, entriesMs);
    const countMax = writer === 'carrying' ? values.countMax : expirations.length;
    for (let from = 0; from < expirations.length; ) {
      if (from > 0) await clock.turn();
      const some = expirations.slice(from, from + countMax);
      const carried =
        writer === 'carrying' ? await processor.persist(() => values.valuesFor(some)) : [];
      if (carried === null) return false;
      const { deliveries, claimed, built } = buildClaims(some, carried, this.#parts);
      if (!(await this.#store(deliveries, claimed, writer))) return false;
      // Leftovers are harmless: later lives of the key overwrite them, and `prune` deletes them.
      if (writer === 'carrying') void values.claimed(claimed).catch(() => undefined);
      from += built;
    }
    // An entry may be about another life, which may never have begun.
    const doubtful = expirations.filter(
      ({ expiration, isRemoval }, at) =>
        expiration.expiredAtMs === null && !isRemoval && (entriesMs[at] ?? null) !== null,
    );
    intake.reread(doubtful.map(({ expiration }) => expiration));
    return true;
  }

  /** The expirations with their deadlines. `entriesMs` are those of the index, which is about the lives that ended. */
  async #date(
    slice: readonly QueuedEntry[],
    expired: readonly RoutedExpiration[],
    entriesMs: readonly (number | null)[],
  ): Promise<readonly DatedExpiration[]> {
    const { queue, trust, serverClock } = this.#parts;
    const corrected = await correctDetected(expired, entriesMs, serverClock);
    const mayBeRemoved = corrected.map(
      (event, at) => isEarly(event, entriesMs[at] ?? null) && trust.tellsRemovals(event.database),
    );
    // A deadline that was read since the key was set again is about its next life, and the change has been published.
    const isHeard = !mayBeRemoved.includes(true) || (await trust.barrier());
    return corrected.map((event, at) => {
      const entryMs = entriesMs[at] ?? null;
      const isFollowed = slice[at] !== undefined && queue.hasNext(slice[at]);
      if (mayBeRemoved[at] && isHeard && !isFollowed) return removal(event, entryMs);
      return dated(event, entryMs, isFollowed);
    });
  }

  /** Resolves with whether it is stored. */
  async #store(
    deliveries: readonly Delivery[],
    claimed: readonly ClaimedKey[],
    writer: Writer,
  ): Promise<boolean> {
    if (deliveries.length + claimed.length === 0) return true;
    const { processor, outbox, tracker, deadlines, events } = this.#parts;
    const batch = await processor.persist(async () => outbox.beginBatch(writer));
    if (batch === null) return false;
    const refused = await processor.persist(() => {
      tracker.overtaken(claimed);
      return outbox.enqueue(deliveries, claimed, batch);
    });
    if (refused === null) return false;
    deadlines.letGo(claimed);
    events.outboxFull(refused);
    return true;
  }
}
