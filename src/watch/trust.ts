/**
 * For which databases the index has every deadline as it is: all were read since the relay listens, and
 * every change since was heard and read. Once a change is lost there is no telling, until the next gap.
 */
export class Trust {
  readonly #tellsRemovals: () => boolean;
  readonly #databases = new Set<number>();
  #isLost = false;

  /** As `tellsRemovals` of the session. */
  constructor(tellsRemovals: () => boolean) {
    this.#tellsRemovals = tellsRemovals;
  }

  gain(database: number): void {
    this.#databases.add(database);
  }

  lose(): void {
    this.#isLost = true;
  }

  /** Whether an `expired` long before the deadline in the index can only be of a key that was removed. */
  tellsRemovals(database: number): boolean {
    return !this.#isLost && this.#databases.has(database) && this.#tellsRemovals();
  }
}
