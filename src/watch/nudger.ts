/**
 * Reads each key of one database just after its deadline. The primary then expires the key and publishes that at once,
 * instead of when its own expiry reaches the key. A key that lives on is reported, so that its new deadline is read. A
 * key that is missing, and whose expiration is not captured soon, is reported as well.
 */
import TinyQueue from 'tinyqueue';
import type { Deadlines } from '../deadlines/deadlines.js';
import { type KeyReader, livesOn, type Tracker } from '../deadlines/tracker.js';
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import { runTogether } from '../lib/run-together.js';
import type { Deadline, KeyInDatabase, KeyReading } from '../model/vocabulary.js';

/** Redis expires a key when its clock is strictly later than the deadline. */
const AFTER_DEADLINE_MS = 1;

/** How long before its deadline an entry is taken, so that the nudge waits for nothing. */
const AHEAD_MS = 100;

/** The interval between two looks at the index, unless a deadline is due sooner. */
const TAKE_EVERY_MS = 50;

/** Keys that are read together; keys that are due later wait for them. */
export const NUDGE_BATCH = 500;

/** A shorter wait is spent in turns of the event loop, which are more exact than a timer and take the whole thread. */
const SPIN_MS = 0.3;

/** With more deadlines in hand, no wait is spent in turns: about 300 a second. */
const SPIN_HELD_MAX = 30;

/** Entries that are taken and not yet read. */
const HELD_MAX = 4 * NUDGE_BATCH;

/**
 * The delay before a key that still exists after its deadline is read again; doubles each time. Either the server's
 * clock is behind the relay's estimate, or expiry is paused (CLIENT PAUSE).
 */
const EARLY_MS = 1;
const EARLY_MS_MAX = 64;

/** How often the index and the clock are checked although nothing is due: others may have changed either. */
const LOOK_EVERY_MS = 1_000;

/** How long it may take until the notification of an expiration is received and captured. */
const CAPTURED_WITHIN_MS = 1_000;

const RECHECK_EVERY_MS = 250;

/** Overdue entries that are read together; after a long gap there may be a million. */
const RECHECK_BATCH = 2_000;

export interface NudgerParts {
  readonly database: number;
  readonly deadlines: Deadlines;
  readonly tracker: Pick<Tracker, 'take' | 'readDue' | 'earliest'>;
  readonly reader: KeyReader;
  /** The time by the clock of the Redis that holds the keys, in milliseconds; of several, by the one ahead. */
  readonly serverNowMs: () => number;
  /** How far the clock of a key's primary is behind that time. */
  readonly behindMs: (key: KeyInDatabase) => number;
  readonly clock: Clock;
  /**
   * Called with keys that are missing after their deadlines, and whose expirations are not captured; called again until
   * they are. The signal aborts with the run.
   */
  readonly onMissing: (missing: readonly Deadline[], signal: AbortSignal) => Promise<void>;
  /** Called with keys that live on after their deadlines, with another deadline or none; must not wait. */
  readonly onAlive: (keys: readonly KeyReading[]) => void;
  readonly onNudged: (count: number) => void;
  /** Called with entries that are taken, `AHEAD_MS` before their deadlines or later; must not wait. */
  readonly onTaken: (taken: readonly Deadline[]) => void;
  /** Resolves when there is room for more expirations, or the signal aborts. */
  readonly room: (signal: AbortSignal) => Promise<void>;
  /** Resolves when all expirations received so far are captured, or the signal aborts. */
  readonly drained: (signal: AbortSignal) => Promise<void>;
}

/** A taken entry. */
interface Held extends Deadline {
  /** When its deadline has passed at its primary, by `serverNowMs`; missing: at the deadline. */
  readonly dueMs?: number;
}

interface Nudged {
  readonly missing: readonly Deadline[];
  /** Whether any key was read too early. */
  readonly isEarly: boolean;
  /** The number of keys whose primary cannot be asked now. */
  readonly awayCount: number;
}

export class Nudger {
  readonly #parts: NudgerParts;
  /** Taken entries, the earliest first; read when their deadlines have passed. */
  #held = new TinyQueue<Held>();
  /** When the last of the taken entries is due. */
  #lastDueMs = Number.NEGATIVE_INFINITY;
  /** Notified when `#held` has changed. */
  readonly #heldChanged = new Condition();

  constructor(parts: NudgerParts) {
    this.#parts = parts;
  }

  /** Runs until the signal aborts; rejects when Redis cannot be used. */
  async run(signal: AbortSignal): Promise<void> {
    this.#held = new TinyQueue<Held>([], (one, other) => dueMsOf(one) - dueMsOf(other));
    await runTogether(signal, [
      (ending) => this.#take(ending),
      (ending) => this.#nudge(ending),
      (ending) => this.#recheck(ending),
    ]);
  }

  /** Takes entries shortly before they are due. */
  async #take(signal: AbortSignal): Promise<void> {
    const { database, deadlines, tracker, serverNowMs, clock } = this.#parts;
    const newest = tracker.earliest(database);
    // An earlier run, possibly on another replica, may have taken entries without reading their keys.
    const nowMs = serverNowMs();
    const taken = await deadlines.overdue(database, nowMs + AHEAD_MS, RECHECK_BATCH);
    const isRecent = (one: Held) => dueMsOf(one) > nowMs - CAPTURED_WITHIN_MS;
    this.#hold(taken.filter((deadline) => isRecent(this.#heldOf(deadline))));
    while (!signal.aborted) {
      newest.reset();
      const due = await tracker.take(database, serverNowMs() + AHEAD_MS, NUDGE_BATCH);
      this.#hold(due);
      if (due.length === NUDGE_BATCH) {
        while (this.#held.length >= HELD_MAX && !signal.aborted) {
          await this.#heldChanged.wait(clock, null, signal);
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
    for (const deadline of taken) {
      const held = this.#heldOf(deadline);
      this.#held.push(held);
      this.#lastDueMs = Math.max(this.#lastDueMs, dueMsOf(held));
    }
    this.#heldChanged.notifyAll();
  }

  #heldOf(deadline: Deadline): Held {
    const behindMs = this.#parts.behindMs(deadline);
    return behindMs === 0 ? deadline : { ...deadline, dueMs: deadline.deadlineMs + behindMs };
  }

  /** Reads the keys of the held entries, each just after its deadline. */
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
        first === undefined ? null : dueMsOf(first) + AFTER_DEADLINE_MS - serverNowMs();
      // A long wait is split: the server's clock may be set meanwhile.
      const waitMs = leftMs === null ? null : Math.min(leftMs, LOOK_EVERY_MS);
      const isShort = leftMs !== null && leftMs < SPIN_MS && this.#held.length <= SPIN_HELD_MAX;
      if (isShort) await clock.turn();
      else await this.#heldChanged.wait(clock, waitMs, signal);
    }
  }

  #takeHeld(untilMs: number): Held[] {
    const due: Held[] = [];
    for (let first = this.#held.peek(); first !== undefined; first = this.#held.peek()) {
      if (dueMsOf(first) > untilMs || due.length === NUDGE_BATCH) break;
      this.#held.pop();
      due.push(first);
    }
    if (due.length > 0) this.#heldChanged.notifyAll();
    return due;
  }

  /** Reads keys that are due. */
  async #read(due: readonly Deadline[]): Promise<Nudged> {
    const { tracker, reader, onAlive, onNudged, serverNowMs, behindMs } = this.#parts;
    const readings = await tracker.readDue(due, reader);
    onNudged(due.length);
    const alive = readings.filter((one, at) => livesOn(one, due[at]?.deadlineMs));
    if (alive.length > 0) onAlive(alive);
    const untilMs = serverNowMs() - AFTER_DEADLINE_MS;
    const isPast = (one: KeyReading) => one.deadlineMs <= untilMs - behindMs(one);
    return {
      missing: due.filter((_, at) => readings[at]?.ttl === 'missing'),
      isEarly: readings.some((one) => one.ttl === 'volatile' && isPast(one)),
      awayCount: readings.filter(({ ttl }) => ttl === 'elsewhere').length,
    };
  }

  async #recheck(signal: AbortSignal): Promise<void> {
    const { database, deadlines, serverNowMs, clock, drained, onMissing } = this.#parts;
    // Keys of a primary that is away stay overdue: the next ones are not to wait for them.
    let skipped = 0;
    while (!signal.aborted) {
      const untilMs = serverNowMs() - CAPTURED_WITHIN_MS;
      await drained(signal);
      const overdue = await deadlines.overdue(database, untilMs, RECHECK_BATCH, skipped);
      const isLast = overdue.length < RECHECK_BATCH;
      if (isLast) skipped = 0;
      const due = overdue.filter((deadline) => dueMsOf(this.#heldOf(deadline)) <= untilMs);
      if (due.length > 0) {
        const { missing, awayCount } = await this.#read(due);
        if (!isLast) skipped += awayCount;
        if (missing.length > 0) await onMissing(missing, signal);
      }
      const isIdle = overdue.length === 0 && skipped === 0 && this.#lastDueMs <= untilMs;
      if (isIdle) await this.#heldChanged.wait(clock, LOOK_EVERY_MS, signal);
      else await clock.sleep(RECHECK_EVERY_MS, signal);
    }
  }
}

function dueMsOf({ deadlineMs, dueMs = deadlineMs }: Held): number {
  return dueMs;
}
