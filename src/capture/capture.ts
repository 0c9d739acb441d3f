/**
 * Turns each expiration into its deliveries and puts them into the outbox; hands every other notice
 * on to the index of deadlines. The source must never wait, so there are bounded queues between it
 * and all of this: expirations have a lane of their own, since they must not be late because of what
 * only concerns later deadlines. Of one key, what was heard first is not overtaken by what was heard
 * later: an expiration that was heard behind notices of its key follows them through their lane.
 */
import { Bell } from '../bell.js';
import { FencedError } from '../errors.js';
import { nameOf } from '../key-name.js';
import type { Writer } from '../outbox/outbox.js';
import { isRouted, KEY_BYTES_MAX } from '../routing.js';
import type { ClaimedKey, Delivery, Expiration, KeyInDatabase, Notice } from '../vocabulary.js';
import { buildClaims } from './claims.js';
import { correctDetected } from './detected.js';
import { Dropped } from './dropped.js';
import { Lane } from './lane.js';
import { type Ended, inOrder, type Noted, outlived, withDeadlines } from './lives.js';
import type { CaptureParts, ClaimedValues } from './parts.js';
import { haveRoomFor } from './room.js';

/** Whoever makes Redis expire keys waits while there are more: the index keeps them meanwhile. */
const ROOM_MAX = 5_000;
/** Those that carry values take longer, and are not to hold up the others. */
const CARRYING_MAX = 20_000;

/** Each of them is about to be heard to have expired. */
const UNREAD_MAX = 10_000;

const RETRY_FIRST_MS = 100;
/** Short: while it waits, what is heard waits with it, and no other replica takes the watch. */
const RETRY_MS_MAX = 500;

export class Capture {
  readonly #parts: CaptureParts;
  readonly #abandon = new AbortController();
  readonly #through = new Bell();
  readonly #expirations: Lane<Ended>;
  /** Those whose webhooks carry values: nobody else waits while these are read. */
  readonly #carrying: Lane<Ended>;
  readonly #notices: Lane<Noted>;
  readonly #ending: readonly Lane<Ended>[];
  readonly #noticing: readonly Lane<Noted>[];
  readonly #dropped: Dropped;
  /** Changed keys that were gone before their deadlines could be read: the index has older ones. */
  readonly #unread = new Set<string>();

  constructor(parts: CaptureParts) {
    const { clock } = parts;
    const onThrough = () => this.#through.ring();
    this.#parts = parts;
    const { values } = parts;
    this.#expirations = new Lane({
      clock,
      onThrough,
      process: (slice) => this.#persist(() => this.#claim(slice, null)),
    });
    this.#carrying = new Lane({
      clock,
      onThrough,
      process: (slice) => this.#persist(() => this.#claim(slice, values)),
    });
    this.#notices = new Lane({
      clock,
      onThrough,
      process: (slice) => this.#persist(() => this.#handOn(slice)),
    });
    this.#ending = [this.#expirations, this.#carrying];
    this.#noticing = [this.#notices];
    this.#dropped = new Dropped(clock);
  }

  /** Takes note of an expiration and returns at once: the source must go on reading. */
  expired(expiration: Expiration): void {
    const { events, routes } = this.#parts;
    const { database, key } = expiration;
    if (key.length > KEY_BYTES_MAX) {
      return events.expirationRefused(database, key, KEY_BYTES_MAX);
    }
    if (!isRouted(routes, key)) return events.expired(expiration, []);
    const ended = { database, key, expiration, isIndexed: true };
    const isBehind = this.#notices.has(ended);
    if (!haveRoomFor(key, isBehind ? this.#noticing : this.#ending)) this.#drop(expiration);
    else if (isBehind) this.#notices.push({ kind: 'expired', ...ended });
    else this.#take(ended);
  }

  /** Takes note of what became of a key, if a route is about it, and returns at once. */
  noticed(notice: Notice): void {
    const { routes, events, index } = this.#parts;
    if (!isRouted(routes, notice.key)) return;
    // Else the end of the life before was heard.
    if (notice.kind === 'created' && !index.isCatchingUp()) return;
    if (!haveRoomFor(notice.key, this.#noticing)) {
      index.noticeLost();
      return events.noticeDropped();
    }
    const detectedAtMs = this.#dropped.atMs(notice);
    if (detectedAtMs !== null) {
      // The entry is still that of the life that ended, until what the notice is about is read.
      const { database, key } = notice;
      const found = { database, key, expiredAtMs: null, detectedAtMs } as const;
      const expiration = { ...found, detectedBy: 'recovery' } as const;
      this.#notices.push({ kind: 'expired', database, key, expiration, isIndexed: true });
    }
    this.#notices.push(notice);
  }

  /** How many wait to be taken care of. */
  get queued(): number {
    return this.#ended + this.#notices.size;
  }

  /** Whether something about the key waits to be taken care of. */
  isQueued(key: KeyInDatabase): boolean {
    return this.#notices.has(key) || this.#ending.some((lane) => lane.has(key));
  }

  /** How many expirations wait for nothing that was heard before them. */
  get #ended(): number {
    return this.#expirations.size + this.#carrying.size;
  }

  /** Resolves when all that was noted before has been taken care of, or the signal aborts. */
  async settled(signal: AbortSignal): Promise<void> {
    await this.#notices.settled(signal);
    // Some of the one lane go on to the others.
    await this.#endedSettled(signal);
  }

  async #endedSettled(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#ending.map((lane) => lane.settled(signal)));
  }

  /** Resolves when there is room for more expirations, or the signal aborts. */
  async room(signal: AbortSignal): Promise<void> {
    const isFull = () => this.#expirations.size > ROOM_MAX || this.#carrying.size > CARRYING_MAX;
    while (isFull() && !signal.aborted) {
      await this.#through.wait(this.#parts.clock, null, signal);
    }
  }

  /** Resolves when all that was noted is in the outbox; an abort gives up, and says so. */
  async stop(signal: AbortSignal): Promise<void> {
    if (signal.aborted) this.#abandon.abort();
    signal.addEventListener('abort', () => this.#abandon.abort(), { once: true });
    await this.#notices.atRest();
    await this.#expirations.atRest();
    await this.#carrying.atRest();
    const { events } = this.#parts;
    const held = this.#notices.items.filter(({ kind }) => kind === 'expired').length;
    const expirations = this.#ended + held;
    if (expirations > 0) events.abandoned(expirations);
    this.#dropped.clear();
    events.ended();
  }

  /** It is in the index, if its deadline was known. */
  #drop(expiration: Expiration): void {
    if (expiration.detectedBy === 'notification') this.#dropped.add(expiration);
    this.#parts.events.queueFull();
  }

  /** What was not heard to expire is known by its entry alone. */
  #take(ended: Ended): void {
    const isUnread = this.#unread.size > 0 && this.#unread.delete(nameOf(ended));
    const isRead = !isUnread || ended.expiration.detectedBy === 'recovery';
    this.#laneOf(ended).push({ ...ended, isIndexed: ended.isIndexed && isRead });
  }

  #laneOf(key: KeyInDatabase): Lane<Ended> {
    return this.#parts.values?.isCarried(key) ? this.#carrying : this.#expirations;
  }

  /** Resolves with how many of these are claimed: all, or null when they are given up. */
  async #claim(slice: readonly Ended[], values: ClaimedValues | null): Promise<number | null> {
    const { index, clock } = this.#parts;
    const deadlines = await this.#persist(() => index.of(slice));
    if (deadlines === null) return null;
    const ended = await correctDetected(slice, deadlines, this.#parts.serverTime);
    const known = withDeadlines(ended, deadlines, {
      isNoticed: (key) => this.#notices.has(key),
      tellsRemovals: (database) => index.tellsRemovals(database),
    });
    for (let from = 0; from < known.length; ) {
      if (from > 0) await clock.turn();
      const some = known.slice(from, from + (values?.countMax ?? known.length));
      const expirations = some.map(({ expiration }) => expiration);
      const carried = values === null ? [] : await this.#persist(() => values.of(expirations));
      if (carried === null) return null;
      const { deliveries, claimed, built } = buildClaims(some, carried, this.#dropped, this.#parts);
      const writer = values === null ? 'plain' : 'carrying';
      if (!(await this.#enqueue(deliveries, claimed, writer))) return null;
      // Of what is left behind, the next ones of the key make nothing.
      void values?.claimed(claimed).catch(() => undefined);
      from += built;
    }
    // An entry may be about another life, which may never have begun.
    for (const [at, { expiration }] of known.entries()) {
      const { database, key, expiredAtMs } = expiration;
      if (expiredAtMs !== null || deadlines[at] === null) continue;
      this.#notices.push({ kind: 'changed', database, key });
    }
    return slice.length;
  }

  /** False when it is given up. */
  async #enqueue(
    deliveries: readonly Delivery[],
    claimed: readonly ClaimedKey[],
    writer: Writer,
  ): Promise<boolean> {
    if (deliveries.length + claimed.length === 0) return true;
    const { outbox, index, events } = this.#parts;
    const batch = await this.#persist(async () => outbox.beginBatch(writer));
    if (batch === null) return false;
    const refused = await this.#persist(() => {
      index.overtaken(claimed);
      return outbox.enqueue(deliveries, claimed, batch);
    });
    if (refused === null) return false;
    index.claimed(claimed);
    events.outboxFull(refused);
    return true;
  }

  /**
   * Hands notices on: how many, or null when they are given up. What a key is now is what is read, so
   * that each key is looked at once; those that were set again are, once their expirations are claimed.
   */
  async #handOn(slice: readonly Noted[]): Promise<number | null> {
    const { index } = this.#parts;
    const { created, changed, removed, expired, later } = inOrder(slice);
    const { signal } = this.#abandon;
    // What is said of a key from now on does not hide that it had expired before.
    if ((await index.caughtUp()) && created.length > 0) {
      const deadlines = await this.#persist(() => index.of(created));
      if (deadlines === null) return null;
      for (const ended of outlived(created, deadlines)) this.#take(ended);
    }
    if ([...changed, ...removed].some((key) => this.#laneOf(key).has(key))) {
      await this.#endedSettled(signal);
      if (signal.aborted) return null;
    }
    if (removed.length > 0) {
      if ((await this.#persist(() => index.removed(removed))) === null) return null;
    }
    const gone = changed.length > 0 ? await this.#persist(() => index.changed(changed)) : [];
    if (gone === null) return null;
    if (this.#unread.size > 0) {
      for (const key of [...changed, ...removed]) this.#unread.delete(nameOf(key));
    }
    if (this.#unread.size > UNREAD_MAX) this.#unread.clear();
    for (const key of gone) this.#unread.add(nameOf(key));
    for (const ended of expired) this.#take(ended);
    for (const { database, key } of later) this.#notices.push({ kind: 'changed', database, key });
    return slice.length;
  }

  /**
   * Another replica has received the same notifications, and captures them. It may have other routes, and
   * this replica may get the lease again: notifications are handed back, and found expirations are still
   * in the index.
   */
  #fenced(): null {
    const { events, onFenced } = this.#parts;
    if (this.queued > 0) events.fenced(this.queued);
    const heard = heardOf([...this.#ending.flatMap(({ items }) => items), ...this.#notices.items]);
    for (const lane of [...this.#ending, ...this.#noticing]) lane.clear();
    this.#dropped.clear();
    onFenced(heard);
    return null;
  }

  /** Repeats the step until it is done: a repeat stores nothing twice. Null when it is given up. */
  async #persist<Result>(step: () => Promise<Result>): Promise<Result | null> {
    const { events, clock } = this.#parts;
    for (let retryInMs = RETRY_FIRST_MS; !this.#abandon.signal.aborted; ) {
      try {
        return await step();
      } catch (error) {
        if (error instanceof FencedError) return this.#fenced();
        events.captureFailed(error, this.queued, retryInMs);
        await clock.sleep(retryInMs, this.#abandon.signal);
        retryInMs = Math.min(retryInMs * 2, RETRY_MS_MAX);
      }
    }
    return null;
  }
}

/** What Redis has said, in its order: of one key, what ends waits in no lane behind its notices. */
function heardOf(items: readonly (Ended | Noted)[]): (Expiration | Notice)[] {
  return items.flatMap<Expiration | Notice>((item) => {
    if (!('expiration' in item)) return [item];
    return item.expiration.detectedBy === 'notification' ? [item.expiration] : [];
  });
}
