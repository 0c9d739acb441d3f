/**
 * One primary, as this replica hears it. While another replica captures, the events of the last seconds are buffered;
 * they are replayed when this replica takes over. A gap of one primary leaves the feeds of the others as they are.
 */
import type { Intake } from '../capture/intake.js';
import { namesOf, type Sequence } from '../capture/sequence.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import { messageOf, RelayError } from '../model/errors.js';
import type { Interval, KeyEvent, MarkEvent } from '../model/vocabulary.js';
import type { ServerClock } from '../redis/server-clock.js';
import { type Slots, slotOf } from '../redis/slots.js';
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

/** What the feeds of a partition share. */
export interface SharedParts {
  readonly databases: readonly number[];
  readonly routing: Pick<Routing, 'isRouted'>;
  readonly intake: Pick<Intake, 'push'>;
  readonly deadlines: PendingParts['deadlines'] & Pick<Deadlines, 'recentlyCaptured'>;
  readonly lease: Lease;
  readonly server: Pick<ServerCheck, 'verify'>;
  readonly events: WatchEvents;
  readonly clock: Clock;
}

/** What exists for each primary. */
export interface FeedParts {
  /** As known now. */
  readonly slots: Slots;
  readonly sequence: Sequence;
  readonly marks: Pick<MarkWriter, 'write'>;
  readonly watch: Pick<Watch, 'begin' | 'end'>;
  readonly serverClock: Pick<ServerClock, 'nowMs'>;
}

/** What the feeds of a partition decide together. */
export interface Replica {
  /** Aborts at a stop. */
  readonly stop: AbortSignal;
  /** Moves events that were queued under an earlier token back to the replay buffers. */
  unqueueOthers(): void;
  /** Called when capture of a feed's events begins or ends. */
  watching(feed: Feed, isWatching: boolean): void;
  /** The events from before the gap of a feed are to be stored, and the lease may have to be released. */
  leave(feed: Feed): Promise<void>;
  /** A feed listens: this replica competes for the lease. */
  compete(): void;
}

/** A connection on which this replica listens. */
interface Connection {
  readonly session: Session;
  /** Whether the server is known to be the one that the state is about. */
  isVerified: boolean;
}

/** The handling of events. */
type Role =
  /** Buffers events: another replica captures, or none does yet. */
  | { readonly kind: 'standby' }
  /** Captures events. */
  | { readonly kind: 'capturing'; readonly session: Session }
  /** Buffers events although the term is not over: another replica was found to hold the lease. */
  | { readonly kind: 'fenced'; readonly session: Session };

const STANDBY: Role = { kind: 'standby' };

export class Feed implements EventSink {
  readonly #parts: SharedParts & FeedParts;
  readonly #replica: Replica;
  readonly #buffer = new ReplayBuffer();
  /** Notified when a change is buffered. */
  readonly #buffered = new Condition();
  readonly #end = new AbortController();
  readonly #loop: Promise<void>;
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

  constructor(parts: SharedParts & FeedParts, replica: Replica) {
    this.#parts = parts;
    this.#replica = replica;
    if (replica.stop.aborted) this.#end.abort();
    replica.stop.addEventListener('abort', () => this.#end.abort(), { once: true });
    this.#loop = this.#readPending(this.#end.signal);
  }

  /** Ends the current term, and begins no other. */
  async stop(): Promise<void> {
    this.#end.abort();
    await this.#loop;
    await this.#competing;
    await this.switchTo(null);
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
    const event = sequence.place(this.#marked(published));
    if (this.#role.kind === 'capturing') return intake.push(event);
    if (event.kind !== 'expired' && !routing.isRouted(event.key)) return;
    this.#buffer.append(event, clock.monotonicMs(), lease.token !== null);
    if (event.kind === 'changed') this.#buffered.notifyAll();
  };

  /** Marks a change of a key whose slot the primary does not have, as during a migration. */
  #marked(event: KeyEvent): KeyEvent {
    const { slots } = this.#parts;
    if (event.kind !== 'changed' || slots.isAll || slots.has(slotOf(event.key))) return event;
    return { ...event, isHint: true };
  }

  /** The relay listens. Returns at once: events must not wait for the state. */
  readonly onConnected = (session: Session): void => {
    this.#connection = { session, isVerified: false };
    this.#competing = this.#compete(this.#connection);
  };

  /** A gap begins. Resolves when the earlier events are stored, and the lease is released if it has to be. */
  readonly onDisconnected = async (): Promise<void> => {
    this.#connection = null;
    this.#leaving = this.#leaving.then(() => this.#leave());
    await this.#leaving;
  };

  /** The session from which this replica may capture; null: none. */
  get session(): Session | null {
    return this.#connection?.isVerified === true ? this.#connection.session : null;
  }

  /** Whether the primary published the events of this interval. */
  published(interval: Interval): boolean {
    return this.#parts.sequence.contains(interval);
  }

  /** Drops events that another replica has captured by now. */
  dropOld(): void {
    this.#buffer.dropOld(this.#parts.clock.monotonicMs());
  }

  /** Moves events from the queue back to the replay buffer, unless there was a gap. */
  unqueue(events: readonly KeyEvent[]): void {
    if (this.#connection !== null && events.length > 0) this.#buffer.prepend(events);
  }

  /** Buffers events from now on: another replica was found to hold the lease. Returns whether there is a term. */
  fence(): boolean {
    const role = this.#role;
    if (role.kind === 'standby') return false;
    this.#role = { kind: 'fenced', session: role.session };
    return true;
  }

  /**
   * Competes for the lease, once the server is known to be the one that the state is about. A lease from before the gap
   * is released first: another replica may have received the events that this one has missed.
   */
  async #compete(connection: Connection): Promise<void> {
    const { lease, server, serverClock } = this.#parts;
    const { session } = connection;
    const isVerified = await server.verify(session.identity, this.#end.signal);
    await this.#leaving;
    if (!isVerified || this.#connection !== connection) return;
    const { runId } = session;
    const isOther = this.#runId !== null && runId !== null && runId !== this.#runId;
    this.#movedAtMs = isOther ? serverClock.nowMs() : null;
    this.#runId = runId;
    connection.isVerified = true;
    this.#replica.compete();
    await this.switchTo(lease.token === null ? null : session);
  }

  async #leave(): Promise<void> {
    await this.switchTo(null);
    await this.#replica.leave(this);
  }

  /** Switches capture to this session, or ends it (null); one switch at a time. */
  switchTo(session: Session | null): Promise<void> {
    this.#changing = this.#changing.then(async () => {
      const { watch } = this.#parts;
      const replica = this.#replica;
      const current = this.#role.kind === 'standby' ? null : this.#role.session;
      if (current === session) return;
      if (current !== null) {
        this.#role = STANDBY;
        replica.watching(this, false);
        await watch.end();
      }
      if (session === null || session !== this.session) return;
      replica.watching(this, true);
      // Buffered events are captured before the search for missed expirations.
      if (await this.#takeOver(session)) watch.begin(session);
      else replica.watching(this, false);
    });
    return this.#changing;
  }

  /**
   * Captures the events that the holder before this replica has not captured; waits while the state is unavailable. If
   * the connection fails first, captures only what other replicas would recognize as captured. Resolves with false if
   * the lease is lost, or if the server was demoted: the new primary may have lost the record of what is captured.
   */
  async #takeOver(session: Session): Promise<boolean> {
    const { intake, marks, lease, clock } = this.#parts;
    const { signal } = this.#end;
    this.#replica.unqueueOthers();
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
      const { session } = this;
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
