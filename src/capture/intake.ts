/**
 * The entry point for key events. Each event is matched against the routes once, and queued. Events of keys that match
 * no route are discarded. The source never waits, and memory is bounded: events that find no room are dropped.
 */

import type { IndexTrust } from '../deadlines/index-trust.js';
import type { ExpiredEvent, KeyEvent, KeyInDatabase } from '../model/vocabulary.js';
import { KEY_BYTES_MAX, type Routing } from '../routing/routes.js';
import type { CaptureEvents } from '../telemetry/capture-events.js';
import type { EventConsumer, EventQueue } from './event-queue.js';
import type { OverflowLog } from './overflow-log.js';

/**
 * The maximum number of queued expirations: what a fast server expires in one second, some 50 MB. Further expirations
 * are dropped, and recovered from the index. Changes have their own limit of the same size.
 */
const QUEUED_MAX = 50_000;

/** The total size of the keys of queued expirations; queued changes have the same limit. */
const QUEUED_BYTES_MAX = 16 * 1024 * 1024;

/** Back-pressure: the nudger pauses above this many queued expirations. The index keeps the others meanwhile. */
const ROOM_MAX = 5_000;
/** The limit for expirations whose webhooks carry values: these take longer, and must not delay the others. */
const CARRYING_MAX = 20_000;

export interface IntakeParts {
  readonly routing: Pick<Routing, 'routesOf' | 'isRouted'>;
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

  /** Takes an event. Never waits, so that the source can continue to read. */
  push(event: KeyEvent): void {
    if (event.kind === 'expired') this.#pushExpired(event);
    else this.#pushChange(event);
  }

  /** Queues changes, so that the deadlines of these keys are read again. */
  reread(keys: readonly KeyInDatabase[]): void {
    const detectedAtMs = Math.round(this.#parts.serverNowMs());
    for (const { database, key } of keys) {
      this.push({ kind: 'changed', database, key, detectedAtMs });
    }
  }

  /**
   * Resolves when there is room for more expirations, or the signal aborts. Expirations behind a change of their key do
   * not count: they may have to wait until the catch-up ends, and the catch-up waits for room.
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
    if (key.length > KEY_BYTES_MAX) return events.expirationOversized(database, key, KEY_BYTES_MAX);
    const routes = routing.routesOf(key);
    if (routes.length === 0) return events.expired(event, []);
    if (this.#hasRoom(key, 'plain', 'carrying')) return queue.push({ ...event, routes });
    // If the deadline was known, the index still has the entry, and the expiration is found again.
    if (detectedBy === 'notification') overflow.add(event);
    events.queueFull();
  }

  #pushChange(event: Exclude<KeyEvent, ExpiredEvent>): void {
    const { routing, queue, overflow, trust, events } = this.#parts;
    // Outside a catch-up nothing was missed: the end of the key's previous life was received as well.
    if (event.kind === 'created' && !trust.isCatchingUp(event)) return;
    const { database, key } = event;
    if (!routing.isRouted(key)) return;
    if (!this.#hasRoom(key, 'changes')) {
      trust.lose(event);
      return events.keyChangeDropped();
    }
    const detectedAtMs = overflow.receivedAtMs(event);
    if (detectedAtMs !== null) {
      // Until the deadline is read again, the index has the deadline of the life that ended.
      const found = { kind: 'expired', database, key, detectedAtMs } as const;
      queue.push({ ...found, detectedBy: 'recovery', routes: routing.routesOf(key) });
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
