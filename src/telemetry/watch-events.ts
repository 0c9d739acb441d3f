/** Events of the lease holder and of configurations. */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.js';
import type { Standing } from '../state/lease.js';
import { LogThrottle } from './log-throttle.js';
import type { Metrics } from './metrics.js';

export class WatchEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #seldom: LogThrottle;
  /** The standing that was logged last. */
  #standing: Standing['kind'] = 'current';

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#seldom = new LogThrottle(clock);
  }

  /** Whether this replica captures. */
  watching(isWatching: boolean): void {
    this.#metrics.watching.set(isWatching ? 1 : 0);
    if (isWatching) {
      this.#log.info({ event: 'watching' }, 'acquired the lease; capturing expirations');
    } else {
      const text = 'this replica no longer holds the lease; it captures no expirations';
      this.#log.info({ event: 'watching_ended' }, text);
    }
  }

  /** Logs a change of this configuration's standing among the running ones. */
  configurations(prefix: string, { kind }: Standing, configurations: number): void {
    this.#metrics.configurations.set(configurations);
    this.#metrics.superseded.set(kind === 'superseded' ? 1 : 0);
    if (kind === this.#standing) return;
    const before = this.#standing;
    this.#standing = kind;
    const unique =
      'Ignore this during a rolling update; otherwise give each configuration its own state.prefix';
    switch (kind) {
      case 'superseded':
        return this.#log.error(
          { event: 'configuration_superseded', prefix, configurations },
          `superseded by a newer configuration with state.prefix "${prefix}"; this replica captures no ` +
            `expirations. ${unique}`,
        );
      case 'leading':
        return this.#log.warn(
          { event: 'configuration_leading', prefix, configurations },
          `replicas with an older configuration share state.prefix "${prefix}"; they capture no ` +
            `expirations. ${unique}`,
        );
      case 'succeeding':
        return this.#log.info(
          { event: 'configuration_succeeding', prefix, configurations },
          `taking over the lease from replicas with an older configuration and state.prefix "${prefix}"`,
        );
      case 'current':
        if (before === 'succeeding') return;
        return this.#log.info(
          { event: 'configuration_current', prefix, configurations },
          `all replicas with state.prefix "${prefix}" have the same configuration again`,
        );
    }
  }

  leaseHandedOver(): void {
    this.#log.info(
      { event: 'lease_handed_over' },
      'handing over the lease to a replica with a newer configuration, or without a gap',
    );
  }

  /** Logged once; the check `server` shows the reason while it lasts. */
  serverMismatched(reason: string): void {
    this.#log.error({ event: 'server_mismatch', reason }, `not capturing expirations: ${reason}`);
  }

  serverVerified(): void {
    const line = { event: 'server_verified' };
    this.#log.info(line, 'the state belongs to the watched server');
  }

  nudged(count: number): void {
    this.#metrics.nudges.inc(count);
  }

  databaseEmptied(database: number, deadlines: number): void {
    this.#metrics.databasesEmptied.inc();
    this.#metrics.deadlinesDiscarded.inc(deadlines);
    this.#log.error(
      { event: 'database_emptied', database, deadlines },
      'the database was emptied (FLUSHDB, FLUSHALL, or a restart without its data); no webhooks are sent for ' +
        'its former keys',
    );
  }

  swept(keys: number, tookMs: number): void {
    this.#metrics.sweptKeys.set(keys);
    this.#metrics.sweepDuration.set(tookMs / 1000);
    this.#log.debug(
      { event: 'swept', keys, duration_ms: Math.round(tookMs) },
      'read the deadlines of all keys',
    );
  }

  /** Called each time that the operation failed, every second. */
  watchFailed(error: string): void {
    const text = 'cannot read or write deadlines; retrying';
    this.#seldom.log(error, () => this.#log.warn({ event: 'watch_failed', error }, text));
  }
}
