/** The events of the last seconds, while another replica holds the lease: this one replays them when it takes over. */
import { keyId } from '../model/key-id.js';
import type { ChangedEvent, KeyEvent, KeyReading } from '../model/vocabulary.js';

/**
 * Longer than it takes to notice that the watching replica has died or no longer receives notifications,
 * and to take its place: a silent connection is given up after PING_EVERY_MS and SILENCE_MS_MAX.
 */
export const REMEMBERED_MS = 20_000;

/** Beyond it, the index of deadlines is what is relied on. */
const REMEMBERED_MAX = 100_000;
const REMEMBERED_BYTES_MAX = 16 * 1024 * 1024;

interface Buffered {
  event: KeyEvent;
  /** Until when it matters, by the monotonic clock. */
  readonly untilMs: number;
  readonly bytes: number;
}

export class ReplayBuffer {
  #buffered: Buffered[] = [];
  /** Those before it are forgotten, and are cut off from time to time. */
  #first = 0;
  #bytes = 0;
  /** By key, the change that was heard last: its deadline is not read yet. The oldest first. */
  readonly #unread = new Map<string, Buffered>();

  /** `isOwn`: no other replica captures it, so that it is kept however old it is. */
  append(event: KeyEvent, nowMs: number, isOwn = false): void {
    const bytes = event.key.length;
    const untilMs = isOwn ? Number.POSITIVE_INFINITY : nowMs + REMEMBERED_MS;
    const buffered = { event, untilMs, bytes };
    this.#buffered.push(buffered);
    this.#bytes += bytes;
    const name = keyId(event);
    this.#unread.delete(name);
    if (event.kind === 'changed') this.#unread.set(name, buffered);
    this.#forget(nowMs);
  }

  /** Whether the deadline of any changed key is not read yet. */
  get isUnread(): boolean {
    return this.#unread.size > 0;
  }

  /**
   * Up to `countMax` changes whose deadlines are not read yet, detected by `untilMs`. Those that are settled are never
   * read: the index has their deadlines.
   */
  unread(
    isSettled: (event: KeyEvent) => boolean,
    untilMs: number,
    countMax: number,
  ): ChangedEvent[] {
    const found: ChangedEvent[] = [];
    for (const [name, { event }] of this.#unread) {
      const isOver = event.kind !== 'changed' || event.detectedAtMs > untilMs;
      if (isOver || found.length === countMax) break;
      if (isSettled(event)) this.#unread.delete(name);
      else found.push(event);
    }
    return found;
  }

  /** What was read of the keys of `unread`, in any order. A key with a later event is skipped. */
  read(asked: readonly ChangedEvent[], readings: readonly KeyReading[]): void {
    const read = new Map(readings.map((reading) => [keyId(reading), reading]));
    for (const event of asked) {
      const name = keyId(event);
      const buffered = this.#unread.get(name);
      if (buffered?.event !== event) continue;
      this.#unread.delete(name);
      const reading = read.get(name);
      if (reading?.ttl !== 'volatile') continue;
      buffered.event = { ...event, readDeadlineMs: reading.deadlineMs };
    }
  }

  /** Puts earlier events in front of the others. */
  prepend(earlier: readonly KeyEvent[], nowMs: number): void {
    const untilMs = this.#oldest()?.untilMs ?? nowMs + REMEMBERED_MS;
    const all = earlier.map((event) => ({ event, untilMs, bytes: event.key.length }));
    this.#buffered = [...all, ...this.#buffered.slice(this.#first)];
    this.#first = 0;
    for (const { bytes } of all) this.#bytes += bytes;
    this.#forget(nowMs);
  }

  /** All events, in their order; the buffer is empty then. */
  drain(nowMs: number): KeyEvent[] {
    this.#forget(nowMs);
    const drained = this.#buffered.slice(this.#first);
    this.clear();
    return drained.map(({ event }) => event);
  }

  clear(): void {
    this.#buffered = [];
    this.#first = 0;
    this.#bytes = 0;
    this.#unread.clear();
  }

  #forget(nowMs: number): void {
    for (let oldest = this.#oldest(); oldest !== undefined; oldest = this.#oldest()) {
      const isKept =
        nowMs <= oldest.untilMs &&
        this.#buffered.length - this.#first <= REMEMBERED_MAX &&
        this.#bytes <= REMEMBERED_BYTES_MAX;
      if (isKept) break;
      this.#bytes -= oldest.bytes;
      this.#first += 1;
      const name = keyId(oldest.event);
      if (this.#unread.get(name) === oldest) this.#unread.delete(name);
    }
    if (this.#first * 2 < this.#buffered.length) return;
    this.#buffered = this.#buffered.slice(this.#first);
    this.#first = 0;
  }

  #oldest(): Buffered | undefined {
    return this.#buffered[this.#first];
  }
}
