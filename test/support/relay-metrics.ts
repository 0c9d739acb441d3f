/** The metrics of a relay as they are now: it shares a rendering for a second or longer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { SHARED_MS_MIN } from '../../src/admin/shared-text.js';
import { eventually } from './eventually.js';
import type { LogLine } from './relay-process.js';

export class RelayMetrics {
  readonly #get: () => Promise<string>;
  #last = '';
  /** When the last known rendering was requested: it began no sooner. */
  #askedAtMs = Number.NEGATIVE_INFINITY;

  /** No other client may read the metrics of this relay. */
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
    return series.map((name) => valueIn(text, name));
  }
}

/** The value of a series in a rendering; without labels, the sum over all of them. NaN: there is none. Pure. */
export function valueIn(text: string, series: string): number {
  const isOf = (line: string) => line.startsWith(`${series} `) || line.startsWith(`${series}{`);
  const values = text
    .split('\n')
    .filter(isOf)
    .map((line) => Number(line.slice(line.lastIndexOf(' '))));
  return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0);
}

/** Metrics and logs of a relay, in this process or a separate one. */
export abstract class ObservedRelay {
  readonly #metrics = new RelayMetrics(async () => (await this.get('/metrics')).text);

  /** A response of the admin port. */
  abstract get(path: string): Promise<{ status: number; text: string }>;

  /** The lines of the log, or those of one event. */
  abstract logs(event?: string): LogLine[];

  /** The value of one series, such as `expiry_relay_attempts_total{endpoint="shop",outcome="accepted"}`. */
  async metric(series: string): Promise<number> {
    const [value = Number.NaN] = await this.metrics(series);
    return value;
  }

  /** The values of several series at the same time: a rendering is shared for a second. */
  metrics(...series: readonly string[]): Promise<number[]> {
    return this.#metrics.values(...series);
  }

  /** Whether it is the replica that captures, by its log. */
  get watches(): boolean {
    const last = this.logs().findLast(({ event }) => /^watching(_ended)?$/.test(event));
    return last?.event === 'watching';
  }
}
