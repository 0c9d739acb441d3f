/**
 * What this process has seen not to change, and for how long by its own monotonic clock. Whether another
 * process runs is decided by that, and never by a time that somebody wrote: clocks are set.
 */
import type { Clock } from '../clock.js';

interface Observation {
  readonly value: string;
  readonly sinceMs: number;
  /** Whether it was seen to change: what never did may have been left by a process that is gone. */
  readonly hasChanged: boolean;
}

export class Observations {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #seen = new Map<string, Observation>();

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  /** `ageMs`: for how long it is known to have had this value, at least, if it is new to this process. */
  note(name: string, value: string, ageMs = 0): void {
    const before = this.#seen.get(name);
    if (before?.value === value) return;
    const sinceMs = this.#clock.monotonicMs() - ageMs;
    this.#seen.set(name, { value, sinceMs, hasChanged: before !== undefined });
  }

  /** For how many milliseconds it has not changed; 0 for what was never seen. */
  unchangedForMs(name: string): number {
    const seen = this.#seen.get(name);
    return seen === undefined ? 0 : this.#clock.monotonicMs() - seen.sinceMs;
  }

  hasChanged(name: string): boolean {
    return this.#seen.get(name)?.hasChanged ?? false;
  }

  /** Forgets all but these. */
  keepOnly(names: ReadonlySet<string>): void {
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
  }

  /** Nothing could be seen for a while, so nothing is known not to have changed. */
  clear(): void {
    this.#seen.clear();
  }
}
