/** Events of the watched Redis. */
import type { Logger } from 'pino';
import type { Voter } from '../redis/sentinels/vote.js';
import type { ServerFinding } from '../server/finding.js';
import { judgeSentinels } from '../server/judge-sentinels.js';
import { lengthText } from '../server/wording.js';
import { FindingLog } from './finding-log.js';
import type { Metrics } from './metrics.js';

export class SourceEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #findings: FindingLog;
  /** By the setting of the sentinels: two primaries may have the same name. */
  readonly #sentinels = new Map<string, FindingLog>();

  constructor(log: Logger, metrics: Metrics) {
    this.#log = log;
    this.#metrics = metrics;
    this.#findings = new FindingLog(log);
  }

  /** Logs all findings about the server; a finding that stands is not repeated. */
  server(address: string, findings: readonly ServerFinding[]): void {
    this.#findings.log(address, findings);
  }

  /** The condition of the sentinels of a primary; one that stands is not repeated. `setting`: of the sentinels. */
  sentinels(setting: string, master: string, voters: readonly Voter[]): void {
    const log = this.#sentinels.get(setting) ?? new FindingLog(this.#log);
    this.#sentinels.set(setting, log);
    log.log(`the primary of ${master}`, [judgeSentinels(voters, master, setting)]);
  }

  /** `from` and `to` are addresses. */
  primaryMoved(master: string, from: string, to: string): void {
    this.#log.warn(
      { event: 'primary_moved', master, from, to },
      'the sentinels name another primary; reconnecting',
    );
  }

  /** `primaries`: how many of them have slots. */
  topologyChanged(primaries: number): void {
    this.#log.info(
      { event: 'topology_changed', primaries },
      'the primaries of the cluster, or their slots, have changed',
    );
  }

  redisUnavailable(address: string, error: Error, retryInMs: number): void {
    this.#log.warn(
      { event: 'redis_unavailable', redis: address, error: error.message, retry_in_ms: retryInMs },
      `Redis unavailable; retrying in ${lengthText(retryInMs)}`,
    );
  }

  credentialsUnusable(reason: string): void {
    this.#log.warn(
      { event: 'redis_credentials_unusable', reason },
      'cannot reload the password or certificate for Redis; using the previous one. Fix the file',
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
      'the server publishes only expirations; the relay finds deadlines by sweeps. Webhooks of short-lived ' +
        'keys may be late, and deleted keys may be reported as expired (detected_by: recovery). Set ' +
        `notify-keyspace-events to "${wanted}"`,
    );
  }

  /** A replica would not publish expirations as a primary. */
  replicaNotificationsOff(address: string, error: Error): void {
    this.#log.warn(
      { event: 'replica_notifications_off', redis: address, error: error.message },
      'a replica would publish no expirations as a primary: after a failover, the relay would not be ready',
    );
  }

  notificationsUnreadable(address: string, error: Error): void {
    this.#log.info(
      { event: 'notifications_unreadable', redis: address, error: error.message },
      'cannot read notify-keyspace-events; verifying notifications by the canary alone',
    );
  }

  /** A connection other than the subscriber ended and was reopened. */
  reopened(address: string, connection: string, error: Error): void {
    this.#log.info(
      { event: 'connection_reopened', redis: address, connection, error: error.message },
      'reopened a connection that only reads keys; no notification was missed',
    );
  }

  /** `stepMs` is how far the clock was set ahead; negative: back. */
  clockSet(stepMs: number): void {
    this.#log.warn(
      { event: 'redis_clock_set', step_ms: stepMs },
      'the clock of Redis was set, or this machine was suspended; the relay follows the new time, as Redis ' +
        'does. Check time synchronization on the Redis host',
    );
  }

  keyChangesForbidden(address: string, error: Error): void {
    this.#log.warn(
      { event: 'key_changes_forbidden', redis: address, error: error.message },
      'no permission to subscribe to changes of keys; the relay finds deadlines by sweeps, and webhooks of ' +
        'short-lived keys may be late. Run expiry-relay doctor to list the missing permissions',
    );
  }

  marksForbidden(address: string, error: Error): void {
    this.#log.warn(
      { event: 'marks_forbidden', redis: address, error: error.message },
      'no permission to publish or receive marks; after a takeover, the webhooks of the last 20 s may be ' +
        'sent again. Run expiry-relay doctor to list the missing permissions',
    );
  }

  canaryReceived(lagMs: number): void {
    this.#metrics.canaryLag.set(lagMs / 1000);
    this.#log.trace({ event: 'canary_received', lag_ms: lagMs }, 'canary received');
  }

  canaryOvertaken(database: number): void {
    this.#log.trace(
      { event: 'canary_overtaken', database },
      'canary late, but another expiration was received; notifications work',
    );
  }

  canaryRemoved(address: string, reason: string): void {
    this.#log.warn(
      { event: 'canary_removed', redis: address, reason },
      'canary key removed before its deadline; notifications are not verified. Check maxmemory-policy, and find ' +
        'clients that flush the database',
    );
  }

  canaryEvicted(address: string, reason: string): void {
    this.#log.warn(
      { event: 'canary_evicted', redis: address, reason },
      'canary key evicted or deleted before its deadline; notifications work, but evicted keys send no ' +
        'webhook. Give Redis more memory, or set maxmemory-policy to noeviction',
    );
  }

  canaryRecovered(address: string): void {
    this.#log.info(
      { event: 'canary_recovered', redis: address },
      'canary received again; notifications are verified',
    );
  }

  canaryUnwritable(address: string, error: string): void {
    this.#log.warn(
      { event: 'canary_unwritable', redis: address, error },
      'cannot write the canary key; notifications are not verified. Run expiry-relay doctor to list the missing ' +
        'permissions',
    );
  }

  /** `gapMs` is the length of the gap before; null: the first subscription. */
  listening(address: string, databases: readonly number[], gapMs: number | null): void {
    const gap = gapMs === null ? {} : { gap_ms: Math.round(gapMs) };
    const line = { event: 'listening', redis: address, databases, ...gap };
    // The time series exists before the first gap.
    this.#metrics.gaps.inc({ redis: address }, 0);
    this.#log.info(line, 'listening for expirations');
  }

  subscriptionLost(address: string, error: Error): void {
    this.#metrics.gaps.inc({ redis: address });
    this.#log.warn(
      { event: 'subscription_lost', redis: address, error: error.message },
      'disconnected from Redis; expirations may be missed until the relay listens again',
    );
  }
}
