/** The earliest deadline that was written for a database since its index was last read. */
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';

export class EarliestDeadline {
  readonly #sooner = new Condition();
  #ms = Number.POSITIVE_INFINITY;
  /** An earlier deadline than this one ends the wait; no deadline is earlier while nobody waits. */
  #waitsUntilMs = Number.NEGATIVE_INFINITY;

  /** By the clock of the Redis that holds the keys; infinite if there is none. */
  get ms(): number {
    return this.#ms;
  }

  /** Adds a deadline that was written to the index. */
  add(deadlineMs: number): void {
    this.#ms = Math.min(this.#ms, deadlineMs);
    if (deadlineMs < this.#waitsUntilMs) this.#sooner.notifyAll();
  }

  /** Starts again: the index is about to be read. */
  reset(): void {
    this.#ms = Number.POSITIVE_INFINITY;
  }

  /** Waits for at most `maxMs`, unless a key gets a deadline before `untilMs`, or the signal aborts. */
  async wait(clock: Clock, untilMs: number, maxMs: number, signal: AbortSignal): Promise<void> {
    this.#waitsUntilMs = untilMs;
    await this.#sooner.wait(clock, maxMs, signal);
    this.#waitsUntilMs = Number.NEGATIVE_INFINITY;
  }
}
