/**
 * Reads each key just after its deadline: its primary then expires it and says so, at once instead
 * of whenever it would have come by. A key that lives on gets its new deadline. One that is gone,
 * and whose expiration is not heard soon, is reported as missing. One nudger has one database.
 */
import { Bell } from '../bell.js';
import type { Clock } from '../clock.js';
import type { Deadline } from '../vocabulary.js';
import type { Deadlines } from './deadlines.js';
import type { KeyReader, Tracker } from './tracker.js';

/** Redis expires a key when its clock is strictly later than the deadline. */
const AFTER_DEADLINE_MS = 1;

/** Keys read together: what is due later waits for them. */
const BATCH = 500;

/** A key that lives on at its deadline: the server's clock is behind what is known of it. */
const EARLY_MS = 5;

/** How often the index is looked at although nothing in it is due: somebody else may write it too. */
const LOOK_EVERY_MS = 1_000;

/** How long the notification of an expiration may take to be heard and claimed. */
const HEARD_WITHIN_MS = 1_000;

const RECHECK_EVERY_MS = 250;

/** After a long gap there may be a million. */
const RECHECK_BATCH = 2_000;

export interface NudgerParts {
  readonly database: number;
  readonly deadlines: Deadlines;
  readonly tracker: Pick<Tracker, 'nudged'>;
  readonly reader: KeyReader;
  /** The time by the clock of the Redis that holds the keys, in milliseconds. */
  readonly serverNowMs: () => number;
  readonly clock: Clock;
  /**
   * Told of keys that are gone after their deadlines, and of which no expiration was claimed; again
   * and again, as long as that is so. The signal is that of the run.
   */
  readonly onMissing: (missing: readonly Deadline[], signal: AbortSignal) => Promise<void>;
  readonly onNudged: (count: number) => void;
}

export class Nudger {
  readonly #parts: NudgerParts;
  readonly #bell = new Bell();
  /** The deadline that is being waited for; nothing is earlier while the index is looked at. */
  #nextMs = Number.NEGATIVE_INFINITY;
  /** The earliest deadline that a key has got since the index was last looked at. */
  #newestMs = Number.POSITIVE_INFINITY;

  constructor(parts: NudgerParts) {
    this.#parts = parts;
  }

  /** A key has got this deadline: it may be earlier than the one that is waited for. */
  tracked(deadlineMs: number): void {
    this.#newestMs = Math.min(this.#newestMs, deadlineMs);
    if (deadlineMs < this.#nextMs) this.#bell.ring();
  }

  /** Until the signal aborts; rejects when Redis cannot be used. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#nudge(signal), this.#recheck(signal)]);
  }

  async #nudge(signal: AbortSignal): Promise<void> {
    const { database, deadlines, serverNowMs, clock } = this.#parts;
    while (!signal.aborted) {
      this.#newestMs = Number.POSITIVE_INFINITY;
      const due = await deadlines.take(database, serverNowMs() - AFTER_DEADLINE_MS, BATCH);
      if (due.length > 0) {
        const { isEarly } = await this.#read(due);
        if (isEarly) await clock.sleep(EARLY_MS, signal);
        continue;
      }
      const nextMs = (await deadlines.earliestMs(database)) ?? Number.POSITIVE_INFINITY;
      this.#nextMs = Math.min(nextMs, this.#newestMs);
      const leftMs = this.#nextMs + AFTER_DEADLINE_MS - serverNowMs();
      await this.#bell.wait(clock, Math.min(Math.max(0, leftMs), LOOK_EVERY_MS), signal);
      this.#nextMs = Number.NEGATIVE_INFINITY;
    }
  }

  /** Those that are gone, and whether there are such as were read too early. */
  async #read(
    due: readonly Deadline[],
  ): Promise<{ readonly gone: readonly Deadline[]; readonly isEarly: boolean }> {
    const { tracker, reader, onNudged, serverNowMs } = this.#parts;
    const readings = await tracker.nudged(due, reader);
    onNudged(due.length);
    const dueMs = serverNowMs() - AFTER_DEADLINE_MS;
    return {
      gone: due.filter((_, at) => readings[at]?.life === 'gone'),
      isEarly: readings.some(({ life, deadlineMs }) => life === 'until' && deadlineMs <= dueMs),
    };
  }

  async #recheck(signal: AbortSignal): Promise<void> {
    const { database, deadlines, serverNowMs, clock, onMissing } = this.#parts;
    while (!signal.aborted) {
      const untilMs = serverNowMs() - HEARD_WITHIN_MS;
      const overdue = await deadlines.overdue(database, untilMs, RECHECK_BATCH);
      if (overdue.length > 0) {
        const { gone } = await this.#read(overdue);
        if (gone.length > 0) await onMissing(gone, signal);
      }
      await clock.sleep(RECHECK_EVERY_MS, signal);
    }
  }
}
