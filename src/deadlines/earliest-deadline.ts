/** The earliest deadline that the keys of a database have got since the index was last looked at. */
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';

export class EarliestDeadline {
  readonly #sooner = new Condition();
  #ms = Number.POSITIVE_INFINITY;
  /** Until when somebody waits; nothing is sooner while nobody does. */
  #waitsUntilMs = Number.NEGATIVE_INFINITY;

  /** By the clock of the Redis that holds the keys; infinite when there is none. */
  get ms(): number {
    return this.#ms;
  }

  /** A key has got this deadline. */
  add(deadlineMs: number): void {
    this.#ms = Math.min(this.#ms, deadlineMs);
    if (deadlineMs < this.#waitsUntilMs) this.#sooner.notifyAll();
  }

  /** The index is about to be looked at. */
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
