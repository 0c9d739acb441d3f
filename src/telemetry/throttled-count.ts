import type { Clock } from '../lib/clock.js';

/** While a loss goes on, there is one line for so long. */
const LINE_EVERY_MS = 10_000;

/** Says the first loss of its kind at once, and those that follow in one line for each while. */
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

  /** Says what is left to say; leaves no timer behind. */
  end(): void {
    this.#cancelLine?.();
    this.#cancelLine = null;
    if (this.#unsaid > 0) this.#say(this.#unsaid);
    this.#unsaid = 0;
  }
}
