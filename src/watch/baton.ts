/** Lets one of several loops do what must be done by one at a time; another takes over when it ends. */

import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';

export class Baton {
  readonly #clock: Clock;
  readonly #released = new Condition();
  #isHeld = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `step` as soon as nobody else runs one, unless the signal aborts first. */
  async hold(signal: AbortSignal, step: () => Promise<void>): Promise<void> {
    while (this.#isHeld && !signal.aborted) await this.#released.wait(this.#clock, null, signal);
    if (signal.aborted) return;
    this.#isHeld = true;
    try {
      await step();
    } finally {
      this.#isHeld = false;
      this.#released.notifyAll();
    }
  }
}
