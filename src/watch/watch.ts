/**
 * The work of the lease holder while it listens to a primary. It keeps the index of deadlines up to date, nudges each
 * key at its deadline, and finds keys that expired while no replica listened. The work is divided into terms. A term
 * begins with a catch-up, and lasts until the connection or the lease is lost. The first start, a lost connection and a
 * restart of Redis are handled in the same way.
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
import type { Deadline, KeyReading } from '../model/vocabulary.js';
import type { Slots } from '../redis/slots.js';
import type { Routing } from '../routing/routes.js';
import type { Session } from '../source/session.js';
import type { WatchEvents } from '../telemetry/watch-events.js';
import type { ValueKeeper } from '../values/keeper.js';
import type { Baton } from './baton.js';
import { FlushDetector } from './flush-detector.js';
import type { MarkWriter } from './mark-writer.js';
import { captureMissing, catchUp, type MissedParts } from './missed-expirations.js';
import { Nudger } from './nudger.js';
import type { Owner, Owners } from './owners.js';
import type { RoutedKeyspace } from './routed-keyspace.js';
import { Sweeper } from './sweeper.js';
import type { Watermark } from './watermark.js';

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
  /** The slots of the primary, as known now. */
  readonly slots: Slots;
  /** All primaries whose keys this replica watches. */
  readonly owners: Owners;
  readonly keyspace: RoutedKeyspace;
  readonly watermark: Watermark;
  /** One term nudges the keys of all primaries. */
  readonly nudging: Baton;
  /** The time by the clock of the primary, in milliseconds. */
  readonly serverNowMs: () => number;
  readonly events: WatchEvents;
  readonly clock: Clock;
}

/** A period in which the relay listens without a break. */
interface Term extends Owner {
  /** Aborts at the end of the term. */
  readonly end: AbortController;
  /** Notified when a sweep must begin at once. */
  readonly sweeping: Condition;
}

export class Watch {
  readonly #parts: WatchParts;
  readonly #flushDetector: FlushDetector;
  #term: Term | null = null;
  #over: Promise<unknown> = Promise.resolve();

  constructor(parts: WatchParts) {
    const { deadlines, tracker, values, slots, events } = parts;
    this.#parts = parts;
    this.#flushDetector = new FlushDetector({ deadlines, tracker, values, slots, events });
  }

  /** Begins a term. */
  begin(session: Session): void {
    const { slots, owners, tracker, trust, values, keyspace } = this.#parts;
    const sweeping = new Condition();
    const term: Term = {
      ...{ slots, session, sweeping },
      end: new AbortController(),
      sweepNow: () => sweeping.notifyAll(),
      captureMissing: (database, missing, signal) =>
        captureMissing(missing, this.#missedParts(term, database), signal),
    };
    this.#term = term;
    tracker.clear();
    trust.begin(session, slots);
    owners.join(term);
    values.use(keyspace);
    this.#over = this.#repeat(term);
  }

  /** Ends the term. Resolves when none of its work is in progress. */
  async end(): Promise<void> {
    const { owners, trust, values } = this.#parts;
    const term = this.#term;
    if (term === null) return;
    term.end.abort();
    this.#term = null;
    owners.leave(term);
    trust.end(term.session);
    if (owners.all.length === 0) values.use(null);
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
    const { session, sweeping } = term;
    if (!signal.aborted) trust.catchUp(session);
    const sweeper = new Sweeper({ ...this.#parts, session });
    await runTogether(signal, [
      (ending) => this.#nudge(ending),
      ...databases.flatMap((database) => [
        (ending: AbortSignal) => this.#reconcile(session, sweeper, database, ending),
        (ending: AbortSignal) => this.#watchMarker(term, database, ending),
      ]),
      (ending) => sweeper.run(sweeping, ending),
      async (ending) => {
        // Not awaited: a mark hangs as long as a silent connection does.
        void this.#advanceWatermark(term, ending);
      },
    ]);
  }

  /** Nudges the keys of all primaries, unless another term does. */
  async #nudge(signal: AbortSignal): Promise<void> {
    const { databases, nudging } = this.#parts;
    await nudging.hold(signal, () =>
      runTogether(
        signal,
        databases.map((database) => (ending) => this.#nudger(database).run(ending)),
      ),
    );
  }

  #nudger(database: number): Nudger {
    const { deadlines, tracker, queue, intake, values, clock, events, keyspace } = this.#parts;
    return new Nudger({
      database,
      deadlines,
      tracker,
      reader: { read: (keys) => keyspace.nudge(keys) },
      serverNowMs: () => keyspace.nowMs(),
      behindMs: (key) => keyspace.behindMs(key),
      clock,
      onMissing: (missing, signal) => this.#missing(database, missing, signal),
      onAlive: (keys) => void this.#reread(keys),
      onNudged: (count) => events.nudged(count),
      onTaken: (taken) => values.onDue(taken),
      room: (signal) => intake.room(signal),
      drained: (signal) => queue.drained(signal),
    });
  }

  /** Rereads keys after the events published so far are queued: the keys may have expired, and been set again. */
  async #reread(keys: readonly KeyReading[]): Promise<void> {
    const { owners, intake } = this.#parts;
    for (const [owner, some] of owners.group(keys)) {
      if (owner === null) continue;
      // With several primaries, nothing is known about a key that is elsewhere: the nudger reads it again.
      const known = owner.slots.isAll ? some : some.filter(({ ttl }) => ttl !== 'elsewhere');
      // If it fails, the term is about to end, and the next one reads the keys again.
      owner.session.barrier().then(
        () => intake.reread(known),
        () => undefined,
      );
    }
  }

  async #reconcile(
    session: Session,
    sweeper: Sweeper,
    database: number,
    signal: AbortSignal,
  ): Promise<void> {
    await sweeper.reconcile(database, signal);
    if (!signal.aborted) this.#parts.trust.gain(session, database);
  }

  /** Writes marks and advances the watermark, for the replica that takes over when this one dies. */
  async #advanceWatermark({ session }: Term, signal: AbortSignal): Promise<void> {
    const { marks, queue, watermark, clock } = this.#parts;
    let isAdvancing = false;
    const advance = async (mark: string) => {
      isAdvancing = true;
      try {
        await queue.drained(signal);
        if (!signal.aborted) await watermark.advance(session, mark);
      } catch {
        // The replica that takes over then replays more of its buffer.
      }
      isAdvancing = false;
    };
    signal.addEventListener('abort', () => watermark.drop(session), { once: true });
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
  async #forgetIfEmptied({ session, sweeping }: Term, database: number): Promise<boolean> {
    const isEmptied = await this.#flushDetector.forget(session.marker, database);
    if (isEmptied) sweeping.notifyAll();
    return isEmptied;
  }

  /** Captures keys that are missing after their deadlines, without a notification. */
  async #missing(
    database: number,
    missing: readonly Deadline[],
    signal: AbortSignal,
  ): Promise<void> {
    for (const [owner, some] of this.#parts.owners.group(missing)) {
      await owner?.captureMissing(database, some, signal);
    }
  }

  #missedParts(term: Term, database: number): MissedParts {
    const { deadlines, tracker, queue, intake, routing, serverNowMs } = this.#parts;
    const isEmptied = () => this.#forgetIfEmptied(term, database);
    const { slots, session } = term;
    return {
      database,
      slots,
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
