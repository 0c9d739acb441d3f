import type { Clock } from '../lib/clock.js';

/** What goes on is said again after so long. */
const SAY_EVERY_MS = 60_000;

/** Says a thing that happens again and again no more than once in a while. */
export class LogThrottle {
  readonly #clock: Clock;
  /** What was said, and when. */
  readonly #saidAtMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `say` unless the same was said lately. */
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
