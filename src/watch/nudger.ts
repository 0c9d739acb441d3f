/**
 * Reads each key just after its deadline: its primary then expires it and says so, at once instead
 * of whenever it would have come by. A key that lives on gets its new deadline. One that is gone,
 * and whose expiration is not heard soon, is reported as missing. One nudger has one database.
 */
import TinyQueue from 'tinyqueue';
import type { Deadlines } from '../deadlines/deadlines.js';
import { type KeyReader, livesOn, type Tracker } from '../deadlines/tracker.js';
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import { runTogether } from '../lib/run-together.js';
import type { Deadline, KeyInDatabase } from '../model/vocabulary.js';

/** Redis expires a key when its clock is strictly later than the deadline. */
const AFTER_DEADLINE_MS = 1;

/** So much earlier an entry is taken out of the index: at its deadline its key waits for nothing. */
const AHEAD_MS = 100;

/** From one look at the index to the next, unless a key has got an earlier deadline. */
const TAKE_EVERY_MS = 50;

/** Keys read together: what is due later waits for them. */
export const NUDGE_BATCH = 500;

/** Timers are no more exact than that; the rest of a wait is spent turning. */
const TIMER_MS = 1;

/** Taken out, and not yet read. */
const HELD_MAX = 4 * NUDGE_BATCH;

/**
 * A key that lives on at its deadline: the server's clock is behind what is known of it, or it may
 * not expire keys for a while. It is read again after so long, and after twice as long each time.
 */
const EARLY_MS = 1;
const EARLY_MS_MAX = 64;

/** How often the index and the clock are looked at although nothing is due: others may have set either. */
const LOOK_EVERY_MS = 1_000;

/** How long the notification of an expiration may take to be heard and claimed. */
const HEARD_WITHIN_MS = 1_000;

const RECHECK_EVERY_MS = 250;

/** After a long gap there may be a million. */
const RECHECK_BATCH = 2_000;

export interface NudgerParts {
  readonly database: number;
  readonly deadlines: Deadlines;
  readonly tracker: Pick<Tracker, 'take' | 'readDue' | 'earliest'>;
  readonly reader: KeyReader;
  /** The time by the clock of the Redis that holds the keys, in milliseconds. */
  readonly serverNowMs: () => number;
  readonly clock: Clock;
  /**
   * Told of keys that are gone after their deadlines, and of which no expiration was claimed; again
   * and again, as long as that is so. The signal is that of the run.
   */
  readonly onMissing: (missing: readonly Deadline[], signal: AbortSignal) => Promise<void>;
  /** Told of keys that live on after their deadlines, by another one or by none; must not wait. */
  readonly onAlive: (keys: readonly KeyInDatabase[]) => void;
  readonly onNudged: (count: number) => void;
  /** Told of entries that are taken, `AHEAD_MS` before their deadlines or later; must not wait. */
  readonly onTaken: (taken: readonly Deadline[]) => void;
  /** Resolves when what Redis says of expired keys finds room, or the signal aborts. */
  readonly room: (signal: AbortSignal) => Promise<void>;
  /** Resolves when all expirations that were heard are captured, or the signal aborts. */
  readonly drained: (signal: AbortSignal) => Promise<void>;
}

export class Nudger {
  readonly #parts: NudgerParts;
  /** Taken out of the index, the earliest first; read when their deadlines have passed. */
  #held = new TinyQueue<Deadline>();
  /** Notified when other deadlines are held than before. */
  readonly #holding = new Condition();

  constructor(parts: NudgerParts) {
    this.#parts = parts;
  }

  /** Until the signal aborts; rejects when Redis cannot be used. */
  async run(signal: AbortSignal): Promise<void> {
    this.#held = new TinyQueue<Deadline>([], (one, other) => one.deadlineMs - other.deadlineMs);
    await runTogether(signal, [
      (ending) => this.#take(ending),
      (ending) => this.#nudge(ending),
      (ending) => this.#recheck(ending),
    ]);
  }

  /** Takes out of the index what will soon be due. */
  async #take(signal: AbortSignal): Promise<void> {
    const { database, deadlines, tracker, serverNowMs, clock } = this.#parts;
    const newest = tracker.earliest(database);
    // Those that were taken before, by whoever watched then.
    const nowMs = serverNowMs();
    const taken = await deadlines.overdue(database, nowMs + AHEAD_MS, RECHECK_BATCH);
    this.#hold(taken.filter(({ deadlineMs }) => deadlineMs > nowMs - HEARD_WITHIN_MS));
    while (!signal.aborted) {
      newest.reset();
      const due = await tracker.take(database, serverNowMs() + AHEAD_MS, NUDGE_BATCH);
      this.#hold(due);
      if (due.length === NUDGE_BATCH) {
        while (this.#held.length >= HELD_MAX && !signal.aborted) {
          await this.#holding.wait(clock, null, signal);
        }
        continue;
      }
      const earliestMs = (await deadlines.earliestMs(database)) ?? Number.POSITIVE_INFINITY;
      const lookAgainMs = serverNowMs() + TAKE_EVERY_MS;
      const nextMs = Math.min(earliestMs, newest.ms);
      if (nextMs < lookAgainMs) continue;
      const lookAtMs = Math.max(nextMs - AHEAD_MS, lookAgainMs);
      const leftMs = lookAtMs - serverNowMs();
      await newest.wait(clock, lookAtMs, Math.min(leftMs, LOOK_EVERY_MS), signal);
    }
  }

  #hold(taken: readonly Deadline[]): void {
    if (taken.length === 0) return;
    this.#parts.onTaken(taken);
    for (const deadline of taken) this.#held.push(deadline);
    this.#holding.notifyAll();
  }

  /** Reads what is held, each key just after its deadline. */
  async #nudge(signal: AbortSignal): Promise<void> {
    const { serverNowMs, clock, room } = this.#parts;
    let earlyMs = EARLY_MS;
    while (!signal.aborted) {
      await room(signal);
      const due = this.#takeHeld(serverNowMs() - AFTER_DEADLINE_MS);
      if (due.length > 0) {
        const { isEarly } = await this.#read(due);
        if (isEarly) await clock.sleep(earlyMs, signal);
        earlyMs = isEarly ? Math.min(2 * earlyMs, EARLY_MS_MAX) : EARLY_MS;
        continue;
      }
      const first = this.#held.peek();
      const leftMs =
        first === undefined ? null : first.deadlineMs + AFTER_DEADLINE_MS - serverNowMs();
      // Not for all of it at once: the server's clock may be set meanwhile.
      const waitMs = leftMs === null ? null : Math.min(leftMs, LOOK_EVERY_MS);
      if (leftMs !== null && leftMs < TIMER_MS) await clock.turn();
      else await this.#holding.wait(clock, waitMs, signal);
    }
  }

  #takeHeld(untilMs: number): Deadline[] {
    const due: Deadline[] = [];
    for (let first = this.#held.peek(); first !== undefined; first = this.#held.peek()) {
      if (first.deadlineMs > untilMs || due.length === NUDGE_BATCH) break;
      this.#held.pop();
      due.push(first);
    }
    if (due.length > 0) this.#holding.notifyAll();
    return due;
  }

  /** Those that are gone, and whether there are such as were read too early. */
  async #read(
    due: readonly Deadline[],
  ): Promise<{ readonly gone: readonly Deadline[]; readonly isEarly: boolean }> {
    const { tracker, reader, onAlive, onNudged, serverNowMs } = this.#parts;
    const readings = await tracker.readDue(due, reader);
    onNudged(due.length);
    const alive = readings.filter((one, at) => livesOn(one, due[at]?.deadlineMs));
    if (alive.length > 0) onAlive(alive);
    const dueMs = serverNowMs() - AFTER_DEADLINE_MS;
    return {
      gone: due.filter((_, at) => readings[at]?.ttl === 'missing'),
      isEarly: readings.some(({ ttl, deadlineMs }) => ttl === 'volatile' && deadlineMs <= dueMs),
    };
  }

  async #recheck(signal: AbortSignal): Promise<void> {
    const { database, deadlines, serverNowMs, clock, drained, onMissing } = this.#parts;
    while (!signal.aborted) {
      const untilMs = serverNowMs() - HEARD_WITHIN_MS;
      await drained(signal);
      const overdue = await deadlines.overdue(database, untilMs, RECHECK_BATCH);
      if (overdue.length > 0) {
        const { gone } = await this.#read(overdue);
        if (gone.length > 0) await onMissing(gone, signal);
      }
      await clock.sleep(RECHECK_EVERY_MS, signal);
    }
  }
}
