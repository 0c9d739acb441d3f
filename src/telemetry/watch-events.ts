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
    const line = { event: isWatching ? 'watching' : 'watch_ended' };
    this.#log.info(line, isWatching ? 'this replica captures' : 'this replica no longer captures');
  }

  /** Logs a change of this configuration's standing among the running ones. */
  configurations(prefix: string, { kind }: Standing, configurations: number): void {
    this.#metrics.configurations.set(configurations);
    this.#metrics.superseded.set(kind === 'superseded' ? 1 : 0);
    if (kind === this.#standing) return;
    const before = this.#standing;
    this.#standing = kind;
    const line = { event: `configuration_${kind}`, prefix, configurations };
    const unique =
      'Nothing to do during a rolling update; otherwise give each configuration a state.prefix of its own';
    switch (kind) {
      case 'superseded':
        return this.#log.error(
          line,
          `superseded: a newer configuration that shares state.prefix "${prefix}" has taken over. ` +
            `This replica captures no expirations. ${unique}`,
        );
      case 'leading':
        return this.#log.warn(
          line,
          `replicas with an older configuration share state.prefix "${prefix}" and capture no ` +
            `expirations. ${unique}`,
        );
      case 'succeeding':
        return this.#log.info(
          line,
          `taking over from replicas with an older configuration that share state.prefix "${prefix}"`,
        );
      case 'current':
        if (before === 'succeeding') return;
        return this.#log.info(line, `one configuration uses state.prefix "${prefix}" again`);
    }
  }

  handedOver(): void {
    this.#log.info({ event: 'handed_over' }, 'handing the lease to a newer configuration');
  }

  /** Logged once; the check `server` shows the problem while it lasts. */
  serverRefused(problem: string): void {
    this.#log.error({ event: 'server_refused', problem }, `not watching: ${problem}`);
  }

  serverVerified(): void {
    const line = { event: 'server_verified' };
    this.#log.info(line, 'the watched server is the one whose deadlines the state holds');
  }

  nudged(count: number): void {
    this.#metrics.nudges.inc(count);
  }

  databaseEmptied(database: number, forgotten: number): void {
    this.#metrics.databasesEmptied.inc();
    this.#metrics.deadlinesForgotten.inc(forgotten);
    this.#log.error(
      { event: 'database_emptied', database, forgotten },
      'the database was emptied (FLUSHDB, FLUSHALL, a restart without its data): no webhook for ' +
        'the keys that were in it',
    );
  }

  swept(keys: number, tookMs: number): void {
    this.#metrics.sweptKeys.set(keys);
    this.#metrics.sweepDuration.set(tookMs / 1000);
    this.#log.debug(
      { event: 'swept', keys, took_ms: Math.round(tookMs) },
      'the deadlines of all keys were read',
    );
  }

  /** Called each time that the operation failed, every second. */
  watchFailed(error: string): void {
    const text = 'deadlines could not be read or written; trying again';
    this.#seldom.log(error, () => this.#log.warn({ event: 'watch_failed', error }, text));
  }
}
