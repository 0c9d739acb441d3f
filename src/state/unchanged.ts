/**
 * Tracks for how long a value has not changed, by this replica's monotonic clock. Whether another replica runs is
 * decided that way, and never by a time that it has written: clocks are set.
 */
interface Seen {
  readonly value: string;
  readonly sinceMs: number;
  /** Whether a change was seen: an unchanged value may have been left by a process that is gone. */
  readonly hasChanged: boolean;
}

export class Unchanged {
  #seen: ReadonlyMap<string, Seen> = new Map();

  /** Records all present values, by name. `ageMs` is the known age of a value that is seen for the first time. */
  update(
    values: ReadonlyMap<string, string>,
    nowMs: number,
    ageMs: (name: string) => number = () => 0,
  ): void {
    const seen = new Map<string, Seen>();
    for (const [name, value] of values) {
      const before = this.#seen.get(name);
      const isSame = before?.value === value;
      const fresh = { value, sinceMs: nowMs - ageMs(name), hasChanged: before !== undefined };
      seen.set(name, isSame ? before : fresh);
    }
    this.#seen = seen;
  }

  /** The last recorded value; null: none. */
  valueOf(name: string): string | null {
    return this.#seen.get(name)?.value ?? null;
  }

  /** For how many milliseconds the value has not changed; 0: there is none. */
  forMs(name: string, nowMs: number): number {
    return nowMs - (this.#seen.get(name)?.sinceMs ?? nowMs);
  }

  hasChanged(name: string): boolean {
    return this.#seen.get(name)?.hasChanged ?? false;
  }

  /** The names whose values have not changed for `forMs`, and since when. */
  since(forMs: number, nowMs: number): ReadonlyMap<string, number> {
    const unchanged = [...this.#seen].filter(([, { sinceMs }]) => nowMs - sinceMs >= forMs);
    return new Map(unchanged.map(([name, { sinceMs }]) => [name, sinceMs]));
  }

  /** Counts all values as changed just now: while Redis was unavailable, none could be written or read. */
  renew(nowMs: number): void {
    this.#seen = new Map(
      Array.from(this.#seen, ([name, seen]) => [name, { ...seen, sinceMs: nowMs }]),
    );
  }
}
