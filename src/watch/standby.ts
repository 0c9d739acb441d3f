/**
 * Whose turn it is to watch. This replica watches while it listens and holds the lease; while it only
 * listens, it remembers what it has heard lately, so that it can go on where another has stopped.
 */
import { Bell } from '../bell.js';
import type { Capture } from '../capture/capture.js';
import type { Clock } from '../clock.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { WatchEvents } from '../events/watch-events.js';
import type { Session } from '../source/session.js';
import type { Lease } from '../state/lease.js';
import type { Expiration, Notice } from '../vocabulary.js';
import { HEARD_APART_MS } from './done.js';
import { type Heard, Memory } from './memory.js';
import { expireRepeated } from './repeated.js';
import { Stalls } from './stalls.js';
import { heardNotice, noticeOf, settledBy, type UnsettledParts, unsettled } from './unsettled.js';
import { SETTLED_EVERY_MS, type Watch } from './watch.js';
import type { ServerCheck } from './watched-server.js';

/** Often enough that the deadline of a key that lives for a second is read before it expires. */
export const READ_EVERY_MS = SETTLED_EVERY_MS / 2;

/** Deadlines that are read at once: beyond it, those are read that were heard of first. */
const READ_MAX = 5_000;

export interface StandbyParts extends UnsettledParts {
  readonly watch: Pick<Watch, 'begin' | 'end'>;
  readonly lease: Lease;
  readonly server: Pick<ServerCheck, 'verify'>;
  readonly deadlines: UnsettledParts['deadlines'] & Pick<Deadlines, 'recentlyClaimed'>;
  readonly capture: Pick<Capture, 'expired' | 'noticed' | 'settled'>;
  readonly events: WatchEvents;
  readonly clock: Clock;
}

export class Standby {
  readonly #parts: StandbyParts;
  readonly #memory = new Memory();
  /** Rings when a change is remembered. */
  readonly #noted = new Bell();
  readonly #stalls: Stalls;
  readonly #stop = new AbortController();
  #loop: Promise<unknown> = Promise.resolve();
  #changing: Promise<void> = Promise.resolve();
  #competing: Promise<void> = Promise.resolve();
  /** While this replica listens. */
  #listened: Session | null = null;
  /** The same once the server is known to be the one that the state is about. */
  #session: Session | null = null;
  /** While it watches. */
  #watched: Session | null = null;
  /** Another replica holds the lease: this one remembers notifications instead of capturing them. */
  #isFenced = false;
  /** The longest delay with which notifications may have arrived while this replica watched. */
  #lateMsMax = 0;
  /** The server of the last session. */
  #runId: string | null = null;
  /** When the session began, if the one before was with another server; null once that was heeded. */
  #movedAtMs: number | null = null;
  /** Resolves when the notifications from before a gap are stored, and the lease is released. */
  #leaving: Promise<void> = Promise.resolve();

  constructor(parts: StandbyParts) {
    this.#parts = parts;
    this.#stalls = new Stalls(parts.clock);
  }

  start(): void {
    const { signal } = this.#stop;
    this.#loop = Promise.all([this.#run(), this.#stalls.run(signal), this.#readUnsettled()]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await this.#competing;
    await this.#turn(null);
  }

  /** The relay listens. Returns at once: no notification waits for the state. */
  listening(session: Session): void {
    this.#listened = session;
    this.#competing = this.#compete(session);
  }

  /**
   * Competes for the lease, once the server is known to be the one that the state is about. A lease that
   * was held before the gap is left first: another replica may have heard what this one has missed.
   */
  async #compete(session: Session): Promise<void> {
    const { lease, server, serverNowMs } = this.#parts;
    const isVerified = await server.verify(session.identity, this.#stop.signal);
    await this.#leaving;
    if (!isVerified || this.#listened !== session) return;
    const { runId } = session;
    const isOther = this.#runId !== null && runId !== null && runId !== this.#runId;
    this.#movedAtMs = isOther ? serverNowMs() : null;
    this.#runId = runId;
    this.#session = session;
    lease.want(true);
    await this.#turn(lease.token === null ? null : session);
  }

  /**
   * It listens no longer: what it has heard is not all any more. Resolves when that is stored, and the
   * lease is free for others.
   */
  async deaf(): Promise<void> {
    this.#listened = null;
    this.#session = null;
    this.#memory.clear();
    this.#leaving = this.#leaving.then(() => this.#leave());
    await this.#leaving;
  }

  async #leave(): Promise<void> {
    await this.#turn(null);
    await this.#stored();
    this.#parts.lease.want(false);
  }

  /** Resolves when all that was heard is stored, which is this replica's to do as long as it holds the lease. */
  async #stored(): Promise<void> {
    const { capture, lease } = this.#parts;
    const lost = new AbortController();
    await Promise.race([capture.settled(this.#stop.signal), lease.lost(lost.signal)]);
    lost.abort();
  }

  /** A key has expired: captured, or remembered while another replica captures. */
  expired(expiration: Expiration): void {
    const lateMsMax = this.#stalls.lateMsMax();
    if (this.#captures) {
      this.#lateMsMax = Math.max(this.#lateMsMax, lateMsMax);
      return this.#parts.capture.expired(expiration);
    }
    this.#remember({ kind: 'expired', expiration, lateMsMax });
  }

  /** The same for whatever else became of a key. */
  noticed(notice: Notice): void {
    if (this.#captures) return this.#parts.capture.noticed(notice);
    if (!this.#parts.isWanted(notice.key)) return;
    this.#remember(this.#heardNow(notice));
    this.#noted.ring();
  }

  #heardNow(notice: Notice): Heard {
    return heardNotice(notice, this.#parts.serverNowMs());
  }

  /** While this replica holds the lease, no other replica captures the notification. */
  #remember(heard: Heard): void {
    const { lease, clock } = this.#parts;
    this.#memory.note(heard, clock.monotonicMs(), lease.token !== null);
  }

  get #captures(): boolean {
    return this.#watched !== null && !this.#isFenced;
  }

  /**
   * Another replica has held the lease, and this one was to learn of it only now. What it has heard since
   * is remembered: the other one may have other routes. The lease is sought under another token.
   */
  fenced(heard: readonly (Expiration | Notice)[]): void {
    const { lease, clock } = this.#parts;
    const lateMsMax = Math.max(this.#lateMsMax, this.#stalls.lateMsMax());
    if (this.#listened !== null) {
      const earlier = heard.map((one): Heard => {
        return 'kind' in one
          ? this.#heardNow(one)
          : { kind: 'expired', expiration: one, lateMsMax };
      });
      this.#memory.putBack(earlier, clock.monotonicMs());
    }
    if (this.#watched === null) return;
    this.#isFenced = true;
    if (lease.token === null) return;
    lease.want(false);
    if (this.#session !== null) lease.want(true);
  }

  /**
   * Reads the deadlines of keys of which the replica that watches has not settled what was heard: it may
   * have died before it wrote them down. While it lives, it settles nearly all of them in time.
   */
  async #readUnsettled(): Promise<void> {
    const { clock } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      if (!this.#memory.isUnread) await this.#noted.wait(clock, null, signal);
      await clock.sleep(READ_EVERY_MS, signal);
      // What cannot be read now is tried again.
      if (!signal.aborted && this.#session !== null) {
        await this.#read(this.#session, SETTLED_EVERY_MS).catch(() => undefined);
      }
    }
  }

  /** Those that were heard of so long ago or longer. */
  async #read({ keyspace }: Session, agoMs: number): Promise<void> {
    const { deadlines, serverNowMs } = this.#parts;
    if (!this.#memory.isUnread) return;
    const nowMs = serverNowMs();
    const settledMs = settledBy(await deadlines.settledUntilMs(), nowMs);
    const unread = this.#memory.unread(settledMs, nowMs - agoMs, READ_MAX);
    if (unread.length === 0) return;
    this.#memory.read(unread, await keyspace.read(unread.map(({ notice }) => notice)));
  }

  /** Follows the lease. */
  async #run(): Promise<void> {
    const { lease } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await lease.taken(signal);
      if (signal.aborted) return;
      await this.#turn(this.#session);
      await lease.due(signal);
      if (signal.aborted) return;
      await this.#turn(null);
      if (lease.token !== null) await this.#handOver();
    }
  }

  /**
   * Hands the lease to a newer configuration. Its replica has listened for a while, and receives every
   * later notification itself; the earlier ones are stored first. This replica then stands by.
   */
  async #handOver(): Promise<void> {
    const { lease, events } = this.#parts;
    await this.#stored();
    events.handedOver();
    lease.want(false);
    if (this.#session !== null) lease.want(true);
  }

  /** Watches this session, or none; one change at a time. */
  #turn(session: Session | null): Promise<void> {
    this.#changing = this.#changing.then(async () => {
      const { watch, events } = this.#parts;
      if (this.#watched === session) return;
      if (this.#watched !== null) {
        this.#watched = null;
        events.watching(false);
        await watch.end();
      }
      if (session === null || session !== this.#session) return;
      events.watching(true);
      // Remembered notifications are captured before the search for keys that expired unheard.
      await this.#goOn(session);
      watch.begin(session);
    });
    return this.#changing;
  }

  /** Captures what another replica was to capture, as far as it has not done so. */
  async #goOn(session: Session): Promise<void> {
    const { capture, clock } = this.#parts;
    // Before anything else: they may expire while that is done.
    await this.#read(session, 0).catch(() => undefined);
    const repeated = await this.#repeated(session);
    const heard = this.#memory.recall(clock.monotonicMs());
    const before = await unsettled(heard, repeated, this.#parts);
    // Notifications that arrived meanwhile come after these.
    const recalled = [...before, ...this.#memory.recall(clock.monotonicMs())];
    this.#watched = session;
    this.#isFenced = false;
    this.#lateMsMax = 0;
    for (const one of recalled) {
      if (one.kind === 'expired') capture.expired(one.expiration);
      else capture.noticed(noticeOf(one));
    }
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
