/** The minimum share of an endpoint's claims that due retries get while fresh deliveries are ready. */
const SHARE = 0.25;

/**
 * Computes how many places of each claim are for retries. Where places come one at a time, every fourth is for a retry.
 */
export class RetryShare {
  #owed = 0;

  /** The retries' share of the `places` of this claim. */
  share(places: number): number {
    this.#owed += places * SHARE;
    const whole = Math.floor(this.#owed);
    this.#owed -= whole;
    return whole;
  }
}
