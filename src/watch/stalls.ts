/**
 * Whether this process stood still: what it hears then was said at any time since. It may have been
 * stopped, starved by others, or moved with its machine.
 */
import type { Clock } from '../lib/clock.js';

const BEAT_MS = 200;

/** No beat for so long is no jitter. */
const STALL_MS = 700;

/** After that, all that was said meanwhile has been heard. */
const CAUGHT_UP_MS = 2_000;

export class Stalls {
  readonly #clock: Clock;
  #beatAtMs: number;
  #stalledFromMs = 0;
  #caughtUpAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#beatAtMs = clock.monotonicMs();
  }

  /** Until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.lateMsMax();
      this.#beatAtMs = this.#clock.monotonicMs();
      await this.#clock.sleep(BEAT_MS, signal);
    }
  }

  /** How long ago what is heard now may have been said. */
  lateMsMax(): number {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#beatAtMs > STALL_MS) {
      if (nowMs >= this.#caughtUpAtMs) this.#stalledFromMs = this.#beatAtMs;
      this.#caughtUpAtMs = nowMs + CAUGHT_UP_MS;
      this.#beatAtMs = nowMs;
    }
    return nowMs < this.#caughtUpAtMs ? nowMs - this.#stalledFromMs : 0;
  }
}
