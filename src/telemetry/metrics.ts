/** The Prometheus metrics. Label values come from the configuration, never from keys. Every series starts at 0. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { BreakerState, Settings } from '../model/vocabulary.js';
import type { Depth } from '../outbox/outbox.js';
import { asksForValues } from '../routing/routes.js';
import {
  ADMIN_LIMITS,
  BREAKER_STATES,
  DETECTED_BY,
  DURATION_BUCKETS_S,
  FORGOTTEN_WHY,
  LATENESS_BUCKETS_S,
  OUTCOMES,
  STATE_OPERATIONS,
  VALUE_OMISSIONS,
} from './metric-labels.js';
import { OutboxGauges } from './outbox-gauges.js';

const PREFIX = 'expiry_relay_';

export class Metrics {
  readonly #registry = new Registry();
  readonly #endpoints: readonly string[];
  #readOutbox: () => Promise<void> = async () => undefined;
  readonly #breakers = new Map<string, () => BreakerState>();

  readonly expirations = new Counter({
    name: `${PREFIX}expirations_total`,
    help: 'Expirations that a route matched.',
    labelNames: ['route', 'detected_by'],
    registers: [this.#registry],
  });
  readonly expirationsRefused = new Counter({
    name: `${PREFIX}expirations_refused_total`,
    help: 'Expirations of keys too long to be sent.',
    registers: [this.#registry],
  });
  readonly deliveriesRefused = new Counter({
    name: `${PREFIX}deliveries_refused_total`,
    help: 'Deliveries whose bodies would have been too large, and are lost.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly valuesOmitted = new Counter({
    name: `${PREFIX}values_omitted_total`,
    help: 'Values that a route asks for and its webhooks went without.',
    labelNames: ['route', 'why'],
    registers: [this.#registry],
  });
  readonly expirationsDropped = new Counter({
    name: `${PREFIX}expirations_dropped_total`,
    help: 'Expirations that came faster than they could be taken: lost, unless their deadlines are known.',
    registers: [this.#registry],
  });
  readonly noticesDropped = new Counter({
    name: `${PREFIX}notices_dropped_total`,
    help: 'Notifications of changed keys that came faster than they could be taken; swept instead.',
    registers: [this.#registry],
  });
  readonly logLinesDropped = new Counter({
    name: `${PREFIX}log_lines_dropped_total`,
    help: 'Log lines that could not be written, and are lost.',
    registers: [this.#registry],
  });
  readonly adminConnectionsClosed = new Counter({
    name: `${PREFIX}admin_connections_closed_total`,
    help: 'Connections to the admin port that the relay closed because of a limit.',
    labelNames: ['limit'],
    registers: [this.#registry],
  });
  readonly attempts = new Counter({
    name: `${PREFIX}attempts_total`,
    help: 'Attempts to deliver, by what came of them.',
    labelNames: ['endpoint', 'outcome'],
    registers: [this.#registry],
  });
  readonly attemptsPrevented = new Counter({
    name: `${PREFIX}attempts_prevented_total`,
    help: 'Attempts that were not made because this machine or process lacked a resource.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly attemptDuration = new Histogram({
    name: `${PREFIX}attempt_duration_seconds`,
    help: 'How long an attempt took, from connecting to the end of the answer.',
    labelNames: ['endpoint'],
    buckets: DURATION_BUCKETS_S,
    registers: [this.#registry],
  });
  readonly lateness = new Histogram({
    name: `${PREFIX}lateness_seconds`,
    help: "From a key's deadline to the first attempt to deliver its webhook.",
    labelNames: ['route'],
    buckets: LATENESS_BUCKETS_S,
    registers: [this.#registry],
  });
  readonly deliveriesDropped = new Counter({
    name: `${PREFIX}deliveries_dropped_total`,
    help: 'Deliveries that found no room in the outbox in memory, and are lost.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly breakerState: Gauge = new Gauge({
    name: `${PREFIX}breaker_state`,
    help: "State of this replica's circuit breaker: closed (0), half open (1) or open (2).",
    labelNames: ['endpoint'],
    registers: [this.#registry],
    collect: (): void => {
      for (const [endpoint, state] of this.#breakers) {
        this.breakerState.set({ endpoint }, BREAKER_STATES[state()]);
      }
    },
  });
  readonly endpointGone = new Gauge({
    name: `${PREFIX}endpoint_gone`,
    help: '1 once the endpoint has answered 410, until the relay is restarted.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly credentialsStale = new Gauge({
    name: `${PREFIX}credentials_stale`,
    help: '1 while a file of the endpoint cannot be used, and what it held before still is.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly stateErrors = new Counter({
    name: `${PREFIX}state_errors_total`,
    help: 'Commands that the state Redis did not carry out, by what they were for.',
    labelNames: ['operation'],
    registers: [this.#registry],
  });
  readonly quarantineEntries = new Gauge({
    name: `${PREFIX}quarantine_entries`,
    help: 'Records in the quarantine of the state.',
    registers: [this.#registry],
  });
  readonly quarantined = new Counter({
    name: `${PREFIX}quarantined_total`,
    help: 'Entries of the state that were moved to its quarantine, by any replica.',
    registers: [this.#registry],
  });
  readonly internalErrors = new Counter({
    name: `${PREFIX}internal_errors_total`,
    help: 'Unexpected errors that the relay has survived; each is a bug.',
    registers: [this.#registry],
  });
  readonly reclaimed = new Counter({
    name: `${PREFIX}reclaimed_total`,
    help: 'Deliveries taken over from dead replicas.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly deadLettersForgotten = new Counter({
    name: `${PREFIX}dead_letters_forgotten_total`,
    help: 'Dead letters that are kept no longer: too old, or too many.',
    labelNames: ['endpoint', 'why'],
    registers: [this.#registry],
  });
  readonly unknownEndpointPending = new Gauge({
    name: `${PREFIX}unknown_endpoint_pending`,
    help: "Deliveries that wait for an endpoint that no running replica's file has.",
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly watching = new Gauge({
    name: `${PREFIX}watching`,
    help: '1 while this replica is the one that captures expirations.',
    registers: [this.#registry],
  });
  readonly configurations = new Gauge({
    name: `${PREFIX}configurations`,
    help: 'Different configurations among the running replicas that share state.prefix.',
    registers: [this.#registry],
  });
  readonly superseded = new Gauge({
    name: `${PREFIX}superseded`,
    help: 'Whether a newer configuration that shares state.prefix has taken over (1) or not (0).',
    registers: [this.#registry],
  });
  readonly nudges = new Counter({
    name: `${PREFIX}nudges_total`,
    help: 'Keys read just after their deadlines.',
    registers: [this.#registry],
  });
  readonly databasesEmptied = new Counter({
    name: `${PREFIX}databases_emptied_total`,
    help: 'How often a watched database was emptied: no webhook for the keys that were in it.',
    registers: [this.#registry],
  });
  readonly deadlinesForgotten = new Counter({
    name: `${PREFIX}deadlines_forgotten_total`,
    help: 'Deadlines of keys that were in a database when it was emptied: no webhook.',
    registers: [this.#registry],
  });
  readonly sweptKeys = new Gauge({
    name: `${PREFIX}swept_keys`,
    help: 'Keys that the last whole sweep found.',
    registers: [this.#registry],
  });
  readonly sweepDuration = new Gauge({
    name: `${PREFIX}sweep_duration_seconds`,
    help: 'How long the last whole sweep took.',
    registers: [this.#registry],
  });
  readonly gaps = new Counter({
    name: `${PREFIX}gaps_total`,
    help: 'Times in which nobody listened to Redis after the first connection.',
    registers: [this.#registry],
  });
  readonly canaryLag = new Gauge({
    name: `${PREFIX}canary_lag_seconds`,
    help: "From the last canary key's deadline to hearing that it expired.",
    registers: [this.#registry],
  });

  constructor(settings: Pick<Settings, 'endpoints' | 'routes'>) {
    this.#endpoints = [...settings.endpoints.keys()];
    for (const each of settings.routes) {
      const { name: route } = each;
      this.lateness.zero({ route });
      if (asksForValues(each)) {
        for (const why of Object.keys(VALUE_OMISSIONS)) this.valuesOmitted.inc({ route, why }, 0);
      }
      for (const detected_by of Object.keys(DETECTED_BY)) {
        this.expirations.inc({ route, detected_by }, 0);
      }
    }
    for (const endpoint of this.#endpoints) {
      for (const outcome of Object.keys(OUTCOMES)) this.attempts.inc({ endpoint, outcome }, 0);
      this.attemptsPrevented.inc({ endpoint }, 0);
      this.attemptDuration.zero({ endpoint });
      this.deliveriesDropped.inc({ endpoint }, 0);
      this.deliveriesRefused.inc({ endpoint }, 0);
      this.breakerState.set({ endpoint }, BREAKER_STATES.closed);
      this.endpointGone.set({ endpoint }, 0);
      this.credentialsStale.set({ endpoint }, 0);
      this.reclaimed.inc({ endpoint }, 0);
      for (const why of FORGOTTEN_WHY) this.deadLettersForgotten.inc({ endpoint, why }, 0);
    }
    for (const limit of ADMIN_LIMITS) this.adminConnectionsClosed.inc({ limit }, 0);
    for (const operation of Object.keys(STATE_OPERATIONS)) this.stateErrors.inc({ operation }, 0);
  }

  /** Registers the process metrics (memory, CPU, event loop). They hold a timer, so only `run` registers them. */
  watchProcess(): void {
    collectDefaultMetrics({ register: this.#registry, prefix: PREFIX });
  }

  /** Registers the state of an endpoint's circuit breaker, which is read at each scrape. */
  watchBreaker(endpoint: string, state: () => BreakerState): void {
    this.#breakers.set(endpoint, state);
  }

  /** Registers the depth of the outbox, which is read at each scrape. */
  watchOutbox(depthOf: (endpoint: string) => Promise<Depth>): void {
    const gauges = new OutboxGauges(this.#registry, PREFIX, this.#endpoints);
    this.#readOutbox = () => gauges.read(depthOf);
  }

  /** Registers the numbers of queued expirations and tracked keys, which are read at each scrape. */
  watchCapture(queued: () => number, tracked: () => Promise<number>): void {
    const queuedGauge: Gauge = new Gauge({
      name: `${PREFIX}expirations_queued`,
      help: 'Expirations and notices in memory that are yet to be taken care of.',
      registers: [this.#registry],
      collect: (): void => queuedGauge.set(queued()),
    });
    const trackedGauge: Gauge = new Gauge({
      name: `${PREFIX}tracked_deadlines`,
      help: 'Keys whose deadlines are in the index.',
      registers: [this.#registry],
      collect: async (): Promise<void> => {
        try {
          trackedGauge.set(await tracked());
        } catch {
          trackedGauge.remove();
        }
      },
    });
  }

  /** Prometheus' text format. Yields with `turn` between metrics: there may be thousands of series. */
  async text(turn: () => Promise<void>): Promise<string> {
    await this.#readOutbox();
    const texts: string[] = [];
    for (const { name } of this.#registry.getMetricsAsArray()) {
      texts.push(await this.#registry.getSingleMetricAsString(name));
      await turn();
    }
    return `${texts.join('\n\n')}\n`;
  }

  get contentType(): string {
    return this.#registry.contentType;
  }
}
