import type { Clock } from '../lib/clock.js';
import type { RateLimit } from '../model/endpoint.js';

/** The share of the limit that may start at once after an idle period. */
const BURST_SHARE = 0.1;

/**
 * A token bucket: `count` attempts per `perMs`, evenly spread. After an idle period a tenth of the count may start at
 * once: a limit of 100/s never allows more than 110 in a second.
 */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #tokensPerMs: number;
  readonly #tokensMax: number;
  #tokens: number;
  #countedAtMs: number;

  constructor(limit: RateLimit, clock: Clock) {
    this.#clock = clock;
    this.#tokensPerMs = limit.count / limit.perMs;
    this.#tokensMax = Math.max(1, Math.floor(limit.count * BURST_SHARE));
    this.#tokens = this.#tokensMax;
    this.#countedAtMs = clock.monotonicMs();
  }

  /** How many attempts may start now. */
  available(): number {
    const nowMs = this.#clock.monotonicMs();
    const grown = this.#tokens + (nowMs - this.#countedAtMs) * this.#tokensPerMs;
    this.#tokens = Math.min(this.#tokensMax, grown);
    this.#countedAtMs = nowMs;
    return Math.floor(this.#tokens);
  }

  /** Counts attempts that start. */
  take(count: number): void {
    this.#tokens -= count;
  }

  /** Milliseconds until at least one attempt may start; 0: now. */
  waitMs(): number {
    if (this.available() >= 1) return 0;
    return Math.ceil((1 - this.#tokens) / this.#tokensPerMs);
  }
}
