/**
 * Where key events enter. Each is matched against the routes once, and queued; events of keys that no route is about
 * end here. The source never waits, and the process must not grow without bound: what finds no room is dropped.
 */

import type { IndexTrust } from '../deadlines/index-trust.js';
import type { ExpiredEvent, KeyEvent, KeyInDatabase } from '../model/vocabulary.js';
import { KEY_BYTES_MAX, type Routing } from '../routing/routes.js';
import type { CaptureEvents } from '../telemetry/capture-events.js';
import type { EventConsumer, EventQueue } from './event-queue.js';
import type { OverflowLog } from './overflow-log.js';

/**
 * A second of a fast server's expirations, some 50 MB; beyond it the index is what is relied on. Changes have as much
 * room of their own: without them the index is not true.
 */
const QUEUED_MAX = 50_000;

/** Of the keys of the same events, together. */
const QUEUED_BYTES_MAX = 16 * 1024 * 1024;

/** Back-pressure: the nudger pauses above this many queued expirations. The index keeps the others meanwhile. */
const ROOM_MAX = 5_000;
/** Those that carry values take longer, and are not to hold up the others. */
const CARRYING_MAX = 20_000;

export interface IntakeParts {
  readonly routing: Pick<Routing, 'match' | 'isRouted'>;
  readonly queue: EventQueue;
  readonly overflow: OverflowLog;
  readonly trust: Pick<IndexTrust, 'isCatchingUp' | 'lose'>;
  /** The time by the clock of the Redis that holds the keys, in milliseconds. */
  readonly serverNowMs: () => number;
  readonly events: CaptureEvents;
}

export class Intake {
  readonly #parts: IntakeParts;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** Never waits, so that the source can read on. */
  push(event: KeyEvent): void {
    if (event.kind === 'expired') this.#pushExpired(event);
    else this.#pushChange(event);
  }

  /** The deadlines of these keys are to be read again. */
  reread(keys: readonly KeyInDatabase[]): void {
    const detectedAtMs = Math.round(this.#parts.serverNowMs());
    for (const { database, key } of keys) {
      this.push({ kind: 'changed', database, key, detectedAtMs });
    }
  }

  /**
   * Resolves when there is room for more expirations, or the signal aborts. Expirations behind a change of their key do
   * not count: they may wait for the end of the catch-up, which waits for room.
   */
  async room(signal: AbortSignal): Promise<void> {
    const { queue } = this.#parts;
    const isFull = () =>
      queue.load('plain').readyCount > ROOM_MAX || queue.load('carrying').readyCount > CARRYING_MAX;
    while (isFull() && !signal.aborted) await queue.finishedSome(signal);
  }

  #pushExpired(event: ExpiredEvent): void {
    const { routing, queue, overflow, events } = this.#parts;
    const { database, key, detectedBy } = event;
    if (key.length > KEY_BYTES_MAX) return events.expirationRefused(database, key, KEY_BYTES_MAX);
    const matches = routing.match(key);
    if (matches.length === 0) return events.expired(event, []);
    if (this.#hasRoom(key, 'plain', 'carrying')) return queue.push({ ...event, matches });
    // Its entry is in the index, if its deadline was known.
    if (detectedBy === 'notification') overflow.add(event);
    events.queueFull();
  }

  #pushChange(event: Exclude<KeyEvent, ExpiredEvent>): void {
    const { routing, queue, overflow, trust, events } = this.#parts;
    // While all is heard, so was the end of the life before.
    if (event.kind === 'created' && !trust.isCatchingUp) return;
    const { database, key } = event;
    if (!routing.isRouted(key)) return;
    if (!this.#hasRoom(key, 'changes')) {
      trust.lose();
      return events.noticeDropped();
    }
    const detectedAtMs = overflow.heardAtMs(event);
    if (detectedAtMs !== null) {
      // The index still has the deadline of the life that ended, until the change is read.
      const found = { kind: 'expired', database, key, detectedAtMs } as const;
      queue.push({ ...found, detectedBy: 'recovery', matches: routing.match(key) });
    }
    queue.push(event);
  }

  #hasRoom(key: Buffer, ...consumers: readonly EventConsumer[]): boolean {
    let queued = 0;
    let bytes = key.length;
    for (const consumer of consumers) {
      const { count, keyBytes } = this.#parts.queue.load(consumer);
      queued += count;
      bytes += keyBytes;
    }
    return queued < QUEUED_MAX && bytes <= QUEUED_BYTES_MAX;
  }
}
