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
import type { KeyEvent, KeyInDatabase, MarkEvent } from '../model/vocabulary.js';
import type { ServerClock } from '../redis/server-clock.js';
import type { Routing } from '../routing/routes.js';
import type { EventSink } from '../source/listener.js';
import type { Session } from '../source/session.js';
import type { PartitionStores } from '../stores.js';
import type { Events } from '../telemetry/events.js';
import { ValueKeeper } from '../values/keeper.js';
import { IndexUpdater } from '../watch/index-updater.js';
import { MarkWriter } from '../watch/mark-writer.js';
import { Standby } from '../watch/standby.js';
import { Watch } from '../watch/watch.js';

export interface PartitionParts {
  readonly databases: readonly number[];
  readonly routing: Routing;
  readonly stores: PartitionStores;
  /** The clock of the Redis that holds the keys. */
  readonly serverClock: ServerClock;
  readonly events: Events;
  readonly clock: Clock;
  readonly chance: Chance;
}

export class Partition implements EventSink {
  readonly #queue: EventQueue;
  readonly #processor: EventProcessor;
  readonly #overflow: OverflowLog;
  readonly #deadlines: Deadlines;
  readonly #capture: Capture;
  readonly #updater: IndexUpdater;
  readonly #standby: Standby;

  /** Each part refers only to parts that are created before it. */
  constructor({ databases, routing, stores, serverClock, events, clock, chance }: PartitionParts) {
    const { outbox, lease, server } = stores;
    const serverNowMs = () => serverClock.nowMs();
    const trust = new IndexTrust();
    const queue = createEventQueue(clock);
    const overflow = new OverflowLog(clock);
    const intake = new Intake({
      routing,
      queue,
      overflow,
      trust,
      serverNowMs,
      events: events.capture,
    });
    const deadlines = stores.openDeadlines((keys: readonly KeyInDatabase[]) => intake.reread(keys));
    const tracker = new Tracker(deadlines);
    const values = new ValueKeeper({
      routes: routing.routes,
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
    this.#updater = new IndexUpdater({
      queue,
      processor,
      routing,
      deadlines,
      tracker,
      values,
      trust,
    });
    const sequence = new Sequence();
    const marks = new MarkWriter(lease, sequence);
    const watch = new Watch({
      databases,
      routing,
      deadlines,
      tracker,
      values,
      queue,
      intake,
      trust,
      marks,
      updater: this.#updater,
      serverNowMs,
      events: events.watch,
      clock,
    });
    this.#standby = new Standby({
      databases,
      routing,
      queue,
      intake,
      sequence,
      marks,
      deadlines,
      watch,
      lease,
      server,
      serverClock,
      events: events.watch,
      clock,
    });
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

  readonly onSubscribing = (): void => this.#standby.onSubscribing();
  readonly onEvent = (event: KeyEvent | MarkEvent): void => this.#standby.onEvent(event);
  readonly onConnected = (session: Session): void => this.#standby.onConnected(session);
  readonly onDisconnected = (): Promise<void> => this.#standby.onDisconnected();

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
