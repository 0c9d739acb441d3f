/**
 * Tracks how far the index of deadlines can be relied on while this replica holds the lease and listens. Each primary
 * has a term of its own: one that hangs says nothing about the keys of the others.
 */
import { Latch } from '../lib/latch.js';
import type { KeyInDatabase } from '../model/vocabulary.js';
import { type Slots, slotOf } from '../redis/slots.js';

/** The part of a session that is used during a term. */
export interface TermSession {
  /** Whether the server publishes `expired` for removals, and every change of a deadline is received. */
  tellsRemovals(): boolean;
  /** Resolves once all events published so far have been handed on; rejects when the connection fails. */
  barrier(): Promise<void>;
}

type Key = Pick<KeyInDatabase, 'key'>;

interface Term {
  readonly session: TermSession;
  /** The slots of the primary, as known now. */
  readonly slots: Slots;
  /** Opens once emptied databases are forgotten and expirations missed before are queued, or when the term ends. */
  readonly caughtUp: Latch;
  /** Databases whose deadlines are all in the index: all keys were read, and so was every change since. */
  readonly complete: Set<number>;
  /** Whether a change was lost: the index cannot be relied on until the next term. */
  hasLost: boolean;
}

export class IndexTrust {
  readonly #terms = new Map<TermSession, Term>();

  /** Begins a term, of the primary that has these slots. */
  begin(session: TermSession, slots: Slots): void {
    const caughtUp = new Latch();
    this.#terms.set(session, { session, slots, caughtUp, complete: new Set(), hasLost: false });
  }

  /** Ends the term. */
  end(session: TermSession): void {
    const term = this.#terms.get(session);
    this.#terms.delete(session);
    term?.caughtUp.open();
  }

  /** Ends the catch-up: expirations missed before the term are queued, as far as the first search finds them. */
  catchUp(session: TermSession): void {
    this.#terms.get(session)?.caughtUp.open();
  }

  /** Whether an expiration of the key may have been missed before the term, and not be queued yet. */
  isCatchingUp({ key }: Key): boolean {
    return this.#termOf(key)?.caughtUp.isOpen !== true;
  }

  /** Resolves with true once the catch-ups of these keys' primaries end; with false if terms end first or are missing. */
  async caughtUp(keys: readonly Key[]): Promise<boolean> {
    const terms = this.#termsOf(keys);
    for (const { caughtUp } of terms) await caughtUp.untilOpen();
    return terms.some((term) => this.#isCurrent(term));
  }

  /** Records that all deadlines of a database have been read. */
  gain(session: TermSession, database: number): void {
    this.#terms.get(session)?.complete.add(database);
  }

  /** Records that a change of the key was lost: its deadline in the index may be out of date. */
  lose({ key }: Key): void {
    const term = this.#termOf(key);
    if (term !== null) term.hasLost = true;
  }

  /** Whether an `expired` of the key long before the deadline in the index can only mean that a command removed it. */
  tellsRemovals({ database, key }: KeyInDatabase): boolean {
    const term = this.#termOf(key);
    if (term === null) return false;
    return !term.hasLost && term.complete.has(database) && term.session.tellsRemovals();
  }

  /** Resolves with whether all events of a key that were published so far are queued, once they are or cannot be. */
  async barrier(keys: readonly Key[]): Promise<(key: Key) => boolean> {
    const received = new Set<Term>();
    const waiting = this.#termsOf(keys).map(async (term) => {
      const isReceived = await term.session.barrier().then(
        () => true,
        () => false,
      );
      if (isReceived && this.#isCurrent(term)) received.add(term);
    });
    await Promise.all(waiting);
    return ({ key }) => {
      const term = this.#termOf(key);
      return term !== null && received.has(term);
    };
  }

  #isCurrent(term: Term): boolean {
    return this.#terms.get(term.session) === term;
  }

  /** Null: the primary of the key has no term. */
  #termOf(key: Buffer): Term | null {
    const [first] = this.#terms.values();
    if (first === undefined || first.slots.isAll) return first ?? null;
    const slot = slotOf(key);
    return [...this.#terms.values()].find(({ slots }) => slots.has(slot)) ?? null;
  }

  #termsOf(keys: readonly Key[]): readonly Term[] {
    return [...new Set(keys.flatMap(({ key }) => this.#termOf(key) ?? []))];
  }
}
