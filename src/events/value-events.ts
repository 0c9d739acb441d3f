/** What becomes of the values that webhooks are to carry. */
import type { Logger } from 'pino';
import type { Clock } from '../clock.js';
import type { ValueOmission } from '../key-value.js';
import type { Metrics } from '../metrics.js';

/** A refusal is about every key alike: it is said once in a while. */
const SAY_EVERY_MS = 60_000;

export class ValueEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  readonly #saidAtMs = new Map<string, number>();

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#clock = clock;
  }

  unreadable(refusal: string): void {
    this.#say(
      'value_unreadable',
      refusal,
      'Redis does not let the relay read values that routes ask for: run expiry-relay doctor, which ' +
        'says what its user lacks',
    );
  }

  stale(error: string): void {
    this.#say('value_stale', error, 'values could not be read: those of an earlier time are sent');
  }

  omitted(route: string, why: ValueOmission): void {
    this.#metrics.valuesOmitted.inc({ route, why });
  }

  #say(event: string, error: string, text: string): void {
    const nowMs = this.#clock.monotonicMs();
    const lastMs = this.#saidAtMs.get(event) ?? Number.NEGATIVE_INFINITY;
    if (nowMs - lastMs < SAY_EVERY_MS) return;
    this.#saidAtMs.set(event, nowMs);
    this.#log.warn({ event, error }, text);
  }
}
