/**
 * The age of the oldest due delivery. The state Redis stores the due time by its own clock. If that clock is set, the
 * result is at least the time for which this replica has seen the delivery wait.
 */
export class Oldest {
  #what: string | null = null;
  #agedMs = 0;
  #atMs = 0;

  /** `toldMs` is the age by the state's clock, `nowMs` is monotonic; the result is never negative. */
  ageMs(what: string, toldMs: number, nowMs: number): number {
    const seenMs = this.#what === what ? this.#agedMs + nowMs - this.#atMs : 0;
    this.#what = what;
    this.#agedMs = Math.max(toldMs, seenMs);
    this.#atMs = nowMs;
    return this.#agedMs;
  }
}
