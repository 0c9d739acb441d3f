/**
 * Turns each expiration into its deliveries: dates the expiration by the index of deadlines, and builds its webhooks.
 * The deliveries are stored, and the index entry is consumed, in one step.
 */
import type { IndexTrust } from '../deadlines/index-trust.js';
import type { Tracker } from '../deadlines/tracker.js';
import type { Chance, Clock } from '../lib/clock.js';
import type { CapturedExpiration, Delivery } from '../model/vocabulary.js';
import type { Outbox, Writer } from '../outbox/outbox.js';
import type { ServerClock } from '../redis/server-clock.js';
import type { CaptureEvents } from '../telemetry/capture-events.js';
import type { ValueKeeper } from '../values/keeper.js';
import { buildBatch } from './capture-batch.js';
import { type DatedExpiration, dated, isYetToCome } from './dating.js';
import { correctDetected } from './detected.js';
import type { EventProcessor } from './event-processor.js';
import type { EventQueue, QueuedEntry, RoutedExpiration } from './event-queue.js';
import type { Intake } from './intake.js';
import type { OverflowLog } from './overflow-log.js';

export interface CaptureParts {
  readonly queue: Pick<EventQueue, 'isCurrent'>;
  readonly processor: EventProcessor;
  readonly intake: Pick<Intake, 'reread'>;
  readonly overflow: OverflowLog;
  readonly tracker: Pick<Tracker, 'find' | 'invalidate'>;
  readonly trust: Pick<IndexTrust, 'tellsRemovals' | 'barrier'>;
  readonly outbox: Pick<Outbox, 'beginBatch' | 'enqueue'>;
  readonly values: Pick<ValueKeeper, 'countMax' | 'valuesFor' | 'onCaptured'>;
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

  /** Resolves with whether the whole slice is captured. */
  async #capture(slice: readonly QueuedEntry[], writer: Writer): Promise<boolean> {
    const { queue, processor, intake, tracker, values, clock } = this.#parts;
    const expired = slice.flatMap(({ item }) => (item.kind === 'expired' ? [item] : []));
    const entriesMs = await processor.persist(() => tracker.find(expired));
    if (entriesMs === null) return false;
    const expirations = await this.#date(slice, expired, entriesMs);
    const countMax = writer === 'carrying' ? values.countMax : expirations.length;
    for (let from = 0; from < expirations.length; ) {
      if (from > 0) await clock.turn();
      const some = expirations.slice(from, from + countMax);
      const carried =
        writer === 'carrying' ? await processor.persist(() => values.valuesFor(some)) : [];
      if (carried === null) return false;
      const { deliveries, captured, built } = buildBatch(some, carried, this.#parts);
      // After a reset of the queue, another term may capture the same events.
      if (slice[0] === undefined || !queue.isCurrent(slice[0])) return false;
      if (!(await this.#store(deliveries, captured, writer))) return false;
      // Leftovers are harmless: later lives of the key overwrite them, and `prune` deletes them.
      if (writer === 'carrying') void values.onCaptured(captured).catch(() => undefined);
      from += built;
    }
    // An entry that is not consumed may be for a next life that never began: its key is read again.
    const doubtful = expirations.filter(
      ({ entryMs }, at) => entryMs === null && (entriesMs[at] ?? null) !== null,
    );
    intake.reread(doubtful.map(({ expiration }) => expiration));
    return true;
  }

  /** Dates the expirations. `entriesMs` holds the deadline of each in the index, in the order of `expired`. */
  async #date(
    slice: readonly QueuedEntry[],
    expired: readonly RoutedExpiration[],
    entriesMs: readonly (number | null)[],
  ): Promise<readonly DatedExpiration[]> {
    const { trust, serverClock } = this.#parts;
    const corrected = await correctDetected(expired, entriesMs, serverClock);
    const entryOf = (at: number) => entriesMs[at] ?? null;
    const doubtful = corrected.filter((event, at) => isYetToCome(event, entryOf(at)));
    // If an entry is for the next life, the change that began that life has been published: the barrier waits for it.
    const isReceived = doubtful.length > 0 ? await trust.barrier(doubtful) : () => false;
    return corrected.map((event, at) => {
      const isFollowed = (slice[at]?.next ?? null) !== null;
      const isAllReceived = isReceived(event);
      const tellsRemovals = isAllReceived && trust.tellsRemovals(event);
      return dated(event, entryOf(at), { isFollowed, isAllReceived, tellsRemovals });
    });
  }

  /** Resolves with whether the batch is stored. */
  async #store(
    deliveries: readonly Delivery[],
    captured: readonly CapturedExpiration[],
    writer: Writer,
  ): Promise<boolean> {
    if (deliveries.length + captured.length === 0) return true;
    const { processor, outbox, tracker, events } = this.#parts;
    const batch = await processor.persist(async () => outbox.beginBatch(writer));
    if (batch === null) return false;
    const refused = await processor.persist(() => {
      tracker.invalidate(captured);
      return outbox.enqueue(deliveries, captured, batch);
    });
    if (refused === null) return false;
    events.outboxFull(refused);
    return true;
  }
}
