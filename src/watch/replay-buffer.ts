/** Buffers the events of the last seconds while another replica captures; this replica replays them at a take-over. */
import { keyId } from '../model/key-id.js';
import type { ChangedEvent, KeyEvent, KeyReading } from '../model/vocabulary.js';

/**
 * Longer than it takes to notice that the holder of the lease has died or no longer receives notifications, and to take
 * over: a silent connection is abandoned after PING_EVERY_MS and SILENCE_MS_MAX.
 */
export const BUFFERED_MS = 20_000;

/** Beyond these limits the oldest events are dropped, and only the index of deadlines is left to find expirations. */
const BUFFERED_MAX = 100_000;
const BUFFERED_BYTES_MAX = 16 * 1024 * 1024;

interface Buffered {
  event: KeyEvent;
  /** Until when the event is kept, by the monotonic clock; infinite while this replica holds the lease. */
  untilMs: number;
  readonly bytes: number;
}

export class ReplayBuffer {
  #buffered: Buffered[] = [];
  /** The position of the oldest event. Earlier ones are dropped, and are cut off from time to time. */
  #first = 0;
  #bytes = 0;
  /** Whether there are events that do not age. */
  #hasHeld = false;
  /** By key, the last change that was received and whose deadline is not read yet; the oldest first. */
  readonly #unread = new Map<string, Buffered>();

  /** Appends an event. `isHeld`: this replica holds the lease, so that no other replica captures the event. */
  append(event: KeyEvent, nowMs: number, isHeld: boolean): void {
    const untilMs = isHeld ? Number.POSITIVE_INFINITY : nowMs + BUFFERED_MS;
    const buffered = { event, untilMs, bytes: event.key.length };
    this.#buffered.push(buffered);
    this.#bytes += buffered.bytes;
    this.#hasHeld ||= isHeld;
    this.#updateUnread(buffered);
    if (!isHeld) this.dropOld(nowMs);
    this.#dropExcess();
  }

  /** Drops events that have reached their age. Call when another replica may have captured them. */
  dropOld(nowMs: number): void {
    if (this.#hasHeld) {
      for (const buffered of this.#buffered) {
        buffered.untilMs = Math.min(buffered.untilMs, nowMs + BUFFERED_MS);
      }
    }
    this.#hasHeld = false;
    this.#dropWhile(({ untilMs }) => nowMs > untilMs);
  }

  /** Whether the deadline of any changed key is not read yet. */
  get isUnread(): boolean {
    return this.#unread.size > 0;
  }

  /**
   * Returns up to `countMax` changes that were detected by `untilMs`, and whose deadlines are not read yet. Changes
   * that are done are never read: the index has their deadlines.
   */
  unread(isDone: (event: KeyEvent) => boolean, untilMs: number, countMax: number): ChangedEvent[] {
    const found: ChangedEvent[] = [];
    for (const [name, { event }] of this.#unread) {
      const isOver = event.kind !== 'changed' || event.detectedAtMs > untilMs;
      if (isOver || found.length === countMax) break;
      if (isDone(event)) this.#unread.delete(name);
      else found.push(event);
    }
    return found;
  }

  /** Adds the readings of keys from `unread`, in any order. A key with a later event is skipped. */
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

  /** Puts earlier events, which this replica has held, in front of the others. */
  prepend(earlier: readonly KeyEvent[]): void {
    const untilMs = Number.POSITIVE_INFINITY;
    const all = earlier.map((event) => ({ event, untilMs, bytes: event.key.length }));
    this.#buffered = [...all, ...this.#buffered.slice(this.#first)];
    this.#first = 0;
    this.#hasHeld = true;
    for (const { bytes } of all) this.#bytes += bytes;
    this.#unread.clear();
    for (const buffered of this.#buffered) this.#updateUnread(buffered);
    this.#dropExcess();
  }

  /** Empties the buffer. Returns all events in their order. */
  drain(): KeyEvent[] {
    const drained = this.#buffered.slice(this.#first);
    this.clear();
    return drained.map(({ event }) => event);
  }

  clear(): void {
    this.#buffered = [];
    this.#hasHeld = false;
    this.#first = 0;
    this.#bytes = 0;
    this.#unread.clear();
  }

  #updateUnread(buffered: Buffered): void {
    const { event } = buffered;
    const name = keyId(event);
    this.#unread.delete(name);
    const isUnread = event.kind === 'changed' && event.readDeadlineMs === undefined;
    if (isUnread) this.#unread.set(name, buffered);
  }

  #dropExcess(): void {
    this.#dropWhile(
      () => this.#buffered.length - this.#first > BUFFERED_MAX || this.#bytes > BUFFERED_BYTES_MAX,
    );
  }

  #dropWhile(isDropped: (oldest: Buffered) => boolean): void {
    for (
      let oldest = this.#oldest();
      oldest !== undefined && isDropped(oldest);
      oldest = this.#oldest()
    ) {
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
