/** Writes marks while this replica holds the lease. */
import type { Sequence } from '../capture/sequence.js';
import type { Session } from '../source/session.js';
import type { Lease } from '../state/lease.js';

/** Whether a mark is its holder's first. The holder buffered the events before it, and captures them itself. */
export function isFirstMark(mark: string): boolean {
  return mark.endsWith('.1');
}

export class MarkWriter {
  readonly #lease: Pick<Lease, 'generation'>;
  readonly #sequence: Pick<Sequence, 'has'>;
  #generation: number | null = null;
  /** The number of marks written in this generation of the lease. */
  #written = 0;

  constructor(lease: Pick<Lease, 'generation'>, sequence: Pick<Sequence, 'has'>) {
    this.#lease = lease;
    this.#sequence = sequence;
  }

  /**
   * Writes a mark. Resolves with it once this replica has received it; null if it was not written or received. Never
   * rejects. All events published before the call precede the mark. No mark is used twice.
   */
  async write({ marks, barrier }: Pick<Session, 'marks' | 'barrier'>): Promise<string | null> {
    const { generation } = this.#lease;
    if (generation === null) return null;
    if (generation !== this.#generation) this.#written = 0;
    this.#generation = generation;
    this.#written += 1;
    try {
      const mark = await marks.publish(`${generation}.${this.#written}`);
      await barrier();
      return mark !== null && this.#sequence.has(mark) ? mark : null;
    } catch {
      return null;
    }
  }
}
