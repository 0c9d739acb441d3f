/** The depth of the outbox per endpoint, as Prometheus gauges. */
import { Gauge, type Registry } from 'prom-client';
import type { Depth } from '../outbox/outbox.js';

/** Endpoints queried at a time: deliveries continue between the batches. */
const DEPTHS_AT_ONCE = 50;

const ABSENT = 'Absent while the state cannot be read.';

export class OutboxGauges {
  readonly #endpoints: () => readonly string[];
  readonly #pending: Gauge;
  readonly #oldest: Gauge;
  readonly #dead: Gauge;
  readonly #throttled: Gauge;
  readonly #paused: Gauge;

  constructor(registry: Registry, prefix: string, endpoints: () => readonly string[]) {
    this.#endpoints = endpoints;
    const gauge = (name: string, help: string) =>
      new Gauge({ name: prefix + name, help, labelNames: ['endpoint'], registers: [registry] });
    this.#pending = gauge('outbox_pending', `Current number of pending deliveries. ${ABSENT}`);
    this.#oldest = gauge(
      'outbox_oldest_seconds',
      `Age of the oldest due delivery in seconds. ${ABSENT}`,
    );
    this.#dead = gauge('dead_letters', `Current number of dead letters. ${ABSENT}`);
    this.#throttled = gauge(
      'endpoint_throttled_seconds',
      'Remaining time in seconds for which the endpoint is throttled (Retry-After), or 0. The same ' +
        `on every replica. ${ABSENT}`,
    );
    this.#paused = gauge(
      'endpoint_paused',
      `Whether an operator has paused the endpoint (1) or not (0). The same on every replica. ${ABSENT}`,
    );
  }

  async read(depthOf: (endpoint: string) => Promise<Depth>): Promise<void> {
    // A missing value is better than an outdated one; the other metrics are still exported.
    for (const each of [
      ...[this.#pending, this.#oldest, this.#dead],
      ...[this.#throttled, this.#paused],
    ]) {
      each.reset();
    }
    const endpoints = this.#endpoints();
    for (let from = 0; from < endpoints.length; from += DEPTHS_AT_ONCE) {
      const some = endpoints.slice(from, from + DEPTHS_AT_ONCE);
      await Promise.all(some.map((endpoint) => this.#set(endpoint, depthOf)));
    }
  }

  async #set(endpoint: string, depthOf: (endpoint: string) => Promise<Depth>): Promise<void> {
    const depth = await depthOf(endpoint).catch(() => null);
    if (depth === null) return;
    this.#pending.set({ endpoint }, depth.pending);
    this.#oldest.set({ endpoint }, (depth.oldestDueForMs ?? 0) / 1000);
    this.#dead.set({ endpoint }, depth.deadLetters);
    this.#throttled.set({ endpoint }, depth.throttledForMs / 1000);
    this.#paused.set({ endpoint }, depth.paused === null ? 0 : 1);
  }
}
