/**
 * The order in which Redis publishes events is the same for all who listen to one server. Marks divide it into
 * intervals, so that an expiration has a name that other replicas know, too: its number among those of its key since
 * the mark before, or until the mark after. No clock is compared.
 */
import { keyId } from '../model/key-id.js';
import type { ExpiredEvent, Interval, KeyEvent } from '../model/vocabulary.js';

/** Of one interval, some 15 MB. Expirations beyond it have no names. */
const KEYS_MAX = 100_000;

/** More than are heard while an event is buffered. */
const MARKS_MAX = 256;

interface OpenInterval extends Interval {
  after: string | null;
  counts: Map<string, number> | null;
}

export class Sequence {
  #interval = opened(null, 0);
  /** By mark, the ordinal of the interval that it begins; the oldest first. */
  readonly #ordinals = new Map<string, number>();

  /** A mark is heard. */
  mark(mark: string): void {
    this.#interval.after = mark;
    this.#begin(mark);
    this.#ordinals.set(mark, this.#interval.ordinal);
    const [oldest = mark] = this.#ordinals.keys();
    if (this.#ordinals.size > MARKS_MAX) this.#ordinals.delete(oldest);
  }

  /** Events may be missed from now on: what is heard later lies in another interval. */
  interrupt(): void {
    this.#begin(null);
  }

  /** The event that is heard next, with its place. */
  place(event: KeyEvent): KeyEvent {
    const interval = this.#interval;
    if (event.kind !== 'expired') return { ...event, interval };
    const { counts } = interval;
    const name = keyId(event);
    const index = counts?.get(name) ?? 0;
    if (counts === null || (index === 0 && counts.size >= KEYS_MAX)) {
      interval.counts = null;
      return { ...event, interval };
    }
    counts.set(name, index + 1);
    return { ...event, interval, index };
  }

  /** Whether a mark was heard lately. */
  has(mark: string): boolean {
    return this.#ordinals.has(mark);
  }

  /** A test of whether an event lies before a mark; of a mark that was not heard, nothing is known to. */
  isBefore(mark: string | null): (event: KeyEvent) => boolean {
    const ordinal = this.#ordinals.get(mark ?? '') ?? 0;
    return ({ interval }) => interval !== undefined && interval.ordinal < ordinal;
  }

  #begin(before: string | null): void {
    this.#interval = opened(before, this.#interval.ordinal + 1);
  }
}

function opened(before: string | null, ordinal: number): OpenInterval {
  return { before, after: null, ordinal, counts: new Map() };
}

/** Whether a name of an expiration is its number among those of its key, from a mark on. */
export function isByMark(name: string): boolean {
  return /[+-]/.test(name);
}

/** The names of an expiration that Redis published. Two replicas that heard one of its marks share a name. */
export function namesOf(event: ExpiredEvent): readonly string[] {
  const { interval, index } = event;
  if (interval === undefined || index === undefined) return [];
  const { before, after, counts } = interval;
  const count = counts?.get(keyId(event));
  return [
    ...(before === null ? [] : [`${before}+${index}`]),
    ...(after === null || count === undefined ? [] : [`${after}-${count - index}`]),
  ];
}
