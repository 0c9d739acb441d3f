import type { Clock } from '../lib/clock.js';

/** The minimum time between two equal messages. */
const SAY_EVERY_MS = 60_000;

/** Logs a recurring message at most once per interval. */
export class LogThrottle {
  readonly #clock: Clock;
  /** The messages logged recently, and when. */
  readonly #saidAtMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `say` unless `what` was logged recently. */
  log(what: string, say: () => void): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [said, atMs] of this.#saidAtMs) {
      if (nowMs - atMs >= SAY_EVERY_MS) this.#saidAtMs.delete(said);
    }
    if (this.#saidAtMs.has(what)) return;
    this.#saidAtMs.set(what, nowMs);
    say();
  }
}
