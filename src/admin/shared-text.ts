/** A text that is costly to make, made seldom and shared by all who ask. */
import type { Clock } from '../clock.js';

/** How long a text is shared, from the beginning of its making. */
export const SHARED_MS = 1_000;

/** One that takes long to make is shared for so many times as long: of a thousand endpoints, say. */
const SHARED_TIMES = 20;
export const SHARED_MS_MAX = 10_000;

export class SharedText {
  readonly #make: () => Promise<string>;
  readonly #clock: Clock;
  #sharedUntilMs = Number.NEGATIVE_INFINITY;
  #text: Promise<Buffer> = Promise.resolve(Buffer.alloc(0));

  constructor(make: () => Promise<string>, clock: Clock) {
    this.#make = make;
    this.#clock = clock;
  }

  /** Rejects, for as long as a text would be shared, with what its making failed with. */
  get(): Promise<Buffer> {
    const beganAtMs = this.#clock.monotonicMs();
    if (beganAtMs < this.#sharedUntilMs) return this.#text;
    this.#sharedUntilMs = Number.POSITIVE_INFINITY;
    this.#text = this.#make()
      .then((text) => Buffer.from(text))
      .finally(() => {
        const tookMs = this.#clock.monotonicMs() - beganAtMs;
        const sharedMs = Math.min(Math.max(SHARED_MS, SHARED_TIMES * tookMs), SHARED_MS_MAX);
        this.#sharedUntilMs = beganAtMs + sharedMs;
      });
    return this.#text;
  }
}
