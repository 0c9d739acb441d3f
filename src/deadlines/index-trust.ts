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
  /** One for each primary. */
  readonly #terms = new Map<TermSession, Term>();

  /** Begins a term. */
  begin(session: TermSession): void {
    const term = { session, caughtUp: new Latch(), complete: new Set<number>(), hasLost: false };
    this.#terms.set(session, term);
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

  /** Whether there may be missed expirations from before a term that are not queued yet. */
  get isCatchingUp(): boolean {
    const terms = [...this.#terms.values()];
    return terms.length === 0 || terms.some(({ caughtUp }) => !caughtUp.isOpen);
  }

  /** Resolves with true once all catch-ups end, with false when the terms end first or there is none. */
  async caughtUp(): Promise<boolean> {
    const terms = [...this.#terms.values()];
    for (const { caughtUp } of terms) await caughtUp.untilOpen();
    return terms.some((term) => this.#isCurrent(term));
  }

  /** Records that all deadlines of a database have been read. */
  gain(session: TermSession, database: number): void {
    this.#terms.get(session)?.complete.add(database);
  }

  /** Records that a change was lost: deadlines in the index may be out of date. */
  lose(): void {
    for (const term of this.#terms.values()) term.hasLost = true;
  }

  /** Whether an `expired` long before the deadline in the index can only mean that a command removed the key. */
  tellsRemovals(database: number): boolean {
    const terms = [...this.#terms.values()];
    const tells = ({ hasLost, complete, session }: Term) =>
      !hasLost && complete.has(database) && session.tellsRemovals();
    return terms.length > 0 && terms.every(tells);
  }

  /** Resolves with whether all events published so far are queued. */
  async barrier(): Promise<boolean> {
    const terms = [...this.#terms.values()];
    try {
      await Promise.all(terms.map(({ session }) => session.barrier()));
      return terms.length > 0 && terms.every((term) => this.#isCurrent(term));
    } catch {
      return false;
    }
  }

  #isCurrent(term: Term): boolean {
    return this.#terms.get(term.session) === term;
  }
}
