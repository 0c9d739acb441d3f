/**
 * The work of the lease holder while it listens. It keeps the index of deadlines up to date, nudges each key at its
 * deadline, and finds keys that expired while no replica listened. The work is divided into terms. A term begins with a
 * catch-up, and lasts until the connection or the lease is lost. The first start, a lost connection and a restart of
 * Redis are handled in the same way.
 */
import type { EventQueue } from '../capture/event-queue.js';
import type { Intake } from '../capture/intake.js';
import type { Deadlines } from '../deadlines/deadlines.js';
import type { IndexTrust } from '../deadlines/index-trust.js';
import type { Tracker } from '../deadlines/tracker.js';
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import { runTogether } from '../lib/run-together.js';
import { messageOf } from '../model/errors.js';
import type { Deadline, KeyInDatabase } from '../model/vocabulary.js';
import type { Routing } from '../routing/routes.js';
import type { Session } from '../source/session.js';
import type { WatchEvents } from '../telemetry/watch-events.js';
import type { ValueKeeper } from '../values/keeper.js';
import { FlushDetector } from './flush-detector.js';
import type { IndexUpdater } from './index-updater.js';
import type { MarkWriter } from './mark-writer.js';
import { captureMissing, catchUp, type MissedParts } from './missed-expirations.js';
import { Nudger } from './nudger.js';
import { Sweeper } from './sweeper.js';

/** How often each database is checked for a flush. */
const MARKER_EVERY_MS = 5_000;

/** How often a mark is written. A take-over captures the events since the watermark again. */
export const MARK_EVERY_MS = 500;

/** The wait after a failure, such as an unavailable state Redis. */
export const AGAIN_MS = 1_000;

export interface WatchParts {
  readonly databases: readonly number[];
  readonly routing: Pick<Routing, 'globs' | 'isRouted'>;
  readonly deadlines: Deadlines;
  readonly tracker: Tracker;
  readonly values: ValueKeeper;
  readonly queue: Pick<EventQueue, 'drained' | 'has'>;
  readonly intake: Pick<Intake, 'push' | 'reread' | 'room'>;
  readonly trust: Pick<IndexTrust, 'begin' | 'end' | 'catchUp' | 'gain'>;
  readonly marks: Pick<MarkWriter, 'write'>;
  readonly updater: Pick<IndexUpdater, 'begin' | 'end'>;
  /** The time by the clock of the Redis that holds the keys, in milliseconds. */
  readonly serverNowMs: () => number;
  readonly events: WatchEvents;
  readonly clock: Clock;
}

/** A period in which the relay listens without a break. */
interface Term {
  readonly session: Session;
  /** Aborts at the end of the term. */
  readonly end: AbortController;
  /** Notified when a sweep must begin at once. */
  readonly sweepNow: Condition;
}

export class Watch {
  readonly #parts: WatchParts;
  readonly #flushDetector: FlushDetector;
  #term: Term | null = null;
  #over: Promise<unknown> = Promise.resolve();

  constructor(parts: WatchParts) {
    const { deadlines, tracker, values, events } = parts;
    this.#parts = parts;
    this.#flushDetector = new FlushDetector({ deadlines, tracker, values, events });
  }

  /** Begins a term. */
  begin(session: Session): void {
    const { tracker, trust, updater, values } = this.#parts;
    const term = { session, end: new AbortController(), sweepNow: new Condition() };
    this.#term = term;
    tracker.clear();
    trust.begin(session);
    updater.begin({ session, sweepNow: () => term.sweepNow.notifyAll() });
    values.use(session.sweepKeyspace);
    this.#over = this.#repeat(term);
  }

  /** Ends the term. Resolves when none of its work is in progress. */
  async end(): Promise<void> {
    const { trust, updater, values } = this.#parts;
    this.#term?.end.abort();
    this.#term = null;
    updater.end();
    trust.end();
    values.use(null);
    await this.#over;
  }

  /** Runs until the term ends. When one part fails, all parts are started again. */
  async #repeat(term: Term): Promise<void> {
    const { events, clock } = this.#parts;
    const { signal } = term.end;
    while (!signal.aborted) {
      try {
        await this.#run(term);
      } catch (error) {
        if (!signal.aborted) events.watchFailed(messageOf(error));
        await clock.sleep(AGAIN_MS, signal);
      }
    }
  }

  async #run(term: Term): Promise<void> {
    const { databases, routing, deadlines, values, trust } = this.#parts;
    const { signal } = term.end;
    for (const database of databases) {
      await this.#forgetIfEmptied(term, database);
      await values.forgetUnasked(database);
      await deadlines.bringBack(database, (key) => routing.isRouted(key));
    }
    for (const database of databases) await catchUp(this.#missedParts(term, database), signal);
    if (!signal.aborted) trust.catchUp();
    const { session, sweepNow } = term;
    const sweeper = new Sweeper({ ...this.#parts, session });
    await runTogether(signal, [
      ...databases.flatMap((database) => [
        (ending: AbortSignal) => this.#nudger(term, database).run(ending),
        (ending: AbortSignal) => this.#reconcile(sweeper, database, ending),
        (ending: AbortSignal) => this.#watchMarker(term, database, ending),
      ]),
      (ending) => sweeper.run(sweepNow, ending),
      async (ending) => {
        // Not awaited: a mark hangs as long as a silent connection does.
        void this.#advanceWatermark(term, ending);
      },
    ]);
  }

  #nudger({ session }: Term, database: number): Nudger {
    const { deadlines, tracker, queue, intake, values, clock, events, serverNowMs } = this.#parts;
    return new Nudger({
      database,
      deadlines,
      tracker,
      reader: { read: (keys) => session.keyspace.nudge(keys) },
      serverNowMs,
      clock,
      onMissing: (missing, signal) => this.#missing(session, database, missing, signal),
      onAlive: (keys) => void this.#reread(session, keys),
      onNudged: (count) => events.nudged(count),
      onTaken: (taken) => values.onDue(taken),
      room: (signal) => intake.room(signal),
      drained: (signal) => queue.drained(signal),
    });
  }

  /** Rereads keys after the events published so far are queued: the keys may have expired, and been set again. */
  async #reread(session: Session, keys: readonly KeyInDatabase[]): Promise<void> {
    try {
      await session.barrier();
    } catch {
      // The term is about to end, and the next one reads the keys again.
      return;
    }
    this.#parts.intake.reread(keys);
  }

  async #reconcile(sweeper: Sweeper, database: number, signal: AbortSignal): Promise<void> {
    await sweeper.reconcile(database, signal);
    if (!signal.aborted) this.#parts.trust.gain(database);
  }

  /** Writes marks and advances the watermark, for the replica that takes over when this one dies. */
  async #advanceWatermark({ session }: Term, signal: AbortSignal): Promise<void> {
    const { marks, queue, deadlines, clock } = this.#parts;
    let isAdvancing = false;
    const advance = async (mark: string) => {
      isAdvancing = true;
      try {
        await queue.drained(signal);
        if (!signal.aborted) await deadlines.advanceWatermark(mark);
      } catch {
        // The replica that takes over then replays more of its buffer.
      }
      isAdvancing = false;
    };
    while (!signal.aborted) {
      await clock.sleep(MARK_EVERY_MS, signal);
      if (signal.aborted) return;
      const mark = await marks.write(session);
      if (mark !== null && !isAdvancing) void advance(mark);
    }
  }

  async #watchMarker(term: Term, database: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#parts.clock.sleep(MARKER_EVERY_MS, signal);
      if (!signal.aborted) await this.#forgetIfEmptied(term, database);
    }
  }

  /** Resolves with whether the database was emptied. If so, keys that were set since are forgotten until the sweep. */
  async #forgetIfEmptied({ session, sweepNow }: Term, database: number): Promise<boolean> {
    const isEmptied = await this.#flushDetector.forget(session.marker, database);
    if (isEmptied) sweepNow.notifyAll();
    return isEmptied;
  }

  /** Captures keys that are missing after their deadlines, without a notification. */
  async #missing(
    session: Session,
    database: number,
    missing: readonly Deadline[],
    signal: AbortSignal,
  ): Promise<void> {
    const term = this.#term;
    if (term === null || term.session !== session) return;
    await captureMissing(missing, this.#missedParts(term, database), signal);
  }

  #missedParts(term: Term, database: number): MissedParts {
    const { deadlines, tracker, queue, intake, routing, serverNowMs } = this.#parts;
    const isEmptied = () => this.#forgetIfEmptied(term, database);
    const { session } = term;
    return {
      database,
      session,
      deadlines,
      tracker,
      queue,
      intake,
      routing,
      serverNowMs,
      isEmptied,
    };
  }
}
