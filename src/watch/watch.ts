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
import { type ChangedKey, CLOCK_SLACK_MS } from '../deadlines/deadlines.js';
import { Nudger } from '../deadlines/nudger.js';
import { messageOf } from '../errors.js';
import type { Session } from '../source/session.js';
import type { Deadline, KeyInDatabase } from '../vocabulary.js';
import { Emptied, type EmptiedParts } from './emptied.js';
import { Sweeper, type SweeperParts } from './sweeper.js';
import { Trust } from './trust.js';
import { captureMissing, catchUp, type UnheardParts } from './unheard.js';

/** How often it is looked whether a database was emptied. */
const MARKER_EVERY_MS = 5_000;

/** How often the settled time is stored: a take-over checks the notifications since then again. */
export const SETTLED_EVERY_MS = 500;

/** The wait after the state Redis could not be used. */
const AGAIN_MS = 1_000;

export interface WatchParts extends SweeperParts, Pick<EmptiedParts, 'forgetValues'> {
  readonly capture: Pick<Capture, 'expired' | 'noticed' | 'settled' | 'room' | 'isQueued'>;
}

/** One stretch of listening. */
interface Term {
  readonly session: Session;
  readonly end: AbortController;
  readonly nudgers: ReadonlyMap<number, Nudger>;
  /** Rings when a sweep must not wait for its time. */
  readonly sweepNow: Bell;
  /**
   * Aborts once it is known that what the index says is about the databases as they are, and what had
   * expired before is captured.
   */
  readonly checked: AbortController;
  readonly trust: Trust;
}

export class Watch {
  readonly #parts: WatchParts;
  readonly #emptied: Emptied;
  #term: Term | null = null;
  #over: Promise<unknown> = Promise.resolve();

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.#emptied = new Emptied(parts);
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
    const trust = new Trust(() => session.tellsRemovals());
    const term = { session, end, nudgers, sweepNow: new Bell(), checked, trust };
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

  /** Whether something may have expired unheard that is not captured yet. */
  isCatchingUp(): boolean {
    return !this.#term?.checked.signal.aborted;
  }

  /** Resolves once what expired unheard is captured, as far as it is found first; false: the term is over. */
  async caughtUp(): Promise<boolean> {
    const term = this.#term;
    if (term === null) return false;
    await untilAborted(term.checked.signal);
    return !term.end.signal.aborted;
  }

  /** Whether an `expired` long before the deadline in the index can only be of a key that was removed. */
  tellsRemovals(database: number): boolean {
    return this.#term?.trust.tellsRemovals(database) ?? false;
  }

  /** Some deadlines in the index may be out of date. */
  noticeLost(): void {
    this.#term?.trust.lose();
  }

  /**
   * The deadlines of these keys are to be read again. Those that cannot be are, when the gap is over
   * that begins with it. Resolves with those that are gone; rejects when they cannot be written down.
   */
  async changed(keys: readonly ChangedKey[]): Promise<readonly KeyInDatabase[]> {
    if (this.#term === null) return [];
    const { session, checked, sweepNow, trust } = this.#term;
    await untilAborted(checked.signal);
    const read = async (wanted: readonly KeyInDatabase[]) => {
      try {
        return await session.keyspace.read(wanted);
      } catch {
        // A connection that stands may refuse, too, and no gap begins with that.
        trust.lose();
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

  /**
   * These keys were removed, as the server says. A server that was demoted says so, too, of each key
   * that expires on the new primary: the removals count once it has been asked after them. The next
   * term reads again what is left.
   */
  async removed(keys: readonly KeyInDatabase[]): Promise<void> {
    if (this.#term === null) return;
    const { session, sweepNow } = this.#term;
    try {
      await session.isPrimary();
    } catch {
      // As above: the sweep reads again what the next term does not.
      return sweepNow.ring();
    }
    const { tracker, values } = this.#parts;
    await tracker.removed(keys);
    await values?.removed(keys);
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
    for (const database of databases) {
      await catchUp(this.#unheard(term, database), signal);
    }
    term.checked.abort();
    const attempt = new AbortController();
    // So it is with this one.
    setMaxListeners(0, attempt.signal);
    const stop = () => attempt.abort();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const sweeper = new Sweeper(this.#parts, term.session);
    const parts = Array.from(term.nudgers, ([database, nudger]) => [
      nudger.run(attempt.signal),
      this.#reconcile(term, sweeper, database, attempt.signal),
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

  async #reconcile(
    term: Term,
    sweeper: Sweeper,
    database: number,
    signal: AbortSignal,
  ): Promise<void> {
    await sweeper.reconcile(database, signal);
    if (!signal.aborted) term.trust.gain(database);
  }

  /** For the replica that takes over when this one dies. */
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
        // The replica that takes over then checks more of the notifications that it remembers.
      }
    }
  }

  async #watchMarker(term: Term, database: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#parts.clock.sleep(MARKER_EVERY_MS, signal);
      if (!signal.aborted) await this.#forgetIfEmptied(term, database);
    }
  }

  /** Resolves with whether it was; then keys that have come since were forgotten as well. */
  async #forgetIfEmptied({ session, sweepNow }: Term, database: number): Promise<boolean> {
    const isEmptied = await this.#emptied.forget(session.marker, database);
    if (isEmptied) sweepNow.ring();
    return isEmptied;
  }

  /** Keys are gone after their deadlines, and unheard. */
  async #missing(
    session: Session,
    database: number,
    missing: readonly Deadline[],
    signal: AbortSignal,
  ): Promise<void> {
    const term = this.#term;
    if (term === null || term.session !== session) return;
    await captureMissing(missing, this.#unheard(term, database), signal);
  }

  #unheard(term: Term, database: number): UnheardParts {
    const { deadlines, tracker, capture, isWanted, serverNowMs } = this.#parts;
    const isEmptied = () => this.#forgetIfEmptied(term, database);
    const { session } = term;
    const parts = { database, session, deadlines, tracker, capture, isWanted };
    return { ...parts, serverNowMs, isEmptied };
  }
}
