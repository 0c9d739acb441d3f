/**
 * The sequence of events of one server. Every listener receives them in the same order. Marks divide the sequence into
 * intervals. An expiration is named by its number among the expirations of its database, counted from the mark before
 * it or up to the mark after it, so that replicas that received the same mark give it the same name. No clocks are
 * compared.
 */
import type { ExpiredEvent, Interval, KeyEvent } from '../model/vocabulary.js';

/** Marks remembered: more than arrive while an event is buffered. */
const MARKS_MAX = 256;

interface OpenInterval extends Interval {
  after: string | null;
  counts: Map<number, number>;
}

export class Sequence {
  readonly #intervals = new WeakSet<Interval>();
  #interval = this.#opened(null, 0);
  /** The ordinal of the interval after each mark; the oldest mark first. */
  readonly #ordinals = new Map<string, number>();

  /** Ends the interval with a mark that has arrived. A mark that arrives again is ignored. */
  mark(mark: string): void {
    if (this.has(mark)) return;
    this.#interval.after = mark;
    this.#begin(mark);
    this.#ordinals.set(mark, this.#interval.ordinal);
    const [oldest = mark] = this.#ordinals.keys();
    if (this.#ordinals.size > MARKS_MAX) this.#ordinals.delete(oldest);
  }

  /** Ends the interval without a mark: events may be missed from now on. */
  interrupt(): void {
    this.#begin(null);
  }

  /** The next event, with its place in the sequence. */
  place(event: KeyEvent): KeyEvent {
    const interval = this.#interval;
    if (event.kind !== 'expired') return { ...event, interval };
    const { kind, database, key, detectedAtMs, detectedBy } = event;
    const { counts } = interval;
    const index = counts.get(database) ?? 0;
    counts.set(database, index + 1);
    return { kind, database, key, detectedAtMs, detectedBy, interval, index };
  }

  /** Whether a mark has arrived recently. */
  has(mark: string): boolean {
    return this.#ordinals.has(mark);
  }

  /** Returns a test of whether an event precedes a mark. Until one of the marks has arrived, no event does. */
  isBefore(marks: readonly string[]): (event: KeyEvent) => boolean {
    const ordinal = Math.max(0, ...marks.map((mark) => this.#ordinals.get(mark) ?? 0));
    return ({ interval }) => interval !== undefined && interval.ordinal < ordinal;
  }

  /** Whether the interval is of this sequence. */
  contains(interval: Interval): boolean {
    return this.#intervals.has(interval);
  }

  #begin(before: string | null): void {
    this.#interval = this.#opened(before, this.#interval.ordinal + 1);
  }

  #opened(before: string | null, ordinal: number): OpenInterval {
    const interval = { before, after: null, ordinal, counts: new Map() };
    this.#intervals.add(interval);
    return interval;
  }
}

/** Whether an expiration's name refers to a mark. */
export function isByMark(name: string): boolean {
  return /[+-]/.test(name);
}

/**
 * The names of a published expiration. Replicas that received the mark before the interval share a name. A replica that
 * missed that mark uses the mark after the interval. A replay adds that name, too: such a replica may have captured the
 * expiration.
 */
export function namesOf(event: ExpiredEvent): readonly string[] {
  const { database, interval, index, isReplayed = false } = event;
  if (interval === undefined || index === undefined) return [];
  const { before, after, counts } = interval;
  const names = before === null ? [] : [`${before}+${index}`];
  if (after !== null && (before === null || isReplayed)) {
    names.push(`${after}-${(counts.get(database) ?? 0) - index}`);
  }
  return names;
}
