/**
 * Being the replica that captures. While it listens, a watch keeps the index of deadlines true to
 * the keys, nudges each key at its deadline, and finds what expired while nobody listened. Each
 * stretch of listening is one term, which begins by catching up with what happened before it: the
 * first start, a lost connection and a restart of Redis all take the same way.
 */
import { setMaxListeners } from 'node:events';
import { Bell } from '../bell.js';
import type { Capture } from '../capture/capture.js';
import { untilAborted } from '../clock.js';
import { CLOCK_SLACK_MS } from '../deadlines/deadlines.js';
import { Nudger } from '../deadlines/nudger.js';
import { messageOf } from '../errors.js';
import type { Session } from '../source/session.js';
import type { Deadline, KeyInDatabase } from '../vocabulary.js';
import { Sweeper, type SweeperParts } from './sweeper.js';

/** How often it is looked whether a database was emptied. */
const MARKER_EVERY_MS = 5_000;

/** How often it is told that all is settled: what was said since is looked at twice at a take-over. */
const SETTLED_EVERY_MS = 500;

/** The wait after the state Redis could not be used. */
const AGAIN_MS = 1_000;

export interface WatchParts extends SweeperParts {
  readonly capture: Pick<Capture, 'expired' | 'noticed' | 'settled' | 'room'>;
  /** Whatever is kept of values, also by a file that asked for them once. */
  readonly forgetValues: (database: number) => Promise<void>;
}

/** One stretch of listening. */
interface Term {
  readonly session: Session;
  readonly end: AbortController;
  readonly nudgers: ReadonlyMap<number, Nudger>;
  /** Rings when a sweep must not wait for its time. */
  readonly sweepNow: Bell;
  /** Aborts once it is known that what the index says is about the databases as they are. */
  readonly checked: AbortController;
}

export class Watch {
  readonly #parts: WatchParts;
  /** The databases whose markers have been there. */
  readonly #marked = new Set<number>();
  #term: Term | null = null;
  #over: Promise<unknown> = Promise.resolve();

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** The relay listens: a term begins. */
  begin(session: Session): void {
    const { databases } = this.#parts;
    const end = new AbortController();
    const nudgers = new Map(
      databases.map((database) => [database, this.#nudger(session, database)]),
    );
    const checked = new AbortController();
    // Each database listens to it.
    setMaxListeners(0, end.signal);
    end.signal.addEventListener('abort', () => checked.abort(), { once: true });
    const term = { session, end, nudgers, sweepNow: new Bell(), checked };
    this.#term = term;
    this.#parts.values?.use(session.sweeping);
    this.#over = this.#repeat(end.signal, () => this.#watch(term));
  }

  /** The relay listens no longer. */
  async end(): Promise<void> {
    this.#term?.end.abort();
    this.#term = null;
    this.#parts.values?.use(null);
    await this.#over;
  }

  /**
   * The deadlines of these keys are to be read again. Those that cannot be are, when the gap is over
   * that begins with it. Resolves with those that are gone; rejects when they cannot be written down.
   */
  async changed(keys: readonly KeyInDatabase[]): Promise<readonly KeyInDatabase[]> {
    if (this.#term === null) return [];
    const { session, checked, sweepNow } = this.#term;
    await untilAborted(checked.signal);
    const read = async (wanted: readonly KeyInDatabase[]) => {
      try {
        return await session.keyspace.read(wanted);
      } catch {
        // A connection that stands may refuse, too, and no gap begins with that.
        sweepNow.ring();
        return [];
      }
    };
    const { tracker, values } = this.#parts;
    const readings = await tracker.changed(keys, { read });
    await values?.endless(readings);
    // Nobody waits for a large value.
    void values?.tracked(readings);
    return readings.filter(({ life }) => life === 'gone');
  }

  /** A key has got this deadline. */
  tracked(database: number, deadlineMs: number): void {
    this.#term?.nudgers.get(database)?.tracked(deadlineMs);
  }

  #nudger(session: Session, database: number): Nudger {
    const { deadlines, tracker, capture, values, clock, events, serverNowMs } = this.#parts;
    return new Nudger({
      database,
      deadlines,
      tracker,
      reader: { read: (keys) => session.keyspace.nudge(keys) },
      serverNowMs,
      clock,
      onMissing: (missing, signal) => this.#missing(session, database, missing, signal),
      onAlive: (keys) => void this.#livesOn(session, keys),
      onNudged: (count) => events.nudged(count),
      onTaken: (taken) => values?.due(taken),
      room: (signal) => capture.room(signal),
      settled: (signal) => capture.settled(signal),
    });
  }

  /** What was said of these keys before comes first: they may have expired, and been set again. */
  async #livesOn(session: Session, keys: readonly KeyInDatabase[]): Promise<void> {
    try {
      await session.heardAll();
    } catch {
      // The term is about to end, and the next one looks at them again.
      return;
    }
    for (const { database, key } of keys) {
      this.#parts.capture.noticed({ kind: 'changed', database, key });
    }
  }

  /** Until the term ends; what Redis does not carry out is tried again. */
  async #repeat(signal: AbortSignal, step: () => Promise<void>): Promise<void> {
    const { events, clock } = this.#parts;
    while (!signal.aborted) {
      try {
        await step();
      } catch (error) {
        if (!signal.aborted) events.watchFailed(messageOf(error));
        await clock.sleep(AGAIN_MS, signal);
      }
    }
  }

  /** Until the term ends, or one of these cannot go on: then all of them begin again. */
  async #watch(term: Term): Promise<void> {
    const { signal } = term.end;
    const { databases, deadlines, isWanted, values, forgetValues } = this.#parts;
    for (const database of databases) {
      await this.#forgetIfEmptied(term, database);
      if (values === null) await forgetValues(database);
      await deadlines.bringBack(database, isWanted);
    }
    term.checked.abort();
    const attempt = new AbortController();
    // So it is with this one.
    setMaxListeners(0, attempt.signal);
    const stop = () => attempt.abort();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const sweeper = new Sweeper(this.#parts, term.session.sweeping);
    const parts = Array.from(term.nudgers, ([database, nudger]) => [
      nudger.run(attempt.signal),
      sweeper.reconcile(database, attempt.signal),
      this.#watchMarker(term, database, attempt.signal),
    ]).flat();
    parts.push(sweeper.run(term.sweepNow, attempt.signal));
    // Not waited for: it hangs as long as a silent connection does.
    void this.#tellSettled(term, attempt.signal);
    try {
      await Promise.all(parts);
    } finally {
      stop();
      signal.removeEventListener('abort', stop);
      await Promise.allSettled(parts);
    }
  }

  /** For whoever goes on when this replica dies. */
  async #tellSettled({ session }: Term, signal: AbortSignal): Promise<void> {
    const { capture, deadlines, serverNowMs, clock } = this.#parts;
    while (!signal.aborted) {
      await clock.sleep(SETTLED_EVERY_MS, signal);
      const untilMs = Math.floor(serverNowMs()) - CLOCK_SLACK_MS;
      try {
        await session.heardAll();
        await capture.settled(signal);
        if (!signal.aborted) await deadlines.settled(untilMs);
      } catch {
        // Whoever goes on looks closer at what it remembers.
      }
    }
  }

  async #watchMarker(term: Term, database: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#parts.clock.sleep(MARKER_EVERY_MS, signal);
      if (!signal.aborted) await this.#forgetIfEmptied(term, database);
    }
  }

  /** Resolves with whether it was: what was known of its keys is true no longer. */
  async #forgetIfEmptied(
    { session: { marker }, sweepNow }: Pick<Term, 'session' | 'sweepNow'>,
    database: number,
  ): Promise<boolean> {
    const { deadlines, forgetValues, events } = this.#parts;
    if (await marker.isThere(database)) {
      this.#marked.add(database);
      return false;
    }
    // Forgotten before the marker is there again: a crash between the two must not look like no flush.
    const forgotten = await deadlines.forget(database);
    await forgetValues(database);
    await marker.write(database);
    const isFirst = forgotten === 0 && !this.#marked.has(database);
    this.#marked.add(database);
    if (isFirst) return false;
    events.databaseEmptied(database, forgotten);
    // Keys that have come since were forgotten as well.
    sweepNow.ring();
    return true;
  }

  /**
   * Gone after their deadlines, and unheard: expired while nobody listened, or as good as that. Once
   * all that Redis said is taken care of, those that still have their entries are missing indeed.
   */
  async #missing(
    session: Session,
    database: number,
    missing: readonly Deadline[],
    signal: AbortSignal,
  ): Promise<void> {
    const { capture, tracker, deadlines, isWanted, serverNowMs } = this.#parts;
    const term = this.#term;
    if (term === null || term.session !== session) return;
    // It waits as long as Redis may not expire keys; so they are read once more.
    if (await this.#forgetIfEmptied(term, database)) return;
    const readings = await tracker.nudged(missing, session.keyspace);
    await session.heardAll();
    await capture.settled(signal);
    // Looked at last: what a flush takes after this is not among the missing.
    if (await this.#forgetIfEmptied(term, database)) return;
    if (signal.aborted) return;
    const detectedAtMs = Math.round(serverNowMs());
    const gone = readings.filter(({ life }) => life === 'gone');
    const unrouted = gone.filter(({ key }) => !isWanted(key));
    if (unrouted.length > 0) await deadlines.setAside(unrouted);
    for (const { key } of gone) {
      if (!isWanted(key)) continue;
      await capture.room(signal);
      const what = { database, key, expiredAtMs: null, detectedAtMs };
      capture.expired({ ...what, detectedBy: 'recovery' });
    }
    await capture.settled(signal);
  }
}
