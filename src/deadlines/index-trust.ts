/** Tracks how far the index of deadlines can be relied on while this replica holds the lease and listens. */
import { Latch } from '../lib/latch.js';

/** The part of a session that is used during a term. */
export interface TermSession {
  /** Whether the server publishes `expired` for removals, and every change of a deadline is received. */
  tellsRemovals(): boolean;
  /** Resolves once all events published so far have been handed on; rejects when the connection fails. */
  barrier(): Promise<void>;
}

interface Term {
  readonly session: TermSession;
  /** Opens once emptied databases are forgotten and expirations missed before are queued, or when the term ends. */
  readonly caughtUp: Latch;
  /** Databases whose deadlines are all in the index: all keys were read, and so was every change since. */
  readonly complete: Set<number>;
  /** Whether a change was lost: the index cannot be relied on until the next term. */
  hasLost: boolean;
}

export class IndexTrust {
  #term: Term | null = null;

  /** Begins a term. */
  begin(session: TermSession): void {
    this.#term = { session, caughtUp: new Latch(), complete: new Set(), hasLost: false };
  }

  /** Ends the term. */
  end(): void {
    const term = this.#term;
    this.#term = null;
    term?.caughtUp.open();
  }

  /** Ends the catch-up: expirations missed before the term are queued, as far as the first search finds them. */
  catchUp(): void {
    this.#term?.caughtUp.open();
  }

  /** Whether there may be missed expirations from before the term that are not queued yet. */
  get isCatchingUp(): boolean {
    return !this.#term?.caughtUp.isOpen;
  }

  /** Resolves with true once the catch-up ends, with false when the term ends first or there is none. */
  async caughtUp(): Promise<boolean> {
    const term = this.#term;
    await term?.caughtUp.untilOpen();
    return term !== null && term === this.#term;
  }

  /** Records that all deadlines of a database have been read. */
  gain(database: number): void {
    this.#term?.complete.add(database);
  }

  /** Records that a change was lost: deadlines in the index may be out of date. */
  lose(): void {
    if (this.#term !== null) this.#term.hasLost = true;
  }

  /** Whether an `expired` long before the deadline in the index can only mean that a command removed the key. */
  tellsRemovals(database: number): boolean {
    const term = this.#term;
    if (term === null || term.hasLost) return false;
    return term.complete.has(database) && term.session.tellsRemovals();
  }

  /** Resolves with whether all events published so far are queued. */
  async barrier(): Promise<boolean> {
    const term = this.#term;
    try {
      await term?.session.barrier();
      return term !== null && term === this.#term;
    } catch {
      return false;
    }
  }
}
