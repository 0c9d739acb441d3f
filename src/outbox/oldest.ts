/**
 * For how long what is oldest has been due. The state Redis says since when by its clock, which
 * somebody may have set since: then it is at least as long as this replica has seen it wait.
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
