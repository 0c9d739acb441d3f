/**
 * For how long a value has been the same, by this replica's monotonic clock. Times that others have
 * written are by clocks that somebody may set; that they do not change any more is certain.
 */
interface Seen {
  readonly value: string;
  readonly sinceMs: number;
}

export class Unchanged {
  #seen: ReadonlyMap<string, Seen> = new Map();

  /** Takes note of all values that there are, by name. */
  note(values: ReadonlyMap<string, string>, nowMs: number): void {
    const seen = new Map<string, Seen>();
    for (const [name, value] of values) {
      const before = this.#seen.get(name);
      seen.set(name, before?.value === value ? before : { value, sinceMs: nowMs });
    }
    this.#seen = seen;
  }

  /** The value that was noted last; null where there was none. */
  valueOf(name: string): string | null {
    return this.#seen.get(name)?.value ?? null;
  }

  /** The names whose values have been the same for `forMs`, and since when. */
  since(forMs: number, nowMs: number): ReadonlyMap<string, number> {
    const unchanged = [...this.#seen].filter(([, { sinceMs }]) => nowMs - sinceMs >= forMs);
    return new Map(unchanged.map(([name, { sinceMs }]) => [name, sinceMs]));
  }

  /** As if all values had changed just now: nobody could write any. */
  renew(nowMs: number): void {
    this.#seen = new Map(
      Array.from(this.#seen, ([name, { value }]) => [name, { value, sinceMs: nowMs }]),
    );
  }
}

/** From member, score, member, score… of a sorted set. */
export function scoresOf(words: readonly string[]): ReadonlyMap<string, string> {
  const scores = new Map<string, string>();
  for (let at = 0; at + 1 < words.length; at += 2) {
    scores.set(String(words[at]), String(words[at + 1]));
  }
  return scores;
}
