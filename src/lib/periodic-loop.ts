import type { Clock } from './clock.js';

/** Runs a function again and again, one run at a time, from `start` to `stop`. */
export class PeriodicLoop {
  readonly #clock: Clock;
  readonly #run: () => Promise<number>;
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  /** `run` resolves with the delay before the next run, in milliseconds, and never rejects. */
  constructor(clock: Clock, run: () => Promise<number>) {
    this.#clock = clock;
    this.#run = run;
  }

  /** Aborts at a stop. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** `firstInMs` is the delay before the first run. */
  start(firstInMs = 0): void {
    this.#loop = this.#repeat(firstInMs);
  }

  /** Resolves when the current run has ended. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #repeat(firstInMs: number): Promise<void> {
    let waitMs = firstInMs;
    for (;;) {
      if (waitMs > 0) await this.#clock.sleep(waitMs, this.signal);
      if (this.signal.aborted) return;
      waitMs = await this.#run();
    }
  }
}
