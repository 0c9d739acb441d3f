/**
 * Decides whether this replica captures. The replica captures while it listens and holds the lease. There is one lease
 * for all primaries, and a feed for each of them.
 */
import type { EventQueue } from '../capture/event-queue.js';
import { runTogether } from '../lib/run-together.js';
import type { KeyEvent } from '../model/vocabulary.js';
import { Feed, type FeedParts, type Replica, type SharedParts } from './feed.js';

export interface StandbyParts extends SharedParts {
  readonly queue: Pick<EventQueue, 'drained' | 'suspended' | 'reset'>;
}

export class Standby {
  readonly #parts: StandbyParts;
  readonly #stop = new AbortController();
  readonly #feeds = new Set<Feed>();
  /** The feeds whose events this replica captures. */
  readonly #watching = new Set<Feed>();
  #loops: Promise<unknown> = Promise.resolve();
  /** The token under which the events in the queue were pushed; null: none yet. */
  #queuedUnder: string | null = null;

  constructor(parts: StandbyParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#loops = runTogether(this.#stop.signal, [
      (signal) => this.#followLease(signal),
      (signal) => this.#followQueue(signal),
    ]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loops;
    await Promise.all(Array.from(this.#feeds, (feed) => feed.stop()));
  }

  /** Adds a primary. */
  follow(parts: FeedParts): Feed {
    const replica: Replica = {
      stop: this.#stop.signal,
      unqueueOthers: () => this.#unqueueOthers(),
      watching: (feed, isWatching) => this.#setWatching(feed, isWatching),
      leave: (feed) => this.#leave(feed),
      compete: () => this.#compete(),
    };
    const feed = new Feed({ ...this.#parts, ...parts }, replica);
    this.#feeds.add(feed);
    return feed;
  }

  /** Removes a primary to which this replica does not listen any more. */
  async unfollow(feed: Feed): Promise<void> {
    await feed.stop();
    this.#feeds.delete(feed);
    this.#compete();
  }

  #setWatching(feed: Feed, isWatching: boolean): void {
    const before = this.#watching.size > 0;
    if (isWatching) this.#watching.add(feed);
    else this.#watching.delete(feed);
    const after = this.#watching.size > 0;
    if (before !== after) this.#parts.events.watching(after);
  }

  /**
   * Handles a gap of a feed. If this replica still listens to another primary, it keeps the lease, and its time of
   * listening starts again. Otherwise it releases the lease.
   */
  async #leave(feed: Feed): Promise<void> {
    await this.#stored();
    const goesOn = [...this.#feeds].some((other) => other !== feed && other.session !== null);
    if (goesOn) this.#compete();
    else this.#parts.lease.withdraw();
  }

  /** Competes for the lease if this replica listens to any primary. */
  #compete(): void {
    const listening = [...this.#feeds].filter(({ session }) => session !== null);
    if (listening.length > 0) this.#parts.lease.compete(listening.length === this.#feeds.size);
  }

  /** Resolves when all queued events are stored, or the lease is lost: the next holder then stores them. */
  async #stored(): Promise<void> {
    const { queue, lease } = this.#parts;
    const lost = new AbortController();
    await Promise.race([queue.drained(this.#stop.signal), lease.lost(lost.signal)]);
    lost.abort();
  }

  /** Captures while the lease is held. */
  async #followLease(signal: AbortSignal): Promise<void> {
    const { lease } = this.#parts;
    while (!signal.aborted) {
      await lease.taken(signal);
      if (signal.aborted) return;
      const { token } = lease;
      for (const feed of this.#feeds) feed.dropOld();
      await Promise.all(Array.from(this.#feeds, (feed) => feed.switchTo(feed.session)));
      await lease.due(signal);
      if (signal.aborted) return;
      await Promise.all(Array.from(this.#feeds, (feed) => feed.switchTo(null)));
      if (lease.token !== null && lease.token === token) await this.#handOver();
    }
  }

  /**
   * Handles suspensions of the queue: another replica has held the lease, and this one finds out only now. The events
   * are buffered again: the other replica may have other routes. This replica competes under another token.
   */
  async #followQueue(signal: AbortSignal): Promise<void> {
    const { queue, lease } = this.#parts;
    for (;;) {
      await queue.suspended(signal);
      if (signal.aborted) return;
      this.#unqueue();
      const fenced = [...this.#feeds].filter((feed) => feed.fence());
      if (fenced.length === 0 || lease.token === null) continue;
      this.#competeAnew();
    }
  }

  /** Events that were queued under an earlier token may be captured. */
  #unqueueOthers(): void {
    const { token } = this.#parts.lease;
    if (this.#queuedUnder !== token) this.#unqueue();
    this.#queuedUnder = token;
  }

  /** Moves queued events back to the replay buffers. */
  #unqueue(): void {
    // Events that the relay made itself have no place in a sequence. The next term makes them again, if need be.
    const events = this.#parts.queue.reset();
    const byFeed = new Map<Feed, KeyEvent[]>(Array.from(this.#feeds, (feed) => [feed, []]));
    for (const event of events) {
      const { interval } = event;
      if (interval === undefined) continue;
      const feed = [...this.#feeds].find((one) => one.published(interval));
      if (feed !== undefined) byFeed.get(feed)?.push(event);
    }
    for (const [feed, own] of byFeed) feed.unqueue(own);
  }

  /** Releases the lease, and competes for it under another token. */
  #competeAnew(): void {
    const { lease } = this.#parts;
    lease.withdraw();
    this.#compete();
  }

  /**
   * Hands the lease to a newer configuration, or to a replica without a gap, after the events so far are stored. That
   * replica has listened for a while, and receives every later event itself. This replica becomes a standby.
   */
  async #handOver(): Promise<void> {
    await this.#stored();
    this.#parts.events.leaseHandedOver();
    this.#competeAnew();
  }
}
