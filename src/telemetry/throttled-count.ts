import type { Clock } from '../lib/clock.js';

/** The minimum time between two lines about the same loss. */
const LINE_EVERY_MS = 10_000;

/** Logs the first loss at once, and counts further losses for one line per interval. */
export class ThrottledCount {
  readonly #clock: Clock;
  readonly #say: (count: number) => void;
  #unsaid = 0;
  #cancelLine: (() => void) | null = null;

  constructor(clock: Clock, say: (count: number) => void) {
    this.#clock = clock;
    this.#say = say;
  }

  add(): void {
    if (this.#cancelLine !== null) {
      this.#unsaid += 1;
      return;
    }
    this.#say(1);
    this.#cancelLine = this.#clock.after(LINE_EVERY_MS, () => this.end());
  }

  /** Logs the pending count, and cancels the timer. */
  end(): void {
    this.#cancelLine?.();
    this.#cancelLine = null;
    if (this.#unsaid > 0) this.#say(this.#unsaid);
    this.#unsaid = 0;
  }
}
