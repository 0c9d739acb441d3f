/**
 * Decides whether this replica captures. The replica captures while it listens and holds the lease. While it only
 * listens, it buffers the events of the last seconds, and replays them when it takes over.
 */
import type { EventQueue } from '../capture/event-queue.js';
import type { Intake } from '../capture/intake.js';
import { namesOf, type Sequence } from '../capture/sequence.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import { runTogether } from '../lib/run-together.js';
import { messageOf, RelayError } from '../model/errors.js';
import type { KeyEvent, MarkEvent } from '../model/vocabulary.js';
import type { ServerClock } from '../redis/server-clock.js';
import type { Routing } from '../routing/routes.js';
import type { EventSink } from '../source/listener.js';
import { isDemoted, type Session } from '../source/session.js';
import type { Lease } from '../state/lease.js';
import type { WatchEvents } from '../telemetry/watch-events.js';
import type { MarkWriter } from './mark-writer.js';
import { type PendingParts, pendingEvents } from './pending-events.js';
import { expireRepeated } from './repeated-expirations.js';
import { ReplayBuffer } from './replay-buffer.js';
import { AGAIN_MS, MARK_EVERY_MS, type Watch } from './watch.js';
import type { ServerCheck } from './watched-server.js';

/** How often deadlines are read: the deadline of a key that lives for a second is read before the key expires. */
export const READ_EVERY_MS = MARK_EVERY_MS / 2;

/** The maximum number of deadlines in one read; the oldest changes come first. */
const READ_MAX = 5_000;

export interface StandbyParts {
  readonly databases: readonly number[];
  readonly routing: Pick<Routing, 'isRouted'>;
  readonly queue: Pick<EventQueue, 'drained' | 'suspended' | 'reset'>;
  readonly intake: Pick<Intake, 'push'>;
  readonly sequence: Sequence;
  readonly marks: Pick<MarkWriter, 'write'>;
  readonly deadlines: PendingParts['deadlines'] & Pick<Deadlines, 'recentlyCaptured'>;
  readonly watch: Pick<Watch, 'begin' | 'end'>;
  readonly lease: Lease;
  readonly server: Pick<ServerCheck, 'verify'>;
  readonly serverClock: Pick<ServerClock, 'nowMs'>;
  readonly events: WatchEvents;
  readonly clock: Clock;
}

/** A connection on which this replica listens. */
interface Connection {
  readonly session: Session;
  /** Whether the server is known to be the one that the state is about. */
  isVerified: boolean;
}

/** The role of this replica: its handling of events. */
type Role =
  /** Buffers events: another replica captures, or none does yet. */
  | { readonly kind: 'standby' }
  /** Captures events. */
  | { readonly kind: 'capturing'; readonly session: Session }
  /** Buffers events although the term is not over: another replica was found to hold the lease. */
  | { readonly kind: 'fenced'; readonly session: Session };

const STANDBY: Role = { kind: 'standby' };

export class Standby implements EventSink {
  readonly #parts: StandbyParts;
  readonly #buffer = new ReplayBuffer();
  /** Notified when a change is buffered. */
  readonly #buffered = new Condition();
  readonly #stop = new AbortController();
  #loops: Promise<unknown> = Promise.resolve();
  #changing: Promise<void> = Promise.resolve();
  #competing: Promise<void> = Promise.resolve();
  /** The number of subscriptions so far. The buffer holds events of the last one. */
  #subscriptions = 0;
  /** Null while this replica does not listen. */
  #connection: Connection | null = null;
  #role: Role = STANDBY;
  /** The run_id of the last connection's server; null: not shown, or no connection yet. */
  #runId: string | null = null;
  /** When the connection began, if its server is a new one; null once repeated expirations are handled. */
  #movedAtMs: number | null = null;
  /** Resolves when the events from before a gap are stored, and the lease is released. */
  #leaving: Promise<void> = Promise.resolve();

  constructor(parts: StandbyParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#loops = runTogether(this.#stop.signal, [
      (signal) => this.#followLease(signal),
      (signal) => this.#followQueue(signal),
      (signal) => this.#readPending(signal),
    ]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loops;
    await this.#competing;
    await this.#switchTo(null);
  }

  /** Events may have been missed: those before cannot be replayed in one sequence with those to come. */
  readonly onSubscribing = (): void => {
    this.#subscriptions += 1;
    this.#parts.sequence.interrupt();
    this.#buffer.clear();
  };

  /** Captures an event, or buffers it while this replica does not capture. */
  readonly onEvent = (published: KeyEvent | MarkEvent): void => {
    const { intake, routing, sequence, lease, clock } = this.#parts;
    if (published.kind === 'mark') return sequence.mark(published.mark);
    const event = sequence.place(published);
    if (this.#role.kind === 'capturing') return intake.push(event);
    if (event.kind !== 'expired' && !routing.isRouted(event.key)) return;
    this.#buffer.append(event, clock.monotonicMs(), lease.token !== null);
    if (event.kind === 'changed') this.#buffered.notifyAll();
  };

  /** The relay listens. Returns at once: events must not wait for the state. */
  readonly onConnected = (session: Session): void => {
    this.#connection = { session, isVerified: false };
    this.#competing = this.#compete(this.#connection);
  };

  /** A gap begins. Resolves when the earlier events are stored and the lease is released. */
  readonly onDisconnected = async (): Promise<void> => {
    this.#connection = null;
    this.#leaving = this.#leaving.then(() => this.#leave());
    await this.#leaving;
  };

  /**
   * Competes for the lease, once the server is known to be the one that the state is about. A lease from before the gap
   * is released first: another replica may have received the events that this one has missed.
   */
  async #compete(connection: Connection): Promise<void> {
    const { lease, server, serverClock } = this.#parts;
    const { session } = connection;
    const isVerified = await server.verify(session.identity, this.#stop.signal);
    await this.#leaving;
    if (!isVerified || this.#connection !== connection) return;
    const { runId } = session;
    const isOther = this.#runId !== null && runId !== null && runId !== this.#runId;
    this.#movedAtMs = isOther ? serverClock.nowMs() : null;
    this.#runId = runId;
    connection.isVerified = true;
    lease.compete();
    await this.#switchTo(lease.token === null ? null : session);
  }

  async #leave(): Promise<void> {
    await this.#switchTo(null);
    await this.#stored();
    this.#parts.lease.withdraw();
  }

  /** Resolves when all queued events are stored, or the lease is lost: the next holder then stores them. */
  async #stored(): Promise<void> {
    const { queue, lease } = this.#parts;
    const lost = new AbortController();
    await Promise.race([queue.drained(this.#stop.signal), lease.lost(lost.signal)]);
    lost.abort();
  }

  /** The session from which this replica may capture; null: none. */
  get #session(): Session | null {
    return this.#connection?.isVerified === true ? this.#connection.session : null;
  }

  /** Captures while the lease is held. */
  async #followLease(signal: AbortSignal): Promise<void> {
    const { lease, clock } = this.#parts;
    while (!signal.aborted) {
      await lease.taken(signal);
      if (signal.aborted) return;
      const { token } = lease;
      this.#buffer.dropOld(clock.monotonicMs());
      await this.#switchTo(this.#session);
      await lease.due(signal);
      if (signal.aborted) return;
      await this.#switchTo(null);
      if (lease.token !== null && lease.token === token) await this.#handOver();
    }
  }

  /**
   * Handles suspensions of the queue: another replica has held the lease, and this one finds out only now. The events
   * are buffered again: the other replica may have other routes. This replica competes under another token.
   */
  async #followQueue(signal: AbortSignal): Promise<void> {
    const { queue, lease } = this.#parts;
    for (;;) {
      await queue.suspended(signal);
      if (signal.aborted) return;
      const role = this.#role;
      this.#unqueue();
      if (role.kind === 'standby') continue;
      this.#role = { kind: 'fenced', session: role.session };
      if (lease.token === null) continue;
      this.#competeAnew();
    }
  }

  /** Moves queued events back to the replay buffer, unless there was a gap. */
  #unqueue(): void {
    // Events that the relay made itself have no place in the sequence. The next term makes them again, if need be.
    const events = this.#parts.queue.reset().filter(({ interval }) => interval !== undefined);
    if (this.#connection !== null && events.length > 0) this.#buffer.prepend(events);
  }

  /** Releases the lease, and competes for it under another token. */
  #competeAnew(): void {
    const { lease } = this.#parts;
    lease.withdraw();
    if (this.#session !== null) lease.compete();
  }

  /**
   * Hands the lease to a newer configuration, after the events so far are stored. The replica with that configuration
   * has listened for a while, and receives every later event itself. This replica becomes a standby.
   */
  async #handOver(): Promise<void> {
    await this.#stored();
    this.#parts.events.leaseHandedOver();
    this.#competeAnew();
  }

  /** Switches capture to this session, or ends it (null); one switch at a time. */
  #switchTo(session: Session | null): Promise<void> {
    this.#changing = this.#changing.then(async () => {
      const { watch, events } = this.#parts;
      const current = this.#role.kind === 'standby' ? null : this.#role.session;
      if (current === session) return;
      if (current !== null) {
        this.#role = STANDBY;
        events.watching(false);
        await watch.end();
      }
      if (session === null || session !== this.#session) return;
      events.watching(true);
      // Buffered events are captured before the search for missed expirations.
      if (await this.#takeOver(session)) watch.begin(session);
      else events.watching(false);
    });
    return this.#changing;
  }

  /**
   * Captures the events that the holder before this replica has not captured; waits while the state is unavailable. If
   * the connection fails first, captures only what other replicas would recognize as captured. Resolves with false if the lease is lost, or if the server was demoted: the new primary may have lost the record of
   * what is captured.
   */
  async #takeOver(session: Session): Promise<boolean> {
    const { intake, marks, lease, clock } = this.#parts;
    const { signal } = this.#stop;
    // Events that were queued under an earlier token may be captured.
    this.#unqueue();
    // Unread deadlines are read first: the keys may expire during the next steps.
    await this.#read(session, 0).catch(() => undefined);
    const subscriptions = this.#subscriptions;
    const isSubscribed = () => subscriptions === this.#subscriptions;
    let buffered: readonly KeyEvent[] = [];
    while (!signal.aborted) {
      const { token } = lease;
      const repeated = await this.#repeated(session);
      // Each event that another replica can have captured is then buffered, and precedes a mark.
      const marked = Promise.all([marks.write(session), session.barrier()]).then(
        () => true,
        () => false,
      );
      const [wasDemoted, isConnected] = await Promise.all([isDemoted(session), marked]);
      if (wasDemoted) return false;
      if (isSubscribed()) buffered = [...buffered, ...this.#buffer.drain()];
      const pending = await pendingEvents(buffered, repeated, this.#parts).catch((error) => {
        if (!(error instanceof RelayError)) this.#parts.events.watchFailed(messageOf(error));
        return null;
      });
      if (lease.token === null) {
        if (isSubscribed()) this.#buffer.prepend(buffered);
        return false;
      }
      if (pending !== null && token === lease.token) {
        this.#movedAtMs = null;
        this.#role = { kind: 'capturing', session };
        const later = isSubscribed() ? this.#buffer.drain() : [];
        const events = [...pending, ...later].filter((event) => isConnected || isNamed(event));
        for (const event of events) intake.push({ ...event, isReplayed: true });
        return true;
      }
      if (pending === null) await clock.sleep(AGAIN_MS, signal);
    }
    return false;
  }

  /**
   * Reads the deadlines of changed keys that the watermark does not cover yet: the holder of the lease may have died
   * before it wrote them to the index. A live holder advances the watermark before nearly all of these reads.
   */
  async #readPending(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    while (!signal.aborted) {
      if (!this.#buffer.isUnread) await this.#buffered.wait(clock, null, signal);
      await clock.sleep(READ_EVERY_MS, signal);
      const session = this.#session;
      // A failed read is repeated.
      if (!signal.aborted && session !== null) {
        await this.#read(session, MARK_EVERY_MS).catch(() => undefined);
      }
    }
  }

  /** Reads the deadlines of changes that were detected at least `agoMs` ago. */
  async #read({ keyspace }: Session, agoMs: number): Promise<void> {
    const { deadlines, sequence, serverClock } = this.#parts;
    if (!this.#buffer.isUnread) return;
    const untilMs = serverClock.nowMs() - agoMs;
    const isDone = sequence.isBefore(await deadlines.watermark());
    const unread = this.#buffer.unread(isDone, untilMs, READ_MAX);
    if (unread.length > 0) this.#buffer.read(unread, await keyspace.read(unread));
  }

  /** Resolves with the keys whose expirations a new server repeats; with none if they are unknown. */
  async #repeated(session: Session): Promise<ReadonlySet<string>> {
    const { deadlines } = this.#parts;
    if (this.#movedAtMs === null) return new Set();
    return expireRepeated(session, deadlines, this.#movedAtMs).catch(() => new Set<string>());
  }
}

/** Whether an event is an expiration that other replicas know by the same name. */
function isNamed(event: KeyEvent): boolean {
  return event.kind === 'expired' && namesOf(event).length > 0;
}
