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

  /** Throttled by event, as is `stale`: the error concerns all keys. */
  unreadable(refusal: string): void {
    this.#seldom.log('unreadable', () =>
      this.#log.warn(
        { event: 'value_unreadable', error: refusal },
        'no permission to read values that routes include; sending webhooks without them. Run expiry-relay doctor ' +
          'to list the missing permissions',
      ),
    );
  }

  stale(error: string): void {
    this.#seldom.log('stale', () =>
      this.#log.warn(
        { event: 'value_stale', error },
        'cannot read values; sending values that were read earlier, or none. Check the connection to Redis',
      ),
    );
  }

  omitted(route: string, reason: ValueOmission): void {
    this.#metrics.valuesOmitted.inc({ route, reason });
  }
}
