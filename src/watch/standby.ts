/**
 * Whose turn it is to capture. This replica captures while it listens and holds the lease; while it only listens, it
 * buffers the events of the last seconds, and replays them when it takes over.
 */
import type { EventQueue } from '../capture/event-queue.js';
import type { Intake } from '../capture/intake.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import { runTogether } from '../lib/run-together.js';
import type { KeyEvent } from '../model/vocabulary.js';
import type { ServerClock } from '../redis/server-clock.js';
import type { Routing } from '../routing/routes.js';
import type { EventSink } from '../source/listener.js';
import type { Session } from '../source/session.js';
import type { Lease } from '../state/lease.js';
import type { WatchEvents } from '../telemetry/watch-events.js';
import { HEARD_APART_MS } from './done.js';
import { expireRepeated } from './repeated-expirations.js';
import { ReplayBuffer } from './replay-buffer.js';
import { Stalls } from './stalls.js';
import { settledBy, type UnsettledParts, unsettled } from './unsettled.js';
import { SETTLED_EVERY_MS, type Watch } from './watch.js';
import type { ServerCheck } from './watched-server.js';

/** Often enough that the deadline of a key that lives for a second is read before it expires. */
export const READ_EVERY_MS = SETTLED_EVERY_MS / 2;

/** Deadlines that are read at once; the oldest changes come first. */
const READ_MAX = 5_000;

export interface StandbyParts {
  readonly databases: readonly number[];
  readonly routing: Pick<Routing, 'isRouted'>;
  readonly queue: Pick<EventQueue, 'drained' | 'suspended' | 'reset'>;
  readonly intake: Pick<Intake, 'push'>;
  readonly deadlines: UnsettledParts['deadlines'] & Pick<Deadlines, 'recentlyClaimed'>;
  readonly watch: Pick<Watch, 'begin' | 'end'>;
  readonly lease: Lease;
  readonly server: Pick<ServerCheck, 'verify'>;
  readonly serverClock: Pick<ServerClock, 'nowMs' | 'refresh' | 'corrected' | 'correctedWritten'>;
  readonly events: WatchEvents;
  readonly clock: Clock;
}

/** A connection that this replica listens on, from its beginning to its end. */
interface Connection {
  readonly session: Session;
  /** Whether the server is known to be the one that the state is about. */
  isVerified: boolean;
}

/** What this replica does with events. */
type Role =
  /** Buffers them: another replica captures, or none does yet. */
  | { readonly kind: 'standby' }
  /** Captures them; `lateMsMax` is the longest delay with which any of them may have arrived. */
  | { readonly kind: 'capturing'; readonly session: Session; lateMsMax: number }
  /** Buffers them although its term is not over: another replica was found to hold the lease. */
  | { readonly kind: 'fenced'; readonly session: Session };

const STANDBY: Role = { kind: 'standby' };

export class Standby implements EventSink {
  readonly #parts: StandbyParts;
  readonly #buffer = new ReplayBuffer();
  /** Notified when a change is buffered. */
  readonly #buffered = new Condition();
  readonly #stalls: Stalls;
  readonly #stop = new AbortController();
  #loops: Promise<unknown> = Promise.resolve();
  #changing: Promise<void> = Promise.resolve();
  #competing: Promise<void> = Promise.resolve();
  /** Null while this replica does not listen. */
  #connection: Connection | null = null;
  #role: Role = STANDBY;
  /** The server of the last connection. */
  #runId: string | null = null;
  /** When the connection began, if the one before was with another server; null once that was heeded. */
  #movedAtMs: number | null = null;
  /** Resolves when the events from before a gap are stored, and the lease is released. */
  #leaving: Promise<void> = Promise.resolve();

  constructor(parts: StandbyParts) {
    this.#parts = parts;
    this.#stalls = new Stalls(parts.clock);
  }

  start(): void {
    this.#loops = runTogether(this.#stop.signal, [
      (signal) => this.#followLease(signal),
      (signal) => this.#followQueue(signal),
      (signal) => this.#stalls.run(signal),
      (signal) => this.#readUnsettled(signal),
    ]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loops;
    await this.#competing;
    await this.#switchTo(null);
  }

  /** Captured, or buffered while another replica captures. */
  readonly onEvent = (event: KeyEvent): void => {
    const lateMsMax = event.kind === 'expired' ? this.#stalls.lateMsMax() : 0;
    const { intake, routing, lease, clock } = this.#parts;
    if (this.#role.kind === 'capturing') {
      this.#role.lateMsMax = Math.max(this.#role.lateMsMax, lateMsMax);
      return intake.push(event);
    }
    if (event.kind !== 'expired' && !routing.isRouted(event.key)) return;
    // While this replica holds the lease, no other replica captures the event.
    this.#buffer.append({ event, lateMsMax }, clock.monotonicMs(), lease.token !== null);
    if (event.kind === 'changed') this.#buffered.notifyAll();
  };

  /** The relay listens. Returns at once: no event waits for the state. */
  readonly onConnected = (session: Session): void => {
    this.#connection = { session, isVerified: false };
    this.#competing = this.#compete(this.#connection);
  };

  /** The buffer has a gap from now on. Resolves when the events before it are stored, and the lease is free for others. */
  readonly onDisconnected = async (): Promise<void> => {
    this.#connection = null;
    this.#buffer.clear();
    this.#leaving = this.#leaving.then(() => this.#leave());
    await this.#leaving;
  };

  /**
   * Competes for the lease, once the server is known to be the one that the state is about. A lease that
   * was held before the gap is left first: another replica may have heard what this one has missed.
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
    lease.want(true);
    await this.#switchTo(lease.token === null ? null : session);
  }

  async #leave(): Promise<void> {
    await this.#switchTo(null);
    await this.#stored();
    this.#parts.lease.want(false);
  }

  /** Resolves when all queued events are stored, which is this replica's to do as long as it holds the lease. */
  async #stored(): Promise<void> {
    const { queue, lease } = this.#parts;
    const lost = new AbortController();
    await Promise.race([queue.drained(this.#stop.signal), lease.lost(lost.signal)]);
    lost.abort();
  }

  /** The session that this replica may capture from. */
  get #session(): Session | null {
    return this.#connection?.isVerified === true ? this.#connection.session : null;
  }

  /** Captures while the lease is held. */
  async #followLease(signal: AbortSignal): Promise<void> {
    const { lease } = this.#parts;
    while (!signal.aborted) {
      await lease.taken(signal);
      if (signal.aborted) return;
      await this.#switchTo(this.#session);
      await lease.due(signal);
      if (signal.aborted) return;
      await this.#switchTo(null);
      if (lease.token !== null) await this.#handOver();
    }
  }

  /**
   * A suspended queue means that another replica has held the lease, and that this one was to learn of it only now.
   * The events are buffered again: the other replica may have other routes. The lease is sought under another token.
   */
  async #followQueue(signal: AbortSignal): Promise<void> {
    const { queue, lease, clock } = this.#parts;
    for (;;) {
      await queue.suspended(signal);
      if (signal.aborted) return;
      const role = this.#role;
      const heardMs = role.kind === 'capturing' ? role.lateMsMax : 0;
      const lateMsMax = Math.max(heardMs, this.#stalls.lateMsMax());
      // Recoveries are found again: their entries are still in the index.
      const events = queue
        .reset()
        .filter((event) => event.kind !== 'expired' || event.detectedBy === 'notification');
      if (this.#connection !== null) {
        const earlier = events.map((event) => ({ event, lateMsMax }));
        this.#buffer.prepend(earlier, clock.monotonicMs());
      }
      if (role.kind === 'standby') continue;
      this.#role = { kind: 'fenced', session: role.session };
      if (lease.token === null) continue;
      this.#competeAnew();
    }
  }

  /** Lets another replica have the lease, and competes for it under another token. */
  #competeAnew(): void {
    const { lease } = this.#parts;
    lease.want(false);
    if (this.#session !== null) lease.want(true);
  }

  /**
   * Hands the lease to a newer configuration. Its replica has listened for a while, and receives every
   * later event itself; the earlier ones are stored first. This replica then stands by.
   */
  async #handOver(): Promise<void> {
    await this.#stored();
    this.#parts.events.handedOver();
    this.#competeAnew();
  }

  /** Captures from this session, or from none; one change at a time. */
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
      // Buffered events are captured before the search for keys that expired unheard.
      await this.#takeOver(session);
      watch.begin(session);
    });
    return this.#changing;
  }

  /** Captures what another replica was to capture, as far as it has not done so. */
  async #takeOver(session: Session): Promise<void> {
    const { intake, clock } = this.#parts;
    // Before anything else: they may expire while that is done.
    await this.#read(session, 0).catch(() => undefined);
    const repeated = await this.#repeated(session);
    const earlier = await unsettled(this.#buffer.drain(clock.monotonicMs()), repeated, this.#parts);
    const later = this.#buffer.drain(clock.monotonicMs()).map(({ event }) => event);
    this.#role = { kind: 'capturing', session, lateMsMax: 0 };
    for (const event of [...earlier, ...later]) intake.push(event);
  }

  /**
   * Reads the deadlines of keys whose changes the holder of the lease has not settled: it may have died before it wrote
   * them down. While it lives, it settles nearly all of them in time.
   */
  async #readUnsettled(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    while (!signal.aborted) {
      if (!this.#buffer.isUnread) await this.#buffered.wait(clock, null, signal);
      await clock.sleep(READ_EVERY_MS, signal);
      const session = this.#session;
      // What cannot be read now is tried again.
      if (!signal.aborted && session !== null) {
        await this.#read(session, SETTLED_EVERY_MS).catch(() => undefined);
      }
    }
  }

  /** Those that were detected so long ago or longer. */
  async #read({ keyspace }: Session, agoMs: number): Promise<void> {
    const { deadlines, serverClock } = this.#parts;
    if (!this.#buffer.isUnread) return;
    const nowMs = serverClock.nowMs();
    const settledMs = settledBy(await deadlines.settledUntilMs(), nowMs);
    const unread = this.#buffer.unread(settledMs, nowMs - agoMs, READ_MAX);
    if (unread.length > 0) this.#buffer.read(unread, await keyspace.read(unread));
  }

  /** The keys whose expirations a server that was not watched before repeats; none if unknown. */
  async #repeated(session: Session): Promise<ReadonlySet<string>> {
    const movedAtMs = this.#movedAtMs;
    if (movedAtMs === null) return new Set();
    this.#movedAtMs = null;
    // The clocks of the two servers may be apart.
    const claimed = this.#parts.deadlines.recentlyClaimed(movedAtMs + HEARD_APART_MS);
    return expireRepeated(session, claimed).catch(() => new Set<string>());
  }
}
