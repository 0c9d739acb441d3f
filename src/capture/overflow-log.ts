/**
 * Records the published expirations that found no room in the queue. The index of deadlines later shows that such a
 * key is missing; this log shows that the key expired, and was not deleted.
 */

import type { Clock } from '../lib/clock.js';
import type { Expiration, ExpiredEvent, KeyInDatabase } from '../model/vocabulary.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import { withDeadline } from './dating.js';

/** Recorded expirations, some 45 MB. */
const RECORDED_MAX = 1_000_000;

/** Longer than it takes to find that many keys again. No expiration is kept for more than twice this time. */
const KEPT_MS = 600_000;

/** By the hash of a key: when its last expiration was received, in milliseconds after the first recorded one. */
type Received = Map<number, number>;

/** FNV's offset and prime, and a second prime as good as FNV's, for two independent hashes of 32 bits. */
const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;
const OTHER_PRIME = 0x85ebca77;
/** Integers of up to this many bits are exact as numbers. */
const EXACT_BITS = 53;

export class OverflowLog {
  readonly #clock: Pick<Clock, 'after'>;
  #recent: Received = new Map();
  #former: Received = new Map();
  #firstAtMs = 0;
  #cancelForgetting: (() => void) | null = null;

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock;
  }

  /** Records an expiration, unless `RECORDED_MAX` are recorded. */
  add(expiration: ExpiredEvent): void {
    if (this.#size >= RECORDED_MAX) return;
    if (this.#cancelForgetting === null) {
      this.#firstAtMs = expiration.detectedAtMs;
      this.#forgetLater();
    }
    this.#recent.set(hashOf(expiration), expiration.detectedAtMs - this.#firstAtMs);
  }

  /** When the recorded expiration of the key was received; null: none is recorded. */
  receivedAtMs(key: KeyInDatabase): number | null {
    return this.#size === 0 ? null : this.#receivedAtMs(hashOf(key));
  }

  get #size(): number {
    return this.#recent.size + this.#former.size;
  }

  #receivedAtMs(hash: number): number | null {
    const afterMs = this.#recent.get(hash) ?? this.#former.get(hash);
    return afterMs === undefined ? null : this.#firstAtMs + afterMs;
  }

  /**
   * Replaces a recovered expiration by the notification recorded for its key, if it was received after the deadline of
   * the life that ended. Otherwise returns the expiration unchanged. Deletes the record.
   */
  restore(found: Expiration): Expiration {
    if (found.detectedBy !== 'recovery' || this.#size === 0) return found;
    const hash = hashOf(found);
    const detectedAtMs = this.#receivedAtMs(hash);
    if (detectedAtMs === null) return found;
    this.#recent.delete(hash);
    this.#former.delete(hash);
    const published: Expiration = {
      ...found,
      expiredAtMs: null,
      detectedAtMs,
      detectedBy: 'notification',
    };
    const dated = withDeadline(published, found.expiredAtMs, CLOCK_SLACK_MS);
    return dated.expiredAtMs === null ? found : dated;
  }

  /** Deletes all records, and cancels the timer. */
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

/** FNV-1a, twice: a cryptographic hash would take as long as all other work for a dropped expiration. */
function hashOf({ database, key }: KeyInDatabase): number {
  let one = OFFSET ^ database;
  let other = one;
  for (const byte of key) {
    one = Math.imul(one ^ byte, PRIME);
    other = Math.imul(other ^ byte, OTHER_PRIME);
  }
  // The upper bits of a product depend on the most bits of its factors.
  return (one >>> 0) + (other >>> (2 * 32 - EXACT_BITS)) * 2 ** 32;
}
