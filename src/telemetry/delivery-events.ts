/** Events of deliveries. */

import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.js';
import { preventionAdvice } from '../lib/exhaustion.js';
import type { Endpoint } from '../model/endpoint.js';
import { messageOf, StateUnavailableError } from '../model/errors.js';
import type {
  BreakerChange,
  BreakerState,
  Delivery,
  Disposition,
  Outcome,
  Prevented,
  ResponseFaults,
} from '../model/vocabulary.js';
import type { Claimed } from '../outbox/outbox.js';
import { publicKeysOf } from '../signing/sign.js';
import { LogThrottle } from './log-throttle.js';
import type { Metrics } from './metrics.js';
import { ThrottledCount } from './throttled-count.js';

/** The data of one attempt's log line. */
export interface AttemptReport {
  readonly claimed: Claimed;
  readonly outcome: Outcome;
  readonly disposition: Disposition;
  readonly durationMs: number;
  /** The monotonic time that the disposition refers to. */
  readonly decidedAtMs: number;
  readonly endedAtMs: number;
}

export class DeliveryEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  readonly #seldom: LogThrottle;
  readonly #unattempted = new Map<string, ThrottledCount>();
  /** Endpoints whose breakers are not closed, for which a warning was logged. */
  readonly #failing = new Set<string>();

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#clock = clock;
    this.#seldom = new LogThrottle(clock);
  }

  /** The first attempt of a delivery; `nowMs` is by the clock that deadlines refer to. */
  firstAttempted({ route, expiredAtMs }: Delivery, nowMs: number): void {
    if (expiredAtMs === null) return;
    this.#metrics.lateness.observe({ route }, Math.max(0, nowMs - expiredAtMs) / 1000);
  }

  /** One wide line per attempt. */
  attempted(report: AttemptReport): void {
    const { claimed, outcome, disposition, durationMs, decidedAtMs, endedAtMs } = report;
    const { delivery } = claimed;
    const { endpoint } = delivery;
    this.#metrics.attempts.inc({ endpoint, outcome: outcome.kind });
    this.#metrics.attemptDuration.observe({ endpoint }, durationMs / 1000);
    const line = {
      event: 'attempt',
      id: delivery.id,
      route: delivery.route,
      endpoint,
      attempt: claimed.attempt,
      database: delivery.database,
      key: delivery.keyLabel,
      detected_by: delivery.detectedBy,
      outcome: outcome.kind,
      ...outcomeFields(outcome),
      disposition: disposition.kind,
      ...dispositionFields(disposition, decidedAtMs),
      duration_ms: Math.round(durationMs * 10) / 10,
      age_ms: endedAtMs - (delivery.expiredAtMs ?? delivery.detectedAtMs),
      body_bytes: delivery.body.length,
    };
    if (outcome.kind !== 'unreachable') this.#faulty(endpoint, outcome);
    switch (disposition.kind) {
      case 'done':
        return this.#log.info(line, 'delivered');
      case 'retry':
        return this.#log.warn(line, 'not delivered');
      case 'dead':
        return this.#log.error(line, 'not delivered; now a dead letter');
    }
  }

  /** The status counts despite the fault, which the line of each attempt also contains. */
  #faulty(endpoint: string, { malformed, unreadableRetryAfter }: ResponseFaults): void {
    if (malformed !== undefined) {
      const text =
        "the endpoint's response is malformed after its status line: the status counts, and the " +
        'connection is closed. Correct what the endpoint sends';
      this.#seldom.log(`malformed ${endpoint}`, () =>
        this.#log.warn({ event: 'response_malformed', endpoint, error: malformed }, text),
      );
    }
    if (unreadableRetryAfter === undefined) return;
    const line = {
      event: 'retry_after_unreadable',
      endpoint,
      retry_after: unreadableRetryAfter,
    };
    const text =
      "the endpoint's Retry-After is neither a number of seconds nor an HTTP date: ignored";
    this.#seldom.log(`retry-after ${endpoint}`, () => this.#log.warn(line, text));
  }

  /** This machine or process lacks a resource; nothing was sent. */
  attemptPrevented(endpoint: string, prevented: Prevented): void {
    this.#metrics.attemptsPrevented.inc({ endpoint });
    const { code, detail } = prevented;
    this.#seldom.log(`prevented ${code}`, () =>
      this.#log.warn(
        { event: 'attempt_prevented', endpoint, code, error: detail },
        'the relay cannot open a connection: webhooks wait, and no attempt is counted. This is no ' +
          `fault of the endpoint: ${preventionAdvice(prevented)}`,
      ),
    );
  }

  /** A delivery to an endpoint that is gone was dead-lettered without an attempt. `dead list` shows each. */
  deadUnattempted({ endpoint }: Delivery): void {
    let tally = this.#unattempted.get(endpoint);
    if (tally === undefined) {
      tally = new ThrottledCount(this.#clock, (count) =>
        this.#log.error(
          { event: 'dead_unattempted', endpoint, count, reason: 'gone' },
          'not sent, since the endpoint is gone; now dead letters',
        ),
      );
      this.#unattempted.set(endpoint, tally);
    }
    tally.add();
  }

  /** Logs pending counts; call once, at the end. */
  flush(): void {
    for (const tally of this.#unattempted.values()) tally.flush();
  }

  /** Registers the state of an endpoint's circuit breaker, which is read at each scrape. */
  watchBreaker(endpoint: string, state: () => BreakerState): void {
    this.#metrics.watchBreaker(endpoint, state);
  }

  /** The lines of the attempts contain the causes. */
  breakerChanged(endpoint: string, change: BreakerChange): void {
    const level = change.kind === 'closed' || this.#failing.has(endpoint) ? 'info' : 'warn';
    switch (change.kind) {
      case 'opened': {
        this.#failing.add(endpoint);
        const line = { event: 'breaker_opened', endpoint, open_ms: change.openMs };
        const text =
          'the endpoint does not respond: the circuit breaker of this replica is open, and nothing is ' +
          'sent for that time; then one webhook at a time probes the endpoint. Check its URL and network';
        return this.#log[level](line, text);
      }
      case 'limited': {
        this.#failing.add(endpoint);
        const text =
          'the endpoint responds, and fails most webhooks or has just come back: this replica sends one ' +
          "at a time, and twice as many after each success. Check the receiver's own log";
        return this.#log[level]({ event: 'breaker_half_open', endpoint }, text);
      }
      case 'closed':
        this.#failing.delete(endpoint);
        return this.#log[level]({ event: 'breaker_closed', endpoint }, 'the endpoint works again');
    }
  }

  /** The endpoint asked by `Retry-After` for a pause. */
  endpointThrottled(endpoint: string, retryAfterMs: number): void {
    const line = { event: 'endpoint_throttled', endpoint, retry_after_ms: retryAfterMs };
    const text =
      'the endpoint asked for a wait (Retry-After): no replica sends it anything for that time. Lower ' +
      'rate_limit or concurrency if it asks often';
    this.#seldom.log(`throttled ${endpoint}`, () => this.#log.warn(line, text));
  }

  /** `isMended`: the files were invalid before. Public keys are logged, since receivers need them. */
  credentialsChanged({ name: endpoint, secrets }: Endpoint, isMended: boolean): void {
    this.#metrics.credentialsStale.set({ endpoint }, 0);
    const line = { event: isMended ? 'credentials_mended' : 'credentials_changed', endpoint };
    const publicKeys = publicKeysOf(secrets);
    this.#log.info(
      publicKeys.length === 0 ? line : { ...line, public_keys: publicKeys },
      'what the files of this endpoint hold now is used from now on',
    );
  }

  /** Called once, until the files are valid again. */
  credentialsUnusable(endpoint: string, problem: string): void {
    this.#metrics.credentialsStale.set({ endpoint }, 1);
    this.#log.error(
      { event: 'credentials_unusable', endpoint, problem },
      'a file of this endpoint cannot be used: what all of its files held before stays in use',
    );
  }

  endpointGone(endpoint: string): void {
    this.#metrics.endpointGone.set({ endpoint }, 1);
    this.#log.error(
      { event: 'endpoint_gone', endpoint },
      'the endpoint answered 410: it gets no more webhooks until the relay is restarted',
    );
  }

  /** An unavailable state Redis is reported elsewhere, once. */
  deliveryFailed(endpoint: string, error: unknown): void {
    const level = error instanceof StateUnavailableError ? 'debug' : 'error';
    this.#log[level](
      { event: 'delivery_failed', endpoint, error: messageOf(error) },
      'the outbox could not be used; trying again',
    );
  }
}

function outcomeFields(outcome: Outcome): Record<string, unknown> {
  switch (outcome.kind) {
    case 'accepted':
      return { status: outcome.status, ...faultFields(outcome) };
    case 'refused':
      return { status: outcome.status, answer: outcome.answer, ...faultFields(outcome) };
    case 'unreachable':
      return { cause: outcome.cause, error: outcome.detail };
  }
}

function faultFields({ malformed, unreadableRetryAfter }: ResponseFaults): Record<string, unknown> {
  return {
    ...(malformed === undefined ? {} : { malformed }),
    ...(unreadableRetryAfter === undefined ? {} : { retry_after_unreadable: unreadableRetryAfter }),
  };
}

function dispositionFields(disposition: Disposition, nowMs: number): Record<string, unknown> {
  switch (disposition.kind) {
    case 'done':
      return {};
    case 'retry':
      return { retry_in_ms: Math.round(disposition.notBeforeMs - nowMs) };
    case 'dead':
      return { reason: disposition.reason };
  }
}
