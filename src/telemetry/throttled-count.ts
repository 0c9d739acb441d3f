import type { Clock } from '../lib/clock.js';

/** The minimum time between two lines about the same loss. */
const LINE_EVERY_MS = 10_000;

/** Logs the first loss at once, and counts further losses for one line per interval. */
export class ThrottledCount {
  readonly #clock: Clock;
  readonly #log: (count: number) => void;
  #pending = 0;
  #cancelLine: (() => void) | null = null;

  constructor(clock: Clock, log: (count: number) => void) {
    this.#clock = clock;
    this.#log = log;
  }

  add(): void {
    if (this.#cancelLine !== null) {
      this.#pending += 1;
      return;
    }
    this.#log(1);
    this.#cancelLine = this.#clock.after(LINE_EVERY_MS, () => this.flush());
  }

  /** Logs the pending count, and cancels the timer. */
  flush(): void {
    this.#cancelLine?.();
    this.#cancelLine = null;
    if (this.#pending > 0) this.#log(this.#pending);
    this.#pending = 0;
  }
}
