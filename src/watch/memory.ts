/** What a replica that does not watch has heard lately: if it comes to watch, it goes on from there. */
import type { Expiration, Notice } from '../vocabulary.js';

/**
 * Longer than it takes to notice that the watching replica has died or no longer receives notifications,
 * and to take its place: a silent connection is given up after PING_EVERY_MS and SILENCE_MS_MAX.
 */
export const REMEMBERED_MS = 20_000;

/** Beyond it, the index of deadlines is what is relied on. */
const REMEMBERED_MAX = 100_000;
const REMEMBERED_BYTES_MAX = 16 * 1024 * 1024;

export type Heard =
  | {
      readonly kind: 'expired';
      readonly expiration: Expiration;
      /** The longest delay with which it may have arrived. */
      readonly lateMsMax: number;
    }
  | { readonly kind: 'notice'; readonly notice: Notice };

function keyOf(heard: Heard): Buffer {
  return heard.kind === 'expired' ? heard.expiration.key : heard.notice.key;
}

interface Remembered {
  readonly heard: Heard;
  /** Until when it matters, by the monotonic clock. */
  readonly untilMs: number;
  readonly bytes: number;
}

export class Memory {
  #remembered: Remembered[] = [];
  /** Those before it are forgotten, and are cut off from time to time. */
  #first = 0;
  #bytes = 0;

  /** `isOwn`: no other replica captures it, so that it is kept however old it is. */
  note(heard: Heard, nowMs: number, isOwn = false): void {
    const bytes = keyOf(heard).length;
    const untilMs = isOwn ? Number.POSITIVE_INFINITY : nowMs + REMEMBERED_MS;
    this.#remembered.push({ heard, untilMs, bytes });
    this.#bytes += bytes;
    this.#forget(nowMs);
  }

  /** Puts earlier notifications in front of the remembered ones. */
  putBack(heard: readonly Heard[], nowMs: number): void {
    const untilMs = this.#oldest()?.untilMs ?? nowMs + REMEMBERED_MS;
    const earlier = heard.map((one) => ({ heard: one, untilMs, bytes: keyOf(one).length }));
    this.#remembered = [...earlier, ...this.#remembered.slice(this.#first)];
    this.#first = 0;
    for (const { bytes } of earlier) this.#bytes += bytes;
    this.#forget(nowMs);
  }

  /** All of it, in its order; it is forgotten then. */
  recall(nowMs: number): Heard[] {
    this.#forget(nowMs);
    const recalled = this.#remembered.slice(this.#first).map(({ heard }) => heard);
    this.clear();
    return recalled;
  }

  clear(): void {
    this.#remembered = [];
    this.#first = 0;
    this.#bytes = 0;
  }

  #forget(nowMs: number): void {
    for (let oldest = this.#oldest(); oldest !== undefined; oldest = this.#oldest()) {
      const isKept =
        nowMs <= oldest.untilMs &&
        this.#remembered.length - this.#first <= REMEMBERED_MAX &&
        this.#bytes <= REMEMBERED_BYTES_MAX;
      if (isKept) break;
      this.#bytes -= oldest.bytes;
      this.#first += 1;
    }
    if (this.#first * 2 < this.#remembered.length) return;
    this.#remembered = this.#remembered.slice(this.#first);
    this.#first = 0;
  }

  #oldest(): Remembered | undefined {
    return this.#remembered[this.#first];
  }
}
