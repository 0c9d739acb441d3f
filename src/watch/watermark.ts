/** The watermark: for each primary, the last mark before which all of its events are captured or written to the index. */
import type { Deadlines } from '../deadlines/deadlines.js';
import type { Session } from '../source/session.js';

export class Watermark {
  readonly #deadlines: Pick<Deadlines, 'advanceWatermark'>;
  readonly #marks = new Map<Session, string>();

  constructor(deadlines: Pick<Deadlines, 'advanceWatermark'>) {
    this.#deadlines = deadlines;
  }

  /** Rejects if the state is unavailable, or another replica holds the lease. */
  async advance(session: Session, mark: string): Promise<void> {
    this.#marks.set(session, mark);
    await this.#deadlines.advanceWatermark([...this.#marks.values()]);
  }

  /** Leaves out the primary of an ended session. */
  drop(session: Session): void {
    this.#marks.delete(session);
  }
}
