/** Caches a text that is expensive to build, and shares it among all readers. */
import type { Clock } from '../lib/clock.js';

/** Minimum cache time, counted from the start of the build. */
export const SHARED_MS_MIN = 1_000;

/**
 * Limits the bytes built per second: longer texts are cached for longer. The size stands for the cost, because the
 * build time includes waits for Redis and for a busy process.
 */
const BYTES_PER_S_MAX = 400_000;
const SHARED_MS_MAX = 10_000;

export class SharedText {
  readonly #make: () => Promise<string>;
  readonly #clock: Clock;
  #sharedUntilMs = Number.NEGATIVE_INFINITY;
  #text: Promise<Buffer> = Promise.resolve(Buffer.alloc(0));

  constructor(make: () => Promise<string>, clock: Clock) {
    this.#make = make;
    this.#clock = clock;
  }

  /** Rejects with the build's error, which is cached as long as a short text. */
  get(): Promise<Buffer> {
    const beganAtMs = this.#clock.monotonicMs();
    if (beganAtMs < this.#sharedUntilMs) return this.#text;
    this.#sharedUntilMs = Number.POSITIVE_INFINITY;
    let bytes = 0;
    this.#text = this.#make()
      .then((text) => {
        const buffer = Buffer.from(text);
        bytes = buffer.length;
        return buffer;
      })
      .finally(() => {
        this.#sharedUntilMs = beganAtMs + sharedMs(bytes);
      });
    return this.#text;
  }
}

function sharedMs(bytes: number): number {
  return Math.min(Math.max(SHARED_MS_MIN, (1_000 * bytes) / BYTES_PER_S_MAX), SHARED_MS_MAX);
}
