/** What a replica that does not watch has heard lately: if it comes to watch, it goes on from there. */
import { nameOf } from '../key-name.js';
import type { Expiration, KeyReading, Notice } from '../vocabulary.js';

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
  | HeardNotice;

export interface HeardNotice {
  readonly kind: 'notice';
  readonly notice: Notice;
  /** By the clock of the Redis that holds the keys; never earlier than it was heard. */
  readonly heardAtMs: number;
  /** The deadline that this replica has read since; null when it has not read one. */
  readonly deadlineMs: number | null;
}

function subjectOf(heard: Heard): Expiration | Notice {
  return heard.kind === 'expired' ? heard.expiration : heard.notice;
}

interface Remembered {
  heard: Heard;
  /** Until when it matters, by the monotonic clock. */
  readonly untilMs: number;
  readonly bytes: number;
}

export class Memory {
  #remembered: Remembered[] = [];
  /** Those before it are forgotten, and are cut off from time to time. */
  #first = 0;
  #bytes = 0;
  /** By key, the change that was heard last: its deadline is not read yet. The oldest first. */
  readonly #unread = new Map<string, Remembered>();

  /** `isOwn`: no other replica captures it, so that it is kept however old it is. */
  note(heard: Heard, nowMs: number, isOwn = false): void {
    const bytes = subjectOf(heard).key.length;
    const untilMs = isOwn ? Number.POSITIVE_INFINITY : nowMs + REMEMBERED_MS;
    const remembered = { heard, untilMs, bytes };
    this.#remembered.push(remembered);
    this.#bytes += bytes;
    const name = nameOf(subjectOf(heard));
    this.#unread.delete(name);
    if (heard.kind === 'notice' && heard.notice.kind === 'changed') {
      this.#unread.set(name, remembered);
    }
    this.#forget(nowMs);
  }

  /** Whether the deadline of any changed key is not read yet. */
  get isUnread(): boolean {
    return this.#unread.size > 0;
  }

  /**
   * Up to `countMax` changes whose deadlines are not read yet, heard by `untilMs`. Those that were heard
   * by `settledMs` are never read: the index has their deadlines.
   */
  unread(settledMs: number, untilMs: number, countMax: number): HeardNotice[] {
    const found: HeardNotice[] = [];
    for (const [name, { heard }] of this.#unread) {
      if (heard.kind !== 'notice' || heard.heardAtMs > untilMs || found.length === countMax) break;
      if (heard.heardAtMs > settledMs) found.push(heard);
      else this.#unread.delete(name);
    }
    return found;
  }

  /** What was read of the keys of `unread`, in any order. One of which more was heard since is skipped. */
  read(asked: readonly HeardNotice[], readings: readonly KeyReading[]): void {
    const read = new Map(readings.map((reading) => [nameOf(reading), reading]));
    for (const heard of asked) {
      const name = nameOf(heard.notice);
      const remembered = this.#unread.get(name);
      if (remembered?.heard !== heard) continue;
      this.#unread.delete(name);
      const reading = read.get(name);
      if (reading?.life !== 'until') continue;
      remembered.heard = { ...heard, deadlineMs: reading.deadlineMs };
    }
  }

  /** Puts earlier notifications in front of the remembered ones. */
  putBack(heard: readonly Heard[], nowMs: number): void {
    const untilMs = this.#oldest()?.untilMs ?? nowMs + REMEMBERED_MS;
    const earlier = heard.map((one) => ({ heard: one, untilMs, bytes: subjectOf(one).key.length }));
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
    this.#unread.clear();
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
      const name = nameOf(subjectOf(oldest.heard));
      if (this.#unread.get(name) === oldest) this.#unread.delete(name);
    }
    if (this.#first * 2 < this.#remembered.length) return;
    this.#remembered = this.#remembered.slice(this.#first);
    this.#first = 0;
  }

  #oldest(): Remembered | undefined {
    return this.#remembered[this.#first];
  }
}
