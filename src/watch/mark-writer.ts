/** Writes marks while this replica holds the lease. */
import type { Sequence } from '../capture/sequence.js';
import type { Session } from '../source/session.js';
import type { Lease } from '../state/lease.js';

/** Whether a mark is the first one of its term: the holder had buffered what it hears before, and captures it then. */
export function beginsTerm(mark: string): boolean {
  return mark.endsWith('.1');
}

export class MarkWriter {
  readonly #lease: Pick<Lease, 'term'>;
  readonly #sequence: Pick<Sequence, 'has'>;
  #term: number | null = null;
  /** In this term. */
  #written = 0;

  constructor(lease: Pick<Lease, 'term'>, sequence: Pick<Sequence, 'has'>) {
    this.#lease = lease;
    this.#sequence = sequence;
  }

  /**
   * Resolves with a mark behind all that Redis had published before, once this replica has heard it; null where none is
   * heard. Never rejects. No other mark of this replica, or of a later holder, has a number as low.
   */
  async write({ marks, barrier }: Pick<Session, 'marks' | 'barrier'>): Promise<string | null> {
    const { term } = this.#lease;
    if (term === null) return null;
    if (term !== this.#term) this.#written = 0;
    this.#term = term;
    this.#written += 1;
    try {
      const mark = await marks.write(`${term}.${this.#written}`);
      await barrier();
      return mark !== null && this.#sequence.has(mark) ? mark : null;
    } catch {
      return null;
    }
  }
}
