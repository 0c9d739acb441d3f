/**
 * How long the oldest delivery has been due. The state Redis has stored since when, by its own clock. If
 * that clock was set since, the result is at least the time for which this replica has seen it wait.
 */
export class Oldest {
  #what: string | null = null;
  #agedMs = 0;
  #atMs = 0;

  /** `toldMs` is what the clock says, `nowMs` is by the monotonic one; the result is never negative. */
  ageMs(what: string, toldMs: number, nowMs: number): number {
    const seenMs = this.#what === what ? this.#agedMs + nowMs - this.#atMs : 0;
    this.#what = what;
    this.#agedMs = Math.max(toldMs, seenMs);
    this.#atMs = nowMs;
    return this.#agedMs;
  }
}
