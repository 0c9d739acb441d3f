/** Writes marks while this replica holds the lease. */
import type { Sequence } from '../capture/sequence.js';
import type { Session } from '../source/session.js';
import type { Lease } from '../state/lease.js';

/** The marks of one holder in one session are numbered from a multiple of this on: more than a session has. */
const MARKS_MAX = 1_000_000_000;

/**
 * Whether a mark is its holder's first, or its first after a gap: a holder keeps the lease during a gap of one of
 * several primaries. The holder buffered the events before it, and captures them itself.
 */
export function isFirstMark(mark: string): boolean {
  return Number(mark.slice(mark.lastIndexOf('.') + 1)) % MARKS_MAX === 1;
}

export class MarkWriter {
  readonly #lease: Pick<Lease, 'generation'>;
  readonly #sequence: Pick<Sequence, 'has'>;
  /** Returns another number for each session of this replica, from 0 on. */
  readonly #nextSession: () => number;
  #generation: number | null = null;
  #marks: Session['marks'] | null = null;
  /** The number of the last mark. */
  #last = 0;

  constructor(
    lease: Pick<Lease, 'generation'>,
    sequence: Pick<Sequence, 'has'>,
    nextSession: () => number,
  ) {
    this.#lease = lease;
    this.#sequence = sequence;
    this.#nextSession = nextSession;
  }

  /**
   * Writes a mark. Resolves with it once this replica has received it; null if it was not written or received. Never
   * rejects. All events published before the call precede the mark. No mark is used twice.
   */
  async write({ marks, barrier }: Pick<Session, 'marks' | 'barrier'>): Promise<string | null> {
    const { generation } = this.#lease;
    if (generation === null) return null;
    const isFirst = generation !== this.#generation || marks !== this.#marks;
    if (isFirst) this.#last = MARKS_MAX * this.#nextSession();
    this.#generation = generation;
    this.#marks = marks;
    this.#last += 1;
    try {
      const mark = await marks.publish(`${generation}.${this.#last}`);
      await barrier();
      return mark !== null && this.#sequence.has(mark) ? mark : null;
    } catch {
      return null;
    }
  }
}
