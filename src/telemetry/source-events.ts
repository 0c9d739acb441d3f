/** Events of the watched Redis. */
import type { Logger } from 'pino';
import type { ServerFinding } from '../server/finding.js';
import { FindingLog } from './finding-log.js';
import type { Metrics } from './metrics.js';

export class SourceEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #findings: FindingLog;

  constructor(log: Logger, metrics: Metrics) {
    this.#log = log;
    this.#metrics = metrics;
    this.#findings = new FindingLog(log);
  }

  /** Logs all findings about the server; a finding that stands is not repeated. */
  server(address: string, findings: readonly ServerFinding[]): void {
    this.#findings.log(address, findings);
  }

  redisWaiting(address: string, error: Error, retryInMs: number): void {
    this.#log.warn(
      { event: 'redis_waiting', redis: address, error: error.message, retry_in_ms: retryInMs },
      'waiting for Redis',
    );
  }

  credentialsUnusable(problem: string): void {
    this.#log.warn(
      { event: 'redis_credentials_unusable', problem },
      'cannot load the password or a certificate for Redis; using the last valid one',
    );
  }

  notificationsChanged(address: string, before: string, after: string): void {
    this.#log.warn(
      { event: 'notifications_changed', redis: address, before, after },
      'changed notify-keyspace-events on the server (redis.notifications: manage)',
    );
  }

  /** `setting` is null if the server does not show it. */
  notificationsPartial(address: string, setting: string | null, wanted: string): void {
    this.#log.warn(
      { event: 'notifications_partial', redis: address, setting, wanted },
      'the server publishes expirations, but no other changes of keys: the relay finds deadlines by ' +
        'sweeps alone. A key that lives shorter than a sweep may be late, and a deleted key may be ' +
        `delivered as expired (detected_by: recovery). Set notify-keyspace-events to "${wanted}"`,
    );
  }

  notificationsUnreadable(address: string, error: Error): void {
    this.#log.info(
      { event: 'notifications_unreadable', redis: address, error: error.message },
      'cannot read notify-keyspace-events; the canary checks whether notifications arrive',
    );
  }

  /** A connection other than the subscriber ended and was reopened. */
  reopened(address: string, connection: string, error: Error): void {
    this.#log.info(
      { event: 'connection_reopened', redis: address, connection, error: error.message },
      'a connection that only reads keys ended, and has been opened again; no notification was missed',
    );
  }

  /** `stepMs` is how far the clock was set ahead; negative: back. */
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

  marksForbidden(address: string, error: Error): void {
    this.#log.warn(
      { event: 'marks_forbidden', redis: address, error: error.message },
      'marks cannot be published or received: when another replica takes over, it may send the ' +
        'webhooks of the last 20 s again. `expiry-relay doctor` shows the missing permissions',
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

  canaryEvicted(address: string, reason: string): void {
    this.#log.warn(
      { event: 'canary_evicted', redis: address, error: reason },
      'the canary key was removed before its deadline, and the relay heard the removal: notifications ' +
        'arrive. Keys with a TTL that are evicted send no webhook: give Redis more memory, or set ' +
        'maxmemory-policy to noeviction',
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

  /** `gapMs` is the length of the gap before; null: the first subscription. */
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
