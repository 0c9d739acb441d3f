/** Polls the quarantine and reports new records, whether moved by this replica, another one, or a script. */
import type { Clock } from '../lib/clock.js';
import { PeriodicLoop } from '../lib/periodic-loop.js';
import type { QuarantinedEntry } from './quarantine.js';
import type { RedisState } from './redis-state.js';

const LOOK_EVERY_MS = 5_000;

/** Records reported by name per poll; the others are only counted. */
export const NAMED_MAX = 10;

export interface QuarantineEvents {
  /** `entries` records are kept, of `recorded` in total. */
  quarantineDepth(entries: number, recorded: number): void;
  quarantined(entry: QuarantinedEntry): void;
  /** The number of new records that were not reported by name. */
  moreQuarantined(count: number): void;
}

export interface QuarantineWatchParts {
  readonly state: RedisState;
  readonly clock: Clock;
  readonly events: QuarantineEvents;
}

export class QuarantineWatch {
  readonly #parts: QuarantineWatchParts;
  readonly #loop: PeriodicLoop;
  #entries = 0;
  #last: QuarantinedEntry | null = null;

  constructor(parts: QuarantineWatchParts) {
    this.#parts = parts;
    this.#loop = new PeriodicLoop(parts.clock, async () => {
      await parts.state.pass('quarantine', () => this.runOnce());
      return LOOK_EVERY_MS;
    });
  }

  /** The number of records at the last poll. */
  get entries(): number {
    return this.#entries;
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  /** One look; rejects when the state cannot be used. */
  async runOnce(): Promise<void> {
    const { state, events } = this.#parts;
    const { quarantine } = state;
    const { entries, last } = await state.run('maintenance', () => quarantine.depth());
    const before = this.#last;
    this.#entries = entries;
    this.#last = last;
    events.quarantineDepth(entries, last?.number ?? 0);
    if (last === null || last.id === before?.id) return;
    const latest = await state.run('maintenance', () => quarantine.latest(NAMED_MAX));
    const isNew = (entry: QuarantinedEntry) => before === null || entry.number > before.number;
    // The numbers restart once all records were dropped.
    const found = before !== null && last.number < before.number ? latest : latest.filter(isNew);
    for (const entry of found) events.quarantined(entry);
    const since = before === null ? entries : last.number - before.number;
    if (since > found.length) events.moreQuarantined(since - found.length);
  }
}
