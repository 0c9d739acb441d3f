/**
 * Turns each expiration into its deliveries and puts them into the outbox; hands every other notice
 * on to the index of deadlines. Both in the order in which they came: what was heard of a key first
 * must not overtake what was heard later. The source must never wait, so there is a bounded queue
 * between it and all of this.
 */
import type { Chance, Clock } from '../clock.js';
import { FencedError } from '../errors.js';
import type { CaptureEvents } from '../events/capture-events.js';
import type { Outbox } from '../outbox/outbox.js';
import type {
  ClaimedKey,
  Delivery,
  Expiration,
  KeyInDatabase,
  Notice,
  Route,
} from '../vocabulary.js';
import { buildDeliveries, matchRoute, occurrenceOf } from './build.js';
import { type Known, nameOf, withDeadlines } from './lives.js';

/** Redis allows keys of 512 MiB; a body that carries one is no webhook. */
export const KEY_BYTES_MAX = 1024 * 1024;

/** Expirations and notices between the source and the outbox: several seconds of a fast server's. */
const QUEUED_MAX = 200_000;

/** The keys of these, together. */
const QUEUED_BYTES_MAX = 64 * 1024 * 1024;

/** Notices that are taken care of together. */
const SLICE_MAX = 500;

/** Each of them is about to be heard to have expired. */
const UNREAD_MAX = 10_000;

/** How long deliveries are built before the rest of the process has its turn. */
const SLICE_MS = 5;

const RETRY_FIRST_MS = 100;
/** Short: while it waits, what is heard waits with it, and no other replica takes the watch. */
const RETRY_MS_MAX = 500;

/** What capture needs of the index of deadlines, and of the keys. */
export interface Index {
  /** The deadline that is known of each key; null where none is. */
  of(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]>;
  /** These entries are about to be claimed: what is being read of their keys is out of date. */
  overtaken(keys: readonly KeyInDatabase[]): void;
  /** Reads the deadlines of these keys again; resolves with those that are gone by now. */
  changed(keys: readonly KeyInDatabase[]): Promise<readonly KeyInDatabase[]>;
  /** These keys went for another reason than their deadlines. */
  removed(keys: readonly KeyInDatabase[]): Promise<void>;
}

export interface CaptureParts {
  readonly routes: readonly Route[];
  readonly outbox: Outbox;
  readonly index: Index;
  readonly events: CaptureEvents;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** What became of a slice of the queue. */
interface Claims {
  /** How many of it are taken care of. */
  readonly reach: number;
  /** Expired keys whose entries in the index are about another life. */
  readonly alsoChanged: readonly KeyInDatabase[];
}

type Queued = { readonly kind: 'expired'; readonly expiration: Expiration } | Notice;

/** What becomes of some expirations. */
interface Built {
  readonly deliveries: readonly Delivery[];
  readonly claimed: readonly ClaimedKey[];
  /** How many of them it is. */
  readonly built: number;
}

export class Capture {
  readonly #parts: CaptureParts;
  readonly #abandon = new AbortController();
  #queue: Queued[] = [];
  #queuedBytes = 0;
  /** Changed keys that were gone before their deadlines could be read: the index has older ones. */
  readonly #unread = new Set<string>();
  /** The emptying of the queue, while it goes on. */
  #emptying: Promise<void> | null = null;

  constructor(parts: CaptureParts) {
    this.#parts = parts;
  }

  /** Takes note of an expiration and returns at once: the source must go on reading. */
  expired(expiration: Expiration): void {
    const { events } = this.#parts;
    const { database, key } = expiration;
    if (key.length > KEY_BYTES_MAX) {
      return events.expirationRefused(database, key, KEY_BYTES_MAX);
    }
    if (!this.#note({ kind: 'expired', expiration }, key)) events.queueFull();
  }

  /** Takes note of what became of a key, if a route is about it, and returns at once. */
  noticed(notice: Notice): void {
    const { routes, events } = this.#parts;
    const { key } = notice;
    if (!isRouted(routes, key)) return;
    if (!this.#note(notice, key)) events.noticeDropped();
  }

  /** How many wait to be taken care of. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Resolves when all that was noted before has been taken care of, or the signal aborts. */
  settled(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        signal.removeEventListener('abort', end);
        resolve();
      };
      if (signal.aborted) return end();
      signal.addEventListener('abort', end);
      void (this.#emptying ?? Promise.resolve()).then(end);
    });
  }

  /** Resolves when all that was noted is in the outbox; an abort gives up, and says so. */
  async stop(signal: AbortSignal): Promise<void> {
    if (signal.aborted) this.#abandon.abort();
    signal.addEventListener('abort', () => this.#abandon.abort(), { once: true });
    await this.#emptying;
    const { events } = this.#parts;
    const expirations = this.#queue.filter(({ kind }) => kind === 'expired').length;
    if (expirations > 0) events.abandoned(expirations);
    events.ended();
  }

  /** False when there is no room. */
  #note(queued: Queued, key: Buffer): boolean {
    const fits =
      this.#queue.length < QUEUED_MAX && this.#queuedBytes + key.length <= QUEUED_BYTES_MAX;
    if (!fits) return false;
    this.#queue.push(queued);
    this.#queuedBytes += key.length;
    this.#emptying ??= this.#empty();
    return true;
  }

  async #empty(): Promise<void> {
    const { signal } = this.#abandon;
    while (this.#queue.length > 0 && !signal.aborted) {
      await this.#parts.clock.turn();
      const slice = this.#queue.slice(0, SLICE_MAX);
      const claimed = await this.#claim(slice);
      if (claimed === null) break;
      await this.#handOn(slice.slice(0, claimed.reach), claimed.alsoChanged);
      this.#drop(claimed.reach);
    }
    this.#emptying = null;
  }

  /** The expirations among these, as far as a short while reaches. Null when they are given up. */
  async #claim(slice: readonly Queued[]): Promise<Claims | null> {
    const { index } = this.#parts;
    const expirations = slice.flatMap((one) => (one.kind === 'expired' ? [one.expiration] : []));
    if (expirations.length === 0) return { reach: slice.length, alsoChanged: [] };
    const deadlines = await this.#persist(() => index.of(expirations));
    if (deadlines === null) return null;
    const known = withDeadlines(slice, deadlines, this.#queue, this.#unread);
    const { deliveries, claimed, built } = this.#build(known);
    if (!(await this.#enqueue(deliveries, claimed))) return null;
    const isAnother = (_: Expiration, at: number) =>
      at < built && known[at]?.expiration.expiredAtMs === null && deadlines[at] !== null;
    return {
      reach: built === known.length ? slice.length : placeOfExpiration(slice, built),
      alsoChanged: expirations.filter(isAnother),
    };
  }

  #build(known: readonly Known[]): Built {
    const { routes, events, clock, chance } = this.#parts;
    const endMs = clock.monotonicMs() + SLICE_MS;
    const deliveries: Delivery[] = [];
    const claimed: ClaimedKey[] = [];
    let built = 0;
    let recovered = 0;
    for (const { expiration, entryMs } of known) {
      built += 1;
      // Its entry is gone: it was heard of after all, or has another life.
      if (expiration.detectedBy === 'recovery' && expiration.expiredAtMs === null) continue;
      const its = buildDeliveries(expiration, routes, occurrenceOf(expiration) ?? chance.token());
      events.expired(expiration, its);
      deliveries.push(...its);
      if (its.length > 0 || entryMs !== null) claimed.push(claimedKeyOf(expiration, entryMs));
      if (expiration.detectedBy === 'recovery' && its.length > 0) recovered += 1;
      if (clock.monotonicMs() >= endMs) break;
    }
    if (recovered > 0) events.recovered(recovered);
    return { deliveries, claimed, built };
  }

  /**
   * Every other notice: what the key is now is read, so that each key is looked at once. So are keys
   * that expired, and whose entries are about another life: it may never have begun.
   */
  async #handOn(slice: readonly Queued[], alsoChanged: readonly KeyInDatabase[]): Promise<void> {
    const { index } = this.#parts;
    const changed = new Map(alsoChanged.map((key) => [nameOf(key), key]));
    const removed = new Map<string, KeyInDatabase>();
    const isChanged = new Set<string>();
    for (const one of slice) {
      const name = nameOf(one.kind === 'expired' ? one.expiration : one);
      this.#unread.delete(name);
      if (one.kind === 'changed') isChanged.add(name);
      else isChanged.delete(name);
      if (one.kind !== 'expired') (one.kind === 'changed' ? changed : removed).set(name, one);
    }
    if (removed.size > 0) await this.#persist(() => index.removed([...removed.values()]));
    if (changed.size === 0) return;
    const gone = (await this.#persist(() => index.changed([...changed.values()]))) ?? [];
    if (this.#unread.size > UNREAD_MAX) this.#unread.clear();
    for (const name of gone.map(nameOf)) if (isChanged.has(name)) this.#unread.add(name);
  }

  #drop(count: number): void {
    for (const one of this.#queue.splice(0, count)) {
      this.#queuedBytes -= one.kind === 'expired' ? one.expiration.key.length : one.key.length;
    }
  }

  /** False when it is given up. */
  async #enqueue(
    deliveries: readonly Delivery[],
    claimed: readonly ClaimedKey[],
  ): Promise<boolean> {
    if (deliveries.length + claimed.length === 0) return true;
    const { outbox, index, events } = this.#parts;
    const refused = await this.#persist(() => {
      index.overtaken(claimed.filter(({ deadlineMs }) => deadlineMs !== null));
      return outbox.enqueue(deliveries, claimed);
    });
    if (refused !== null) events.outboxFull(refused);
    return refused !== null;
  }

  /** Another replica has heard all of this, too, and captures it. */
  #fenced(): null {
    this.#parts.events.fenced(this.#queue.length);
    this.#queue = [];
    this.#queuedBytes = 0;
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
        events.captureFailed(error, this.#queue.length, retryInMs);
        await clock.sleep(retryInMs, this.#abandon.signal);
        retryInMs = Math.min(retryInMs * 2, RETRY_MS_MAX);
      }
    }
    return null;
  }
}

/** Whether a route is about the key, and it can be sent. */
export function isRouted(routes: readonly Route[], key: Buffer): boolean {
  return key.length <= KEY_BYTES_MAX && routes.some((route) => matchRoute(route, key) !== null);
}

/** Where the expiration stands that is the `nth`, from 0. */
function placeOfExpiration(slice: readonly Queued[], nth: number): number {
  let seen = 0;
  return slice.findIndex(({ kind }) => {
    if (kind !== 'expired') return false;
    seen += 1;
    return seen > nth;
  });
}

function claimedKeyOf(expiration: Expiration, deadlineMs: number | null): ClaimedKey {
  const { database, key, detectedAtMs } = expiration;
  return { database, key, deadlineMs, detectedAtMs };
}
