/** What the replica that captures does. */
import type { Logger } from 'pino';
import type { Clock } from '../clock.js';
import type { Metrics } from '../metrics.js';
import { Seldom } from './seldom.js';

export class WatchEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #seldom: Seldom;

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#seldom = new Seldom(clock);
  }

  /** Whether this replica is the one that captures. */
  watching(isWatching: boolean): void {
    this.#metrics.watching.set(isWatching ? 1 : 0);
    const line = { event: isWatching ? 'watching' : 'watch_ended' };
    this.#log.info(line, isWatching ? 'this replica captures' : 'this replica captures no longer');
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

  /** It is tried again every second. */
  watchFailed(error: string): void {
    const text = 'deadlines could not be read or written; trying again';
    this.#seldom.say(error, () => this.#log.warn({ event: 'watch_failed', error }, text));
  }
}
