/** Events of the values that webhooks carry. */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.js';
import type { ValueOmission } from '../model/key-value.js';
import { LogThrottle } from './log-throttle.js';
import type { Metrics } from './metrics.js';

export class ValueEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #seldom: LogThrottle;

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#seldom = new LogThrottle(clock);
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

  /** Throttled by event, since the error concerns all keys. */
  #say(event: string, error: string, text: string): void {
    this.#seldom.log(event, () => this.#log.warn({ event, error }, text));
  }
}
