/**
 * Whose turn it is to watch. This replica watches while it listens and holds the lease; while it only
 * listens, it remembers what it has heard lately, so that it can go on where another has stopped.
 */
import type { Capture } from '../capture/capture.js';
import type { Clock } from '../clock.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { WatchEvents } from '../events/watch-events.js';
import { nameOf } from '../key-name.js';
import type { Session } from '../source/session.js';
import type { Lease } from '../state/lease.js';
import type { Expiration, Notice } from '../vocabulary.js';
import { HEARD_APART_MS, isDone, lastClaimed } from './done.js';
import { type Heard, Memory } from './memory.js';
import { expireRepeated } from './repeated.js';
import { Stalls } from './stalls.js';
import type { Watch } from './watch.js';
import type { ServerCheck } from './watched-server.js';

export interface StandbyParts {
  readonly watch: Pick<Watch, 'begin' | 'end'>;
  readonly lease: Lease;
  readonly server: Pick<ServerCheck, 'verify'>;
  readonly deadlines: Pick<
    Deadlines,
    'of' | 'bringBack' | 'claimedLately' | 'recentlyClaimed' | 'settledUntilMs'
  >;
  readonly capture: Pick<Capture, 'expired' | 'noticed' | 'settled'>;
  /** Those that are watched. */
  readonly databases: readonly number[];
  /** Which keys routes are about. */
  readonly isWanted: (key: Buffer) => boolean;
  /** The time by the clock of the Redis that holds the keys, in milliseconds. */
  readonly serverNowMs: () => number;
  readonly serverTime: {
    /** Asks for it now; resolves when it is known, or cannot be. Never rejects. */
    ask(): Promise<void>;
    /** A time that this replica has read from it, by the clock as it is known now. */
    corrected(readMs: number): number;
    /** The same for a time that another replica has written. */
    correctedWritten(writtenMs: number): number;
  };
  readonly events: WatchEvents;
  readonly clock: Clock;
}

export class Standby {
  readonly #parts: StandbyParts;
  readonly #memory = new Memory();
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
    this.#loop = Promise.all([this.#run(), this.#stalls.run(this.#stop.signal)]);
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
    this.#remember({ kind: 'notice', notice });
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
          ? { kind: 'notice', notice: one }
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
    const repeated = await this.#repeated(session);
    const before = await this.#unsettled(this.#memory.recall(clock.monotonicMs()), repeated);
    // Notifications that arrived meanwhile come after these.
    const recalled = [...before, ...this.#memory.recall(clock.monotonicMs())];
    this.#watched = session;
    this.#isFenced = false;
    this.#lateMsMax = 0;
    for (const one of recalled) {
      if (one.kind === 'notice') capture.noticed(one.notice);
      else capture.expired(one.expiration);
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

  /** All but the expirations that somebody has taken care of. */
  async #unsettled(
    heard: readonly Heard[],
    repeated: ReadonlySet<string>,
  ): Promise<readonly Heard[]> {
    const { deadlines, databases, isWanted, serverNowMs, serverTime } = this.#parts;
    if (heard.length === 0) return heard;
    // The clock may have been set since: the other replica may have known of it, and this one not yet.
    await serverTime.ask();
    const expired = heard.flatMap((one) => {
      if (one.kind !== 'expired') return [];
      const detectedAtMs = serverTime.corrected(one.expiration.detectedAtMs);
      return { ...one, expiration: { ...one.expiration, detectedAtMs }, heard: one };
    });
    const expirations = expired.map(({ expiration }) => expiration);
    try {
      // A replica without routes for them may have set their entries aside.
      for (const database of databases) await deadlines.bringBack(database, isWanted);
      const settledMs = (await deadlines.settledUntilMs()) ?? Number.NEGATIVE_INFINITY;
      // One in the future is by a clock that has been set back since.
      const fromMs = settledMs <= serverNowMs() ? settledMs : Number.NEGATIVE_INFINITY;
      const claimed = (await deadlines.claimedLately(expirations)).map((atMs) =>
        atMs === null ? null : serverTime.correctedWritten(atMs),
      );
      const known = await deadlines.of(expirations);
      const last = lastClaimed(expired, claimed, serverNowMs());
      const isTodo = (one: Expiration, at: number) =>
        one.detectedAtMs > fromMs &&
        !(repeated.has(nameOf(one)) && known[at] === null) &&
        !isDone(one, last.get(nameOf(one)), known[at] ?? null);
      const todo = new Set<Heard>(
        expired.flatMap(({ expiration, heard }, at) => (isTodo(expiration, at) ? [heard] : [])),
      );
      return heard.filter((one) => one.kind === 'notice' || todo.has(one));
    } catch {
      // Sent twice rather than never.
      return heard;
    }
  }
}
