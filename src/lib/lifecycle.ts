/**
 * Named clean-ups: each is registered as soon as its resource exists. They run last in, first out, on a stop and
 * after a failed start.
 */
import type { Clock } from './clock.js';

/** A longer clean-up is abandoned, so that a stop always ends. */
const CLEAN_UP_MS_MAX = 5_000;

export type CleanUp = () => void | Promise<void>;

export class Lifecycle {
  readonly #clock: Clock;
  readonly #onFailure: (name: string, error: unknown) => void;
  readonly #cleanUps: { name: string; run: CleanUp; msMax: () => number }[] = [];

  constructor(clock: Clock, onFailure: (name: string, error: unknown) => void) {
    this.#clock = clock;
    this.#onFailure = onFailure;
  }

  /** `msMax` returns the limit of the clean-up in milliseconds, when it runs. */
  onStop(name: string, run: CleanUp, msMax = () => CLEAN_UP_MS_MAX): void {
    this.#cleanUps.push({ name, run, msMax });
  }

  /** Runs all clean-ups, even after failures. A second call runs only clean-ups registered since. */
  async stop(): Promise<void> {
    for (let next = this.#cleanUps.pop(); next !== undefined; next = this.#cleanUps.pop()) {
      const { name, run } = next;
      const msMax = next.msMax();
      const stopWaiting = new AbortController();
      try {
        await Promise.race([
          run(),
          this.#clock.sleep(msMax, stopWaiting.signal).then(() => {
            if (!stopWaiting.signal.aborted) throw new Error(`not done within ${msMax} ms`);
          }),
        ]);
      } catch (error) {
        this.#onFailure(name, error);
      } finally {
        stopWaiting.abort();
      }
    }
  }
}
