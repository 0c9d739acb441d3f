/**
 * One function per thing that happens: its log line and its counter stand together. No line holds
 * a secret, a body, or a key's raw text; `event` names the line for whoever filters it.
 */
import type { Logger } from 'pino';
import type { Clock } from './clock.js';
import { messageOf } from './errors.js';
import type { Metrics } from './metrics.js';
import type { Claimed } from './outbox/outbox.js';
import { printableBytes } from './printable.js';
import type {
  DeadLetter,
  Delivery,
  Disposition,
  Expiration,
  ListenAddress,
  Outcome,
  Settings,
} from './vocabulary.js';

/** While an outbox overflows, its line is repeated no more often than this. */
const OVERFLOW_LINE_EVERY_MS = 10_000;

/** What one attempt was, for its wide line. */
export interface AttemptReport {
  readonly claimed: Claimed;
  readonly outcome: Outcome;
  readonly disposition: Disposition;
  readonly durationMs: number;
  readonly endedAtMs: number;
}

interface Overflow {
  count: number;
  lineAtMs: number;
}

export class Events {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  readonly #overflows = new Map<string, Overflow>();

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#clock = clock;
  }

  started(version: string, file: string, settings: Settings, admin: ListenAddress): void {
    const { endpoints, routes } = settings;
    this.#log.info(
      {
        event: 'started',
        version,
        file,
        routes: routes.length,
        endpoints: endpoints.size,
        admin: `${admin.host}:${admin.port}`,
      },
      'expiry-relay started',
    );
    this.#log.warn(
      { event: 'state_in_memory' },
      'state is kept in memory: deliveries that wait are lost when this process ends, and ' +
        'expirations while it is away are not noticed',
    );
    for (const { name, secrets } of endpoints.values()) {
      if (secrets.length > 0) continue;
      this.#log.warn(
        { event: 'endpoint_unsigned', endpoint: name },
        'webhooks to this endpoint are not signed (secrets: none)',
      );
    }
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

  notificationsUnreadable(address: string, error: Error): void {
    this.#log.info(
      { event: 'notifications_unreadable', redis: address, error: error.message },
      'notify-keyspace-events may not be read; the canary shows whether notifications flow',
    );
  }

  canaryHeard(lagMs: number): void {
    this.#metrics.canaryLag.set(lagMs / 1000);
    this.#log.trace({ event: 'canary_heard', lag_ms: lagMs }, 'canary heard');
  }

  canaryUnwritable(address: string, reason: string): void {
    this.#log.warn(
      { event: 'canary_unwritable', redis: address, error: reason },
      'the canary key cannot be written, so nothing proves that notifications flow',
    );
  }

  listening(address: string, databases: readonly number[]): void {
    this.#log.info({ event: 'listening', redis: address, databases }, 'listening to expirations');
  }

  gapBegan(address: string, error: Error): void {
    this.#metrics.gaps.inc();
    this.#log.warn(
      { event: 'gap_began', redis: address, error: error.message },
      'lost Redis: expirations from now on are not heard',
    );
  }

  expired(expiration: Expiration, deliveries: readonly Delivery[]): void {
    const routes = new Set(deliveries.map(({ route }) => route));
    for (const route of routes) {
      this.#metrics.expirations.inc({ route, detected_by: expiration.detectedBy });
    }
    if (!this.#log.isLevelEnabled('debug')) return;
    this.#log.debug(
      {
        event: 'expired',
        database: expiration.database,
        key: printableBytes(expiration.key),
        detected_by: expiration.detectedBy,
        routes: [...routes],
      },
      deliveries.length === 0 ? 'a key expired that no route matches' : 'a key expired',
    );
  }

  expirationRefused(database: number, key: Uint8Array, keyBytesMax: number): void {
    this.#metrics.expirationsRefused.inc();
    this.#log.error(
      {
        event: 'expiration_refused',
        database,
        key: printableBytes(key.subarray(0, keyBytesMax)),
        key_bytes: key.length,
        key_bytes_max: keyBytesMax,
      },
      'a key expired that is too long to be sent: no webhook',
    );
  }

  /** The queue between the source and the outbox is full. */
  captureFull(dropped: readonly Delivery[]): void {
    for (const { endpoint } of dropped) this.#dropped(endpoint, 'capture');
  }

  /** The outbox in memory is full. */
  outboxFull(refused: readonly Delivery[]): void {
    for (const { endpoint } of refused) this.#dropped(endpoint, 'outbox');
  }

  enqueueFailed(error: unknown, deliveries: number, retryInMs: number): void {
    this.#log.error(
      { event: 'enqueue_failed', error: messageOf(error), deliveries, retry_in_ms: retryInMs },
      'the outbox could not be written; trying again',
    );
  }

  /** One wide line per attempt. */
  attempted(report: AttemptReport): void {
    const { claimed, outcome, disposition, durationMs, endedAtMs } = report;
    const { delivery } = claimed;
    const labels = { endpoint: delivery.endpoint };
    this.#metrics.attempts.inc({ ...labels, outcome: outcome.kind });
    this.#metrics.attemptDuration.observe(labels, durationMs / 1000);
    const line = {
      event: 'attempt',
      id: delivery.id,
      route: delivery.route,
      endpoint: delivery.endpoint,
      attempt: claimed.attempt,
      database: delivery.database,
      key: delivery.keyLabel,
      detected_by: delivery.detectedBy,
      outcome: outcome.kind,
      ...outcomeFields(outcome),
      disposition: disposition.kind,
      ...dispositionFields(disposition, endedAtMs),
      duration_ms: Math.round(durationMs * 10) / 10,
      age_ms: endedAtMs - (delivery.expiredAtMs ?? delivery.detectedAtMs),
      body_bytes: delivery.body.length,
    };
    switch (disposition.kind) {
      case 'done':
        return this.#log.info(line, 'delivered');
      case 'retry':
        return this.#log.warn(line, 'not delivered; will be tried again');
      case 'dead':
        return this.#log.error(line, 'not delivered; now a dead letter');
    }
  }

  /** A delivery to an endpoint that is gone: given up without an attempt. */
  deadUnattempted(delivery: Delivery): void {
    this.#log.error(
      {
        event: 'dead_unattempted',
        id: delivery.id,
        route: delivery.route,
        endpoint: delivery.endpoint,
        key: delivery.keyLabel,
        reason: 'gone',
      },
      'not sent, since the endpoint is gone; now a dead letter',
    );
  }

  endpointPaused(endpoint: string, pauseMs: number): void {
    this.#log.warn(
      { event: 'endpoint_paused', endpoint, pause_ms: pauseMs },
      'the endpoint asked to be left alone (Retry-After)',
    );
  }

  endpointGone(endpoint: string): void {
    this.#log.error(
      { event: 'endpoint_gone', endpoint },
      'the endpoint answered 410: it gets no more webhooks until the relay is restarted',
    );
  }

  deadLetterEvicted({ delivery, reason }: DeadLetter): void {
    this.#log.error(
      { event: 'dead_letter_evicted', id: delivery.id, endpoint: delivery.endpoint, reason },
      'too many dead letters in memory: the oldest is lost',
    );
  }

  deliveryFailed(endpoint: string, error: unknown): void {
    this.#log.error(
      { event: 'delivery_failed', endpoint, error: messageOf(error) },
      'the outbox could not be used; trying again',
    );
  }

  stopping(reason: string, graceMs: number): void {
    this.#log.info({ event: 'stopping', reason, grace_ms: graceMs }, 'stopping');
  }

  stopped(undelivered: number): void {
    const line = { event: 'stopped', undelivered };
    if (undelivered === 0) this.#log.info(line, 'stopped');
    else this.#log.error(line, 'stopped; deliveries that were waiting in memory are lost');
  }

  cleanUpFailed(name: string, error: unknown): void {
    this.#log.error({ event: 'clean_up_failed', name, error: messageOf(error) }, 'clean-up failed');
  }

  #dropped(endpoint: string, place: 'capture' | 'outbox'): void {
    this.#metrics.deliveriesDropped.inc({ endpoint });
    const nowMs = this.#clock.monotonicMs();
    const overflow = this.#overflows.get(endpoint);
    if (overflow !== undefined && nowMs - overflow.lineAtMs < OVERFLOW_LINE_EVERY_MS) {
      overflow.count += 1;
      return;
    }
    this.#overflows.set(endpoint, { count: 0, lineAtMs: nowMs });
    this.#log.error(
      { event: 'outbox_full', endpoint, place, dropped: (overflow?.count ?? 0) + 1 },
      'the outbox in memory is full: webhooks are lost',
    );
  }
}

function outcomeFields(outcome: Outcome): Record<string, unknown> {
  switch (outcome.kind) {
    case 'accepted':
      return { status: outcome.status };
    case 'refused':
      return { status: outcome.status, answer: outcome.answer };
    case 'unreachable':
      return { cause: outcome.cause, error: outcome.detail };
  }
}

function dispositionFields(disposition: Disposition, nowMs: number): Record<string, unknown> {
  switch (disposition.kind) {
    case 'done':
      return {};
    case 'retry':
      return { retry_in_ms: disposition.notBeforeMs - nowMs };
    case 'dead':
      return { reason: disposition.reason };
  }
}
