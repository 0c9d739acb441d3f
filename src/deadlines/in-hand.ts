/**
 * The entries that a replica has lately taken out of the index in Redis: when their keys expire, a
 * moment later, their deadlines need not be asked for. Nobody else writes the index as long as it
 * holds the watch.
 */
import { nameOf } from '../key-name.js';
import type { Deadline, KeyInDatabase } from '../vocabulary.js';

/** Some 4 MB; beyond it the index is asked. */
const IN_HAND_MAX = 20_000;

export class InHand {
  /** By name; the oldest first. */
  readonly #deadlines = new Map<string, number>();
  /** The token that they were taken with. */
  #token: string | null = null;

  taken(deadlines: readonly Deadline[], token: string): void {
    this.#keepOnly(token);
    for (const deadline of deadlines) this.#deadlines.set(nameOf(deadline), deadline.deadlineMs);
    for (const name of this.#deadlines.keys()) {
      if (this.#deadlines.size <= IN_HAND_MAX) break;
      this.#deadlines.delete(name);
    }
  }

  /** Hands out the deadline of a key, once; null when it is not in hand. */
  handOut(key: KeyInDatabase, token: string | null): number | null {
    this.#keepOnly(token);
    if (this.#deadlines.size === 0) return null;
    const name = nameOf(key);
    const deadlineMs = this.#deadlines.get(name);
    this.#deadlines.delete(name);
    return deadlineMs ?? null;
  }

  /** Their entries are others by now, or gone. */
  letGo(keys: readonly KeyInDatabase[]): void {
    if (this.#deadlines.size === 0) return;
    for (const key of keys) this.#deadlines.delete(nameOf(key));
  }

  clear(): void {
    this.#deadlines.clear();
  }

  #keepOnly(token: string | null): void {
    if (token !== this.#token) this.clear();
    this.#token = token;
  }
}
