/**
 * For how long a value has been the same, by this replica's monotonic clock. Whether another replica runs
 * is decided by that and never by a time that it has written: clocks are set.
 */
interface Seen {
  readonly value: string;
  readonly sinceMs: number;
  /** Whether it was seen to change: what never did may have been left by a process that is gone. */
  readonly hasChanged: boolean;
}

export class Unchanged {
  #seen: ReadonlyMap<string, Seen> = new Map();

  /**
   * Takes note of all values that there are, by name. `ageMs`: for how long a value is known to have been
   * there when it is first seen.
   */
  note(
    values: ReadonlyMap<string, string>,
    nowMs: number,
    ageMs: (name: string) => number = () => 0,
  ): void {
    const seen = new Map<string, Seen>();
    for (const [name, value] of values) {
      const before = this.#seen.get(name);
      const isSame = before?.value === value;
      const anew = { value, sinceMs: nowMs - ageMs(name), hasChanged: before !== undefined };
      seen.set(name, isSame ? before : anew);
    }
    this.#seen = seen;
  }

  /** The value that was noted last; null where there was none. */
  valueOf(name: string): string | null {
    return this.#seen.get(name)?.value ?? null;
  }

  /** For how many milliseconds the value has been the same; 0 where there is none. */
  forMs(name: string, nowMs: number): number {
    return nowMs - (this.#seen.get(name)?.sinceMs ?? nowMs);
  }

  hasChanged(name: string): boolean {
    return this.#seen.get(name)?.hasChanged ?? false;
  }

  /** The names whose values have been the same for `forMs`, and since when. */
  since(forMs: number, nowMs: number): ReadonlyMap<string, number> {
    const unchanged = [...this.#seen].filter(([, { sinceMs }]) => nowMs - sinceMs >= forMs);
    return new Map(unchanged.map(([name, { sinceMs }]) => [name, sinceMs]));
  }

  /** Counts all values as changed just now: while Redis was away, none could be written or read. */
  renew(nowMs: number): void {
    this.#seen = new Map(
      Array.from(this.#seen, ([name, seen]) => [name, { ...seen, sinceMs: nowMs }]),
    );
  }
}
