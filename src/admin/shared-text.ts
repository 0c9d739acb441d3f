/** A text that is costly to make, made seldom and shared by all who ask. */
import type { Clock } from '../lib/clock.js';

/** How long a text is shared at least, from the beginning of its making. */
export const SHARED_MS_MIN = 1_000;

/**
 * A long text is shared for longer, so that no more than this is made per second. The size stands for the
 * work: the time that a making takes includes its waits for Redis and for a busy process.
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

  /** Rejects, for as long as a short text would be shared, with what its making failed with. */
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
