/** The metrics of a relay as they are now: it shares a rendering for a second or longer. */
import { eventually } from './eventually.js';

export class RelayMetrics {
  readonly #get: () => Promise<string>;
  #last = '';

  /** Nobody else may ask this relay for its metrics. */
  constructor(get: () => Promise<string>) {
    this.#get = get;
  }

  /** The values of these series, such as `expiry_relay_tracked_deadlines`, in one rendering. */
  async values(...series: readonly string[]): Promise<number[]> {
    const before = this.#last;
    // Two renderings never are the same: both hold the processor time that was used by then.
    const text = await eventually('a new rendering', async () => {
      const found = await this.#get();
      return found === before ? '' : found;
    });
    this.#last = text;
    const lines = text.split('\n');
    return series.map((name) => {
      const line = lines.find((candidate) => candidate.startsWith(`${name} `));
      return line === undefined ? Number.NaN : Number(line.slice(name.length));
    });
  }
}
