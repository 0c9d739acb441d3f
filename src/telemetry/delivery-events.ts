/** Events of deliveries. */

import { type DestinationStream, type Logger, symbols } from 'pino';
import { capitalize } from '../lib/capitalize.js';
import type { Clock } from '../lib/clock.js';
import { preventionAdvice } from '../lib/exhaustion.js';
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
import { lengthText } from '../server/wording.js';
import { deliveredLine } from './delivered-line.js';
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
  /** Where the logger writes its lines. */
  readonly #lines: DestinationStream;
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  readonly #seldom: LogThrottle;
  readonly #unattempted = new Map<string, ThrottledCount>();
  /** Endpoints whose breakers are not closed, for which a warning was logged. */
  readonly #failing = new Set<string>();

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#lines = streamOf(log);
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
    const roundedMs = Math.round(durationMs * 10) / 10;
    const ageMs = endedAtMs - (delivery.expiredAtMs ?? delivery.detectedAtMs);
    if (outcome.kind === 'accepted' && isFaultless(outcome)) {
      if (!this.#log.isLevelEnabled('info')) return;
      const fields = { nowMs: endedAtMs, status: outcome.status, durationMs: roundedMs, ageMs };
      this.#lines.write(deliveredLine(claimed, fields));
      return;
    }
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
      duration_ms: roundedMs,
      age_ms: ageMs,
      body_bytes: delivery.body.length,
    };
    if (outcome.kind !== 'unreachable') this.#faulty(endpoint, outcome);
    switch (disposition.kind) {
      case 'done':
        return this.#log.info(line, 'delivered');
      case 'retry':
        return this.#log.warn(
          line,
          `delivery failed; retrying in ${lengthText(retryInMs(disposition, decidedAtMs))}`,
        );
      case 'dead':
        return this.#log.error(
          line,
          `delivery failed; now a dead letter. Run expiry-relay dead show ${delivery.id}`,
        );
    }
  }

  /** The status counts despite the fault, which the line of each attempt also contains. */
  #faulty(endpoint: string, { malformed, unreadableRetryAfter }: ResponseFaults): void {
    if (malformed !== undefined) {
      const text =
        'the response is malformed after its status line; using its status, and closing the connection. ' +
        'Fix the HTTP response of the endpoint';
      this.#seldom.log(`malformed ${endpoint}`, () =>
        this.#log.warn({ event: 'response_malformed', endpoint, error: malformed }, text),
      );
    }
    if (unreadableRetryAfter === undefined) return;
    const line = {
      event: 'retry_after_invalid',
      endpoint,
      retry_after: unreadableRetryAfter,
    };
    const text =
      'Retry-After is neither a number of seconds nor an HTTP date; ignoring it. Fix the header of the endpoint';
    this.#seldom.log(`retry-after ${endpoint}`, () => this.#log.warn(line, text));
  }

  /** This machine or process lacks a resource; nothing was sent. */
  attemptPrevented(endpoint: string, prevented: Prevented): void {
    this.#metrics.attemptsPrevented.inc({ endpoint });
    const { code, detail } = prevented;
    this.#seldom.log(`prevented ${code}`, () =>
      this.#log.warn(
        { event: 'attempt_prevented', endpoint, code, error: detail },
        'this process or machine lacks a resource for a connection; webhooks wait, and no attempt is counted. ' +
          capitalize(preventionAdvice(prevented)),
      ),
    );
  }

  /** A delivery to an endpoint that is gone was dead-lettered without an attempt. `dead list` shows each. */
  deadUnattempted({ endpoint }: Delivery): void {
    this.#tally(`gone ${endpoint}`, (count) =>
      this.#log.error(
        { event: 'dead_unattempted', endpoint, count, dead_reason: 'gone' },
        'the endpoint has returned 410; its deliveries are now dead letters, without an attempt. Fix the ' +
          `endpoint, send SIGHUP to all replicas, then run expiry-relay dead replay --endpoint ${endpoint} --reason gone`,
      ),
    );
  }

  /** A delivery was dead-lettered because of its age, without another attempt. `dead list` shows each. */
  deadTooOld({ endpoint, route }: Delivery): void {
    this.#tally(`too_old ${route} ${endpoint}`, (count) =>
      this.#log.warn(
        { event: 'dead_too_old', endpoint, route, count, dead_reason: 'too_old' },
        'webhooks were older than max_age of their route; they are now dead letters, and were not sent. To send them ' +
          `once more, run expiry-relay dead replay --endpoint ${endpoint} --reason too_old`,
      ),
    );
  }

  #tally(name: string, log: (count: number) => void): void {
    let tally = this.#unattempted.get(name);
    if (tally === undefined) {
      tally = new ThrottledCount(this.#clock, log);
      this.#unattempted.set(name, tally);
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
    const isFailing = this.#failing.has(endpoint);
    switch (change.kind) {
      case 'opened': {
        this.#failing.add(endpoint);
        const line = { event: 'breaker_opened', endpoint, open_ms: change.openMs };
        const pause = `this replica pauses deliveries for ${lengthText(change.openMs)}, then sends a probe`;
        if (isFailing) {
          return this.#log.info(line, `the endpoint does not respond to a probe; ${pause}`);
        }
        return this.#log.warn(
          line,
          `circuit breaker opened, as the endpoint does not respond; ${pause}. Check the URL and the network of ` +
            'the endpoint',
        );
      }
      case 'limited': {
        this.#failing.add(endpoint);
        const line = { event: 'breaker_half_open', endpoint };
        const rate = 'one webhook at a time, and twice as many after each success';
        if (isFailing) {
          return this.#log.info(line, `the endpoint responds again; this replica sends ${rate}`);
        }
        return this.#log.warn(
          line,
          `circuit breaker half-open, as the endpoint fails most webhooks; this replica sends ${rate}. Check the ` +
            'log of the receiver',
        );
      }
      case 'closed':
        this.#failing.delete(endpoint);
        return this.#log.info(
          { event: 'breaker_closed', endpoint },
          'circuit breaker closed; the endpoint has recovered',
        );
    }
  }

  /** The endpoint asked by `Retry-After` for a pause. */
  endpointThrottled(endpoint: string, retryAfterMs: number): void {
    const line = { event: 'endpoint_throttled', endpoint, retry_after_ms: retryAfterMs };
    const text =
      `the endpoint sent Retry-After; no replica sends it anything for ${lengthText(retryAfterMs)}. ` +
      'Lower rate_limit or concurrency if this recurs';
    this.#seldom.log(`throttled ${endpoint}`, () => this.#log.warn(line, text));
  }

  endpointGone(endpoint: string): void {
    this.#metrics.endpointGone.set({ endpoint }, 1);
    this.#log.error(
      { event: 'endpoint_gone', endpoint },
      'the endpoint returned 410; its webhooks become dead letters until a reload. Fix the endpoint, then send ' +
        'SIGHUP to all replicas',
    );
  }

  /** A reload lets deliveries to an endpoint that has returned 410 go on. */
  endpointRetried(endpoint: string): void {
    this.#metrics.endpointGone.set({ endpoint }, 0);
    this.#log.info(
      { event: 'endpoint_retried', endpoint },
      'the endpoint had returned 410; sending its webhooks again after a reload. To send its dead letters, run ' +
        `expiry-relay dead replay --endpoint ${endpoint} --reason gone`,
    );
  }

  /** The settings of the endpoint have changed: its circuit breaker is closed, and counts from the beginning. */
  breakerReset(endpoint: string): void {
    this.#failing.delete(endpoint);
  }

  /** A reload has removed the endpoint. */
  endpointRemoved(endpoint: string): void {
    this.#failing.delete(endpoint);
    this.#metrics.forgetEndpoint(endpoint);
  }

  /** An unavailable state Redis is reported elsewhere, once. */
  outboxFailed(endpoint: string, error: unknown): void {
    const level = error instanceof StateUnavailableError ? 'debug' : 'error';
    this.#log[level](
      { event: 'outbox_failed', endpoint, error: messageOf(error) },
      'cannot read or write the outbox; retrying. Check the state Redis',
    );
  }
}

function outcomeFields(outcome: Outcome): Record<string, unknown> {
  switch (outcome.kind) {
    case 'accepted':
      return { status: outcome.status, ...faultFields(outcome) };
    case 'rejected':
      return { status: outcome.status, response_body: outcome.answer, ...faultFields(outcome) };
    case 'unreachable':
      return { reason: outcome.reason, error: outcome.detail };
  }
}

/** The stream that a logger writes to. */
function streamOf(log: Logger): DestinationStream {
  const { [symbols.streamSym]: stream } = log as unknown as Record<symbol, DestinationStream>;
  if (stream === undefined) throw new Error('expected a logger with a stream');
  return stream;
}

function isFaultless({ malformed, unreadableRetryAfter }: ResponseFaults): boolean {
  return malformed === undefined && unreadableRetryAfter === undefined;
}

function faultFields({ malformed, unreadableRetryAfter }: ResponseFaults): Record<string, unknown> {
  return {
    ...(malformed === undefined ? {} : { malformed }),
    ...(unreadableRetryAfter === undefined ? {} : { retry_after_invalid: unreadableRetryAfter }),
  };
}

function retryInMs(
  { notBeforeMs }: Disposition & { readonly kind: 'retry' },
  nowMs: number,
): number {
  return Math.round(notBeforeMs - nowMs);
}

function dispositionFields(disposition: Disposition, nowMs: number): Record<string, unknown> {
  switch (disposition.kind) {
    case 'done':
      return {};
    case 'retry':
      return { retry_in_ms: retryInMs(disposition, nowMs) };
    case 'dead':
      return { dead_reason: disposition.reason };
  }
}
