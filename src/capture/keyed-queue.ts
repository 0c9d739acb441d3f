/**
 * A queue that is first in, first out for each key. An item is available to its consumer once all earlier items of
 * its key are finished, so that a slice holds each key once. Items of different keys never wait for one another. The
 * queue has no limit of its own: `intake.ts` checks its size before it pushes.
 */
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import { keyId } from '../model/key-id.js';
import type { KeyInDatabase } from '../model/vocabulary.js';

/** An item's place in the queue, from `take` to `finish`. */
export interface Entry<Item> {
  item: Item;
  readonly id: string;
  /** Increases with each push. */
  readonly sequence: number;
  /** The number of drains that had begun before the push. */
  readonly epoch: number;
  isTaken: boolean;
  /** The next item of the key; null: this is the last one. */
  next: Entry<Item> | null;
  /** On the first item of a key: the last item of the key; null if the key has only one item. */
  last: Entry<Item> | null;
  readonly share: Share<Item>;
}

export interface KeyedQueueParts<Consumer extends string, Item> {
  readonly consumers: readonly Consumer[];
  readonly consumerOf: (item: Item) => Consumer;
  /** Returns one item that replaces both; null if both are needed. */
  readonly coalesce: (waiting: Item, next: Item) => Item | null;
  readonly clock: Clock;
}

export interface Load {
  /** The number of unfinished items, ready or not. */
  readonly count: number;
  /** Items that wait for no other item of their key. */
  readonly readyCount: number;
  /** The total size of the keys of the unfinished items. */
  readonly keyBytes: number;
}

/** The items of one consumer. */
class Share<Item> implements Load {
  /** The first items of their keys, except taken ones. */
  ready: Entry<Item>[] = [];
  count = 0;
  keyBytes = 0;

  get readyCount(): number {
    return this.ready.length;
  }
}

interface Drain {
  readonly epoch: number;
  readonly resolve: () => void;
}

export class KeyedQueue<Consumer extends string, Item extends KeyInDatabase> {
  readonly #parts: KeyedQueueParts<Consumer, Item>;
  /** The first item of each key. */
  readonly #heads = new Map<string, Entry<Item>>();
  readonly #shares: ReadonlyMap<Consumer, Share<Item>>;
  /** Notified when an item is ready, or the queue is suspended or resumed. */
  readonly #changed = new Condition();
  /** Notified when items are finished. */
  readonly #finished = new Condition();
  #sequence = 0;
  #epoch = 0;
  /** The number of unfinished items of each epoch; the oldest epoch first. */
  readonly #unfinished = new Map<number, number>();
  readonly #drains: Drain[] = [];
  #isSuspended = false;

  constructor(parts: KeyedQueueParts<Consumer, Item>) {
    this.#parts = parts;
    this.#shares = new Map(parts.consumers.map((consumer) => [consumer, new Share<Item>()]));
  }

  /** The number of unfinished items. */
  get size(): number {
    let size = 0;
    for (const { count } of this.#shares.values()) size += count;
    return size;
  }

  /** The load of a consumer, which changes with the queue. */
  load(consumer: Consumer): Load {
    return this.#share(consumer);
  }

  /** Whether any item of the key is unfinished. */
  has(key: KeyInDatabase): boolean {
    return this.#heads.size > 0 && this.#heads.has(keyId(key));
  }

  push(item: Item): void {
    const id = keyId(item);
    const head = this.#heads.get(id);
    if (head === undefined) return this.#lead(this.#enter(item, id, this.#epoch));
    const last = head.last ?? head;
    const coalesced = last.isTaken ? null : this.#parts.coalesce(last.item, item);
    if (coalesced !== null) {
      last.item = coalesced;
      return;
    }
    head.last = this.#enter(item, id, this.#epoch);
    last.next = head.last;
  }

  /** Inserts an item right behind a taken one, before all other items of its key. */
  follow(taken: Entry<Item>, item: Item): void {
    if (!this.isCurrent(taken)) return;
    const entry = this.#enter(item, taken.id, taken.epoch);
    entry.next = taken.next;
    taken.next = entry;
    taken.last ??= entry;
  }

  /** Takes items once some are available and the queue is not suspended; resolves empty when the signal aborts. */
  async take(
    consumer: Consumer,
    countMax: number,
    signal: AbortSignal,
  ): Promise<readonly Entry<Item>[]> {
    const { clock } = this.#parts;
    const share = this.#share(consumer);
    for (;;) {
      // More items may arrive before the next turn, and the rest of the process gets to run.
      if (share.ready.length > 0) await clock.turn();
      if (signal.aborted) return [];
      if (share.ready.length > 0 && !this.#isSuspended) {
        const taken = share.ready.splice(0, countMax);
        for (const entry of taken) entry.isTaken = true;
        return taken;
      }
      await this.#changed.wait(clock, null, signal);
    }
  }

  /** Whether a taken item is still in the queue: `reset` may have handed it back. */
  isCurrent(taken: Entry<Item>): boolean {
    return this.#heads.get(taken.id) === taken;
  }

  /** Removes taken items, and makes the next items of their keys available. */
  finish(taken: readonly Entry<Item>[]): void {
    for (const entry of taken) {
      if (!this.isCurrent(entry)) continue;
      this.#heads.delete(entry.id);
      this.#leave(entry);
      if (entry.next === null) continue;
      entry.next.last = entry.last === entry.next ? null : entry.last;
      this.#lead(entry.next);
    }
    this.#endDrains();
    this.#finished.notifyAll();
  }

  get isSuspended(): boolean {
    return this.#isSuspended;
  }

  /** Hands out no items until `reset`, but accepts new ones. Returns false if the queue was already suspended. */
  suspend(): boolean {
    if (this.#isSuspended) return false;
    this.#isSuspended = true;
    this.#changed.notifyAll();
    return true;
  }

  /** Empties the queue, and ends a suspension. Returns the items in the order of their pushes. */
  reset(): Item[] {
    const entries: Entry<Item>[] = [];
    for (const head of this.#heads.values()) {
      for (let entry: Entry<Item> | null = head; entry !== null; entry = entry.next) {
        entries.push(entry);
      }
    }
    entries.sort((one, other) => one.sequence - other.sequence);
    this.#heads.clear();
    this.#unfinished.clear();
    for (const share of this.#shares.values()) {
      Object.assign(share, { ready: [], count: 0, keyBytes: 0 });
    }
    this.#isSuspended = false;
    this.#endDrains();
    this.#finished.notifyAll();
    this.#changed.notifyAll();
    return entries.map(({ item }) => item);
  }

  /** Resolves when the queue is suspended, or the signal aborts. */
  async suspended(signal: AbortSignal): Promise<void> {
    while (!this.#isSuspended && !signal.aborted) {
      await this.#changed.wait(this.#parts.clock, null, signal);
    }
  }

  /** Resolves when all items queued so far, and items added by `follow`, are finished; or the signal aborts. */
  drained(signal: AbortSignal): Promise<void> {
    if (this.size === 0 || signal.aborted) return Promise.resolve();
    const epoch = this.#epoch;
    this.#epoch += 1;
    return new Promise((resolve) => {
      const end = () => {
        signal.removeEventListener('abort', end);
        resolve();
      };
      signal.addEventListener('abort', end, { once: true });
      this.#drains.push({ epoch, resolve: end });
    });
  }

  /** Resolves when items are finished, or the signal aborts. */
  finishedSome(signal: AbortSignal): Promise<void> {
    return this.#finished.wait(this.#parts.clock, null, signal);
  }

  #share(consumer: Consumer): Share<Item> {
    const share = this.#shares.get(consumer);
    if (share === undefined) throw new Error(`no such consumer: ${consumer}`);
    return share;
  }

  #enter(item: Item, id: string, epoch: number): Entry<Item> {
    this.#sequence += 1;
    const share = this.#share(this.#parts.consumerOf(item));
    share.count += 1;
    share.keyBytes += item.key.length;
    this.#unfinished.set(epoch, (this.#unfinished.get(epoch) ?? 0) + 1);
    const sequence = this.#sequence;
    return { item, id, sequence, epoch, isTaken: false, next: null, last: null, share };
  }

  #lead(entry: Entry<Item>): void {
    this.#heads.set(entry.id, entry);
    entry.share.ready.push(entry);
    this.#changed.notifyAll();
  }

  #leave({ item, epoch, share }: Entry<Item>): void {
    share.count -= 1;
    share.keyBytes -= item.key.length;
    const left = (this.#unfinished.get(epoch) ?? 0) - 1;
    if (left > 0) this.#unfinished.set(epoch, left);
    else this.#unfinished.delete(epoch);
  }

  #endDrains(): void {
    const [oldest = Number.POSITIVE_INFINITY] = this.#unfinished.keys();
    // The oldest drain comes first.
    while ((this.#drains[0]?.epoch ?? oldest) < oldest) this.#drains.shift()?.resolve();
  }
}
