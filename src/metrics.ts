/** The Prometheus metrics. Labels come from the file, never from keys, and every series starts at 0. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Depth } from './outbox/outbox.js';
import type { DetectedBy, Outcome, Settings } from './vocabulary.js';

const PREFIX = 'expiry_relay_';

const DETECTED_BY: Readonly<Record<DetectedBy, true>> = { notification: true, recovery: true };
const OUTCOMES: Readonly<Record<Outcome['kind'], true>> = {
  accepted: true,
  refused: true,
  unreachable: true,
};

/** From a receiver on the same machine to the longest usual timeout. */
const DURATION_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15];

/** What the metrics ask of the outbox when they are scraped. */
export interface OutboxGauges {
  depth(endpoint: string): Promise<Depth>;
  deadLetterCount(endpoint: string): Promise<number>;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #endpoints: readonly string[];

  readonly expirations = new Counter({
    name: `${PREFIX}expirations_total`,
    help: 'Expirations that a route matched.',
    labelNames: ['route', 'detected_by'],
    registers: [this.#registry],
  });
  readonly expirationsRefused = new Counter({
    name: `${PREFIX}expirations_refused_total`,
    help: 'Expirations of keys too long to be sent.',
    registers: [this.#registry],
  });
  readonly expirationsDropped = new Counter({
    name: `${PREFIX}expirations_dropped_total`,
    help: 'Expirations that came faster than they could be taken, and are lost.',
    registers: [this.#registry],
  });
  readonly logLinesDropped = new Counter({
    name: `${PREFIX}log_lines_dropped_total`,
    help: 'Log lines that nobody read in time, and are lost.',
    registers: [this.#registry],
  });
  readonly attempts = new Counter({
    name: `${PREFIX}attempts_total`,
    help: 'Attempts to deliver, by what came of them.',
    labelNames: ['endpoint', 'outcome'],
    registers: [this.#registry],
  });
  readonly attemptDuration = new Histogram({
    name: `${PREFIX}attempt_duration_seconds`,
    help: 'How long an attempt took, from connecting to the end of the answer.',
    labelNames: ['endpoint'],
    buckets: DURATION_BUCKETS_S,
    registers: [this.#registry],
  });
  readonly deliveriesDropped = new Counter({
    name: `${PREFIX}deliveries_dropped_total`,
    help: 'Deliveries that found no room in the outbox in memory, and are lost.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly gaps = new Counter({
    name: `${PREFIX}gaps_total`,
    help: 'Times in which nobody listened to Redis after the first connection.',
    registers: [this.#registry],
  });
  readonly canaryLag = new Gauge({
    name: `${PREFIX}canary_lag_seconds`,
    help: "From the last canary key's deadline to hearing that it expired.",
    registers: [this.#registry],
  });

  constructor(settings: Pick<Settings, 'endpoints' | 'routes'>) {
    this.#endpoints = [...settings.endpoints.keys()];
    for (const { name: route } of settings.routes) {
      for (const detected_by of Object.keys(DETECTED_BY)) {
        this.expirations.inc({ route, detected_by }, 0);
      }
    }
    for (const endpoint of this.#endpoints) {
      for (const outcome of Object.keys(OUTCOMES)) this.attempts.inc({ endpoint, outcome }, 0);
      this.attemptDuration.zero({ endpoint });
      this.deliveriesDropped.inc({ endpoint }, 0);
    }
  }

  /** The process's own: memory, CPU, event loop. They hold a timer, so only `run` asks for them. */
  watchProcess(): void {
    collectDefaultMetrics({ register: this.#registry, prefix: PREFIX });
  }

  /** The gauges that are read from the outbox at each scrape; `nowMs` gives the time of it. */
  watchOutbox(outbox: OutboxGauges, nowMs: () => number): void {
    this.#gaugePerEndpoint('outbox_pending', 'Deliveries neither done nor dead.', async (name) => {
      return (await outbox.depth(name)).pending;
    });
    this.#gaugePerEndpoint(
      'outbox_oldest_seconds',
      'How long the oldest delivery that is due has been waiting for an attempt.',
      async (name) => {
        const { oldestDueAtMs } = await outbox.depth(name);
        return oldestDueAtMs === null ? 0 : Math.max(0, nowMs() - oldestDueAtMs) / 1000;
      },
    );
    this.#gaugePerEndpoint('dead_letters', 'Dead letters that are kept.', (name) =>
      outbox.deadLetterCount(name),
    );
  }

  /** Prometheus' text format. */
  async text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  #gaugePerEndpoint(name: string, help: string, read: (endpoint: string) => Promise<number>): void {
    const endpoints = this.#endpoints;
    new Gauge({
      name: PREFIX + name,
      help,
      labelNames: ['endpoint'],
      registers: [this.#registry],
      async collect() {
        try {
          for (const endpoint of endpoints) this.set({ endpoint }, await read(endpoint));
        } catch {
          // No figure is better than an old one; the other metrics are still worth having.
          this.reset();
        }
      },
    });
  }
}
