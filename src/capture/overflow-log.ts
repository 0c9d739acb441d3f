/**
 * What Redis said to have expired while there was no room to take it. The index of deadlines is what
 * finds such a key again; this is what then tells it from one that was deleted.
 */

import type { Clock } from '../lib/clock.js';
import type { Expiration, ExpiredEvent, KeyInDatabase } from '../model/vocabulary.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import { withDeadline } from './dating.js';

/** Some 45 MB. */
const HEARD_MAX = 1_000_000;

/** Longer than so many take until they are found again; none is kept for more than twice as long. */
const KEPT_MS = 600_000;

/** By a key's hash, when it was last said to have expired: in milliseconds after the first was. */
type Heard = Map<number, number>;

/** FNV's offset and prime, and a prime as good: two hashes of 32 bits that know nothing of one another. */
const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;
const OTHER_PRIME = 0x85ebca77;
/** So many of a number's bits are exact. */
const EXACT_BITS = 53;

export class OverflowLog {
  readonly #clock: Pick<Clock, 'after'>;
  #recent: Heard = new Map();
  #former: Heard = new Map();
  #firstAtMs = 0;
  #cancelForgetting: (() => void) | null = null;

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock;
  }

  /** Beyond `HEARD_MAX` it remembers no more. */
  add(expiration: ExpiredEvent): void {
    if (this.#size >= HEARD_MAX) return;
    if (this.#cancelForgetting === null) {
      this.#firstAtMs = expiration.detectedAtMs;
      this.#forgetLater();
    }
    this.#recent.set(hashOf(expiration), expiration.detectedAtMs - this.#firstAtMs);
  }

  /** When Redis said that the key had expired; null when it is not known to have. */
  heardAtMs(key: KeyInDatabase): number | null {
    return this.#size === 0 ? null : this.#heardAtMs(hashOf(key));
  }

  get #size(): number {
    return this.#recent.size + this.#former.size;
  }

  #heardAtMs(hash: number): number | null {
    const afterMs = this.#recent.get(hash) ?? this.#former.get(hash);
    return afterMs === undefined ? null : this.#firstAtMs + afterMs;
  }

  /**
   * What was found to have expired, as Redis told of it: if it did so since the deadline of the life that
   * ended. Else as it is. Nothing is remembered of the key any more.
   */
  restore(found: Expiration): Expiration {
    if (found.detectedBy !== 'recovery' || this.#size === 0) return found;
    const hash = hashOf(found);
    const detectedAtMs = this.#heardAtMs(hash);
    if (detectedAtMs === null) return found;
    this.#recent.delete(hash);
    this.#former.delete(hash);
    const heard: Expiration = {
      ...found,
      expiredAtMs: null,
      detectedAtMs,
      detectedBy: 'notification',
    };
    const told = withDeadline(heard, found.expiredAtMs, CLOCK_SLACK_MS);
    return told.expiredAtMs === null ? found : told;
  }

  /** Forgets all, and leaves no timer behind. */
  clear(): void {
    this.#cancelForgetting?.();
    this.#cancelForgetting = null;
    this.#recent = new Map();
    this.#former = new Map();
  }

  #forgetLater(): void {
    this.#cancelForgetting = this.#clock.after(KEPT_MS, () => {
      this.#former = this.#recent;
      this.#recent = new Map();
      if (this.#former.size > 0) this.#forgetLater();
      else this.#cancelForgetting = null;
    });
  }
}

/** FNV-1a, twice: a cryptographic hash would take as long as all else that is done for a key then. */
function hashOf({ database, key }: KeyInDatabase): number {
  let one = OFFSET ^ database;
  let other = one;
  for (const byte of key) {
    one = Math.imul(one ^ byte, PRIME);
    other = Math.imul(other ^ byte, OTHER_PRIME);
  }
  // Of a product, the upper bits depend on the most.
  return (one >>> 0) + (other >>> (2 * 32 - EXACT_BITS)) * 2 ** 32;
}
