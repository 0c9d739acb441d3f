/** The share of an endpoint's places that due retries get at least, however much is fresh. */
const SHARE = 0.25;

/**
 * How many of the places of each claim are for retries. Where places come one at a time, a retry
 * gets every fourth.
 */
export class RetryShare {
  #owed = 0;

  /** Of `places` that are claimed now. */
  share(places: number): number {
    this.#owed += places * SHARE;
    const whole = Math.floor(this.#owed);
    this.#owed -= whole;
    return whole;
  }
}
