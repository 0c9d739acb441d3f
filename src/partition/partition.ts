/**
 * Everything that exists once for a set of hash slots: the lease, the index of deadlines, the queue of key events, the
 * replay buffer and capture. Today there is one partition, of all slots.
 */
import { Capture } from '../capture/capture.js';
import { EventProcessor } from '../capture/event-processor.js';
import { createEventQueue, type EventQueue } from '../capture/event-queue.js';
import { Intake } from '../capture/intake.js';
import { OverflowLog } from '../capture/overflow-log.js';
import { Sequence } from '../capture/sequence.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import { IndexTrust } from '../deadlines/index-trust.js';
import { Tracker } from '../deadlines/tracker.js';
import type { Chance, Clock } from '../lib/clock.js';
import type { KeyInDatabase } from '../model/vocabulary.js';
import type { ServerClock } from '../redis/server-clock.js';
import type { Slots } from '../redis/slots.js';
import type { Routing } from '../routing/routes.js';
import type { Lease } from '../state/lease.js';
import type { PartitionStores } from '../stores.js';
import type { Events } from '../telemetry/events.js';
import { ValueKeeper } from '../values/keeper.js';
import { Baton } from '../watch/baton.js';
import type { Feed } from '../watch/feed.js';
import { IndexUpdater } from '../watch/index-updater.js';
import { MarkWriter } from '../watch/mark-writer.js';
import { Owners } from '../watch/owners.js';
import { RoutedKeyspace } from '../watch/routed-keyspace.js';
import { Standby } from '../watch/standby.js';
import { Watch, type WatchParts } from '../watch/watch.js';
import { Watermark } from '../watch/watermark.js';

export interface PartitionParts {
  readonly databases: readonly number[];
  readonly routing: Routing;
  readonly stores: PartitionStores;
  /** The clock of the Redis that holds the keys; with several primaries, of one of them. */
  readonly serverClock: Pick<ServerClock, 'nowMs' | 'refresh' | 'corrected'>;
  /** Resolves when it is known again which primary has which slots, or cannot be. Never rejects. */
  readonly refreshTopology: () => Promise<void>;
  readonly events: Events;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** What a partition knows of a primary. */
export interface FollowedPrimary {
  /** As known now. */
  readonly slots: Slots;
  readonly serverClock: ServerClock;
}

export class Partition {
  readonly #queue: EventQueue;
  readonly #processor: EventProcessor;
  readonly #overflow: OverflowLog;
  readonly #deadlines: Deadlines;
  readonly #capture: Capture;
  readonly #updater: IndexUpdater;
  readonly #standby: Standby;
  readonly #watchParts: Omit<WatchParts, 'slots' | 'marks' | 'serverNowMs'>;
  readonly #lease: Lease;
  /** The number of sessions in which this replica has written marks. */
  #markedSessions = 0;

  /** Each part refers only to parts that are created before it. */
  constructor(parts: PartitionParts) {
    const { databases, routing, stores, serverClock, refreshTopology, events, clock } = parts;
    const { chance } = parts;
    const { outbox, lease, server } = stores;
    const trust = new IndexTrust();
    const queue = createEventQueue(clock);
    const overflow = new OverflowLog(clock);
    const intake = new Intake({
      routing,
      queue,
      overflow,
      trust,
      serverNowMs: () => serverClock.nowMs(),
      events: events.capture,
    });
    const deadlines = stores.openDeadlines((keys: readonly KeyInDatabase[]) => intake.reread(keys));
    const tracker = new Tracker(deadlines);
    const values = new ValueKeeper({
      routing,
      values: stores.values,
      events: events.values,
      clock,
    });
    const processor = new EventProcessor({ queue, events: events.capture, clock });
    this.#capture = new Capture({
      queue,
      processor,
      intake,
      overflow,
      tracker,
      trust,
      outbox,
      values,
      serverClock,
      events: events.capture,
      clock,
      chance,
    });
    const owners = new Owners();
    const keyspace = new RoutedKeyspace({ owners, trust, refreshTopology, clock });
    this.#updater = new IndexUpdater({
      queue,
      processor,
      routing,
      deadlines,
      tracker,
      values,
      trust,
      owners,
      keyspace,
      clock,
    });
    this.#watchParts = {
      databases,
      routing,
      deadlines,
      tracker,
      values,
      queue,
      intake,
      trust,
      owners,
      keyspace,
      watermark: new Watermark(deadlines),
      nudging: new Baton(clock),
      events: events.watch,
      clock,
    };
    this.#standby = new Standby({
      databases,
      routing,
      queue,
      intake,
      deadlines,
      lease,
      server,
      events: events.watch,
      clock,
    });
    this.#lease = lease;
    this.#queue = queue;
    this.#processor = processor;
    this.#overflow = overflow;
    this.#deadlines = deadlines;
  }

  /** The number of queued events. */
  get queued(): number {
    return this.#queue.size;
  }

  /** The number of deadlines in the index. */
  tracked(): Promise<number> {
    return this.#deadlines.count();
  }

  start(): void {
    this.#capture.start();
    this.#updater.start();
    this.#standby.start();
  }

  /** Adds a primary, whose events the feed receives. */
  follow({ slots, serverClock }: FollowedPrimary): Feed {
    const sequence = new Sequence();
    const writer = new MarkWriter(this.#lease, sequence, () => {
      this.#markedSessions += 1;
      return this.#markedSessions - 1;
    });
    const watch = new Watch({
      ...this.#watchParts,
      slots,
      marks: writer,
      serverNowMs: () => serverClock.nowMs(),
    });
    return this.#standby.follow({ slots, sequence, marks: writer, watch, serverClock });
  }

  /** Removes a primary to which this replica does not listen any more. */
  unfollow(feed: Feed): Promise<void> {
    return this.#standby.unfollow(feed);
  }

  /** Requests an immediate sweep of the keys in these slots: the primary has gained some of them. */
  sweepNow(slots: Slots): void {
    for (const owner of this.#watchParts.owners.all) if (owner.slots === slots) owner.sweepNow();
  }

  /** Requests an immediate sweep of all keys: the routes have changed. */
  reroute(): void {
    for (const owner of this.#watchParts.owners.all) owner.sweepNow();
  }

  /** Ends the current term, and begins no other. */
  stopListening(): Promise<void> {
    return this.#standby.stop();
  }

  /** Processes the queued events. If the signal aborts, drops the rest and logs lost expirations. */
  async stop(signal: AbortSignal): Promise<void> {
    await this.#processor.stop(signal);
    this.#overflow.clear();
  }
}
