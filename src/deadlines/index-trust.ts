/** How far the index of deadlines can be relied on while this replica holds the lease and listens. */
import { Latch } from '../lib/latch.js';

/** What is asked of the session of a term. */
export interface TermSession {
  /** Whether the server publishes `expired` for removals, and every change of a deadline is heard. */
  tellsRemovals(): boolean;
  /** Resolves once all that Redis has published by now has been handed on; rejects with the connection. */
  barrier(): Promise<void>;
}

interface Term {
  readonly session: TermSession;
  /** Opens once the index is about the databases as they are, and what had expired before is captured; or at the end. */
  readonly caughtUp: Latch;
  /** The databases of which the index has had every deadline: all were read, and every change since was read too. */
  readonly complete: Set<number>;
  /** A change was lost, so that there is no telling until the next term. */
  hasLost: boolean;
}

export class IndexTrust {
  #term: Term | null = null;

  /** A term begins. */
  begin(session: TermSession): void {
    this.#term = { session, caughtUp: new Latch(), complete: new Set(), hasLost: false };
  }

  /** The term is over. */
  end(): void {
    const term = this.#term;
    this.#term = null;
    term?.caughtUp.open();
  }

  /** What had expired before the term is captured, as far as it is found first. */
  catchUp(): void {
    this.#term?.caughtUp.open();
  }

  /** Whether something may have expired unheard that is not captured yet. */
  get isCatchingUp(): boolean {
    return !this.#term?.caughtUp.isOpen;
  }

  /** Resolves with true once that is captured, with false when the term ends first or there is none. */
  async caughtUp(): Promise<boolean> {
    const term = this.#term;
    await term?.caughtUp.untilOpen();
    return term !== null && term === this.#term;
  }

  /** All deadlines of a database have been read. */
  gain(database: number): void {
    this.#term?.complete.add(database);
  }

  /** A change was lost: deadlines in the index may be out of date. */
  lose(): void {
    if (this.#term !== null) this.#term.hasLost = true;
  }

  /** Whether an `expired` long before the deadline in the index can only be of a key that a command removed. */
  tellsRemovals(database: number): boolean {
    const term = this.#term;
    if (term === null || term.hasLost) return false;
    return term.complete.has(database) && term.session.tellsRemovals();
  }

  /** Resolves with whether all that Redis has published by now is queued. */
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
