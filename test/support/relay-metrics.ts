/** The metrics of a relay as they are now: it shares a rendering for a second or longer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { SHARED_MS_MIN } from '../../src/admin/shared-text.js';
import { eventually } from './eventually.js';

export class RelayMetrics {
  readonly #get: () => Promise<string>;
  #last = '';
  /** When the last rendering that is known was asked for: it began no sooner. */
  #askedAtMs = Number.NEGATIVE_INFINITY;

  /** Nobody else may ask this relay for its metrics. */
  constructor(get: () => Promise<string>) {
    this.#get = get;
  }

  /** The values of these series, such as `expiry_relay_tracked_deadlines`, in one rendering. */
  async values(...series: readonly string[]): Promise<number[]> {
    const before = this.#last;
    // Two renderings never are the same: both hold the processor time that was used by then.
    await sleep(Math.max(0, this.#askedAtMs + SHARED_MS_MIN - performance.now()));
    const text = await eventually('a new rendering', async () => {
      const askedAtMs = performance.now();
      const found = await this.#get();
      if (found === before) return '';
      this.#askedAtMs = askedAtMs;
      return found;
    });
    this.#last = text;
    const lines = text.split('\n');
    return series.map((name) => {
      const line = lines.find((candidate) => candidate.startsWith(`${name} `));
      return line === undefined ? Number.NaN : Number(line.slice(name.length));
    });
  }
}
