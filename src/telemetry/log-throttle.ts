import type { Clock } from '../lib/clock.js';

/** The minimum time between two equal messages. */
const LOG_EVERY_MS = 60_000;

/** Logs a recurring message at most once per interval. */
export class LogThrottle {
  readonly #clock: Clock;
  /** The messages logged recently, and when. */
  readonly #loggedAtMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `log` unless `what` was logged recently. */
  log(what: string, log: () => void): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [said, atMs] of this.#loggedAtMs) {
      if (nowMs - atMs >= LOG_EVERY_MS) this.#loggedAtMs.delete(said);
    }
    if (this.#loggedAtMs.has(what)) return;
    this.#loggedAtMs.set(what, nowMs);
    log();
  }
}
