/** What happens between the relay and Redis. */
import type { Logger } from 'pino';
import type { Metrics } from '../metrics.js';

export class SourceEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;

  constructor(log: Logger, metrics: Metrics) {
    this.#log = log;
    this.#metrics = metrics;
  }

  redisWaiting(address: string, error: Error, retryInMs: number): void {
    this.#log.warn(
      { event: 'redis_waiting', redis: address, error: error.message, retry_in_ms: retryInMs },
      'waiting for Redis',
    );
  }

  notificationsChanged(address: string, before: string, after: string): void {
    this.#log.warn(
      { event: 'notifications_changed', redis: address, before, after },
      'changed notify-keyspace-events on the server (redis.notifications: manage)',
    );
  }

  notificationsPartial(address: string, setting: string, wanted: string): void {
    this.#log.warn(
      { event: 'notifications_partial', redis: address, setting, wanted },
      'the server publishes expirations, but not what else becomes of keys: deadlines are found by ' +
        'sweeps alone, so that a key whose life is shorter than a sweep expires when Redis comes by',
    );
  }

  notificationsUnreadable(address: string, error: Error): void {
    this.#log.info(
      { event: 'notifications_unreadable', redis: address, error: error.message },
      'notify-keyspace-events may not be read; the canary shows whether notifications flow',
    );
  }

  /** `primaries` is how many share the keys; null when the server does not say. */
  clusterPart(address: string, primaries: number | null): void {
    this.#log.warn(
      { event: 'cluster_part', redis: address, primaries },
      'this Redis is a node of a Redis Cluster: only keys whose slots are on it cause webhooks. Run ' +
        'one relay for each primary, each with a state.prefix whose slot is there (redis-cli ' +
        "CLUSTER KEYSLOT '{prefix}' tells it)",
    );
  }

  timeForbidden(address: string, error: Error): void {
    this.#log.warn(
      { event: 'time_forbidden', redis: address, error: error.message },
      "the server's time may not be asked: deadlines are taken to be by this machine's clock",
    );
  }

  /** `stepMs` is how far it was set ahead; negative: back. */
  clockSet(stepMs: number): void {
    this.#log.warn(
      { event: 'redis_clock_set', step_ms: stepMs },
      'the clock of Redis was set, or this machine was suspended. Redis expires keys by the new time, and ' +
        "the relay follows it. Check the time synchronization of Redis's machine",
    );
  }

  noticesForbidden(address: string, error: Error): void {
    this.#log.warn(
      { event: 'notices_forbidden', redis: address, error: error.message },
      'only expirations may be heard: deadlines are found by sweeps alone, so that a key whose life ' +
        'is shorter than a sweep expires when Redis comes by',
    );
  }

  canaryHeard(lagMs: number): void {
    this.#metrics.canaryLag.set(lagMs / 1000);
    this.#log.trace({ event: 'canary_heard', lag_ms: lagMs }, 'canary heard');
  }

  canaryOvertaken(database: number): void {
    this.#log.trace(
      { event: 'canary_overtaken', database },
      'the canary was not heard in time, but another key was: notifications flow',
    );
  }

  canaryRemoved(address: string, reason: string): void {
    this.#log.warn(
      { event: 'canary_removed', redis: address, error: reason },
      'the canary key does not live long enough, so nothing proves that notifications flow',
    );
  }

  canaryRecovered(address: string): void {
    this.#log.info(
      { event: 'canary_recovered', redis: address },
      'the canary proves again that notifications flow',
    );
  }

  canaryUnwritable(address: string, reason: string): void {
    this.#log.warn(
      { event: 'canary_unwritable', redis: address, error: reason },
      'the canary key cannot be written, so nothing proves that notifications flow',
    );
  }

  /** `gapMs` is how long the relay did not listen; null the first time. */
  listening(address: string, databases: readonly number[], gapMs: number | null): void {
    const gap = gapMs === null ? {} : { gap_ms: Math.round(gapMs) };
    const line = { event: 'listening', redis: address, databases, ...gap };
    this.#log.info(line, 'listening to expirations');
  }

  gapBegan(address: string, error: Error): void {
    this.#metrics.gaps.inc();
    this.#log.warn(
      { event: 'gap_began', redis: address, error: error.message },
      'a gap: expirations may be missed until the relay listens again',
    );
  }
}
