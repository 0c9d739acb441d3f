/** The Prometheus metrics. Label values come from the configuration, never from keys. Every series starts at 0. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { BreakerState, Settings } from '../model/vocabulary.js';
import type { Depth } from '../outbox/outbox.js';
import { asksForValues } from '../routing/routes.js';
import {
  ADMIN_LIMITS,
  BREAKER_STATES,
  DETECTED_BY,
  DURATION_BUCKETS_S,
  LATENESS_BUCKETS_S,
  OUTCOMES,
  PRUNE_REASONS,
  STATE_OPERATIONS,
  VALUE_OMISSIONS,
} from './metric-labels.js';
import { OutboxGauges } from './outbox-gauges.js';
import { registerProcessMetrics } from './process-metrics.js';

const PREFIX = 'expiry_relay_';

export class Metrics {
  readonly #registry = new Registry();
  /** The endpoints of the current configuration. */
  #endpoints: readonly string[] = [];
  /** The routes and endpoints that have histograms, which would lose what they hold if they were set to zero again. */
  readonly #measured = new Set<string>();
  #readOutbox: () => Promise<void> = async () => undefined;
  readonly #breakers = new Map<string, () => BreakerState>();

  readonly expirations = new Counter({
    name: `${PREFIX}expirations_total`,
    help: 'Total expirations that a route matched.',
    labelNames: ['route', 'detected_by'],
    registers: [this.#registry],
  });
  readonly expirationsOversized = new Counter({
    name: `${PREFIX}expirations_oversized_total`,
    help: 'Total expirations without a webhook because the key was too long.',
    registers: [this.#registry],
  });
  readonly deliveriesOversized = new Counter({
    name: `${PREFIX}deliveries_oversized_total`,
    help: 'Total deliveries discarded because the body would be larger than 16 MiB. They are lost.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly valuesOmitted = new Counter({
    name: `${PREFIX}values_omitted_total`,
    help: 'Total values omitted from webhooks by reason.',
    labelNames: ['route', 'reason'],
    registers: [this.#registry],
  });
  readonly expirationsDropped = new Counter({
    name: `${PREFIX}expirations_dropped_total`,
    help:
      'Total expiration notifications dropped because the queue was full. ' +
      'Expirations of tracked keys are recovered, others are lost.',
    registers: [this.#registry],
  });
  readonly keyChangesDropped = new Counter({
    name: `${PREFIX}key_changes_dropped_total`,
    help:
      'Total notifications of changed or deleted keys dropped because the queue was full. ' +
      'The next sweep reads these keys.',
    registers: [this.#registry],
  });
  readonly logLinesDropped = new Counter({
    name: `${PREFIX}log_lines_dropped_total`,
    help: 'Total log lines dropped because standard output was blocked or the disk was full.',
    registers: [this.#registry],
  });
  readonly adminConnectionsClosed = new Counter({
    name: `${PREFIX}admin_connections_closed_total`,
    help: 'Total connections to the admin port closed by a limit before they were answered.',
    labelNames: ['limit'],
    registers: [this.#registry],
  });
  readonly attempts = new Counter({
    name: `${PREFIX}attempts_total`,
    help:
      'Total delivery attempts by outcome: accepted (2xx, or a status in accept), rejected (another response) or ' +
      'unreachable (no response).',
    labelNames: ['endpoint', 'outcome'],
    registers: [this.#registry],
  });
  readonly attemptsPrevented = new Counter({
    name: `${PREFIX}attempts_prevented_total`,
    help: 'Total attempts not made because this machine or process lacked a resource.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly attemptDuration = new Histogram({
    name: `${PREFIX}attempt_duration_seconds`,
    help: 'Duration of an attempt in seconds, from connecting to the end of the response.',
    labelNames: ['endpoint'],
    buckets: DURATION_BUCKETS_S,
    registers: [this.#registry],
  });
  readonly lateness = new Histogram({
    name: `${PREFIX}lateness_seconds`,
    help:
      "Time from a key's deadline to the first delivery attempt in seconds. Replays of dead " +
      'letters do not count.',
    labelNames: ['route'],
    buckets: LATENESS_BUCKETS_S,
    registers: [this.#registry],
  });
  readonly deliveriesDropped = new Counter({
    name: `${PREFIX}deliveries_dropped_total`,
    help:
      'Total deliveries discarded because the outbox in memory (state.kind: memory) was full. ' +
      'They are lost.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly breakerState: Gauge = new Gauge({
    name: `${PREFIX}breaker_state`,
    help: "Current state of this replica's circuit breaker: closed (0), half-open (1) or open (2).",
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
    help: 'Whether the endpoint has returned 410 since the relay started or was reloaded (1) or not (0).',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly credentialsStale = new Gauge({
    name: `${PREFIX}credentials_stale`,
    help: "Whether the last reload of the endpoint's credentials failed (1) or not (0).",
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly configLastReloadSuccessful = new Gauge({
    name: `${PREFIX}config_last_reload_successful`,
    help: 'Whether the last load of the configuration succeeded (1) or not (0).',
    registers: [this.#registry],
  });
  readonly configLastReloadTimestamp = new Gauge({
    name: `${PREFIX}config_last_reload_success_timestamp_seconds`,
    help: 'Time of the last successful load of the configuration, in seconds since the Unix epoch.',
    registers: [this.#registry],
  });
  readonly stateErrors = new Counter({
    name: `${PREFIX}state_errors_total`,
    help: 'Total failed commands to the state Redis by operation.',
    labelNames: ['operation'],
    registers: [this.#registry],
  });
  readonly quarantineEntries = new Gauge({
    name: `${PREFIX}quarantine_entries`,
    help: 'Current number of records in the quarantine of the state. The same on every replica.',
    registers: [this.#registry],
  });
  readonly quarantined = new Counter({
    name: `${PREFIX}quarantined_total`,
    help:
      'Total entries of the state moved to the quarantine by all replicas. Reset when all ' +
      'records are dropped.',
    registers: [this.#registry],
  });
  readonly internalErrors = new Counter({
    name: `${PREFIX}internal_errors_total`,
    help: 'Total unexpected errors. Each is a bug and is logged as internal_error.',
    registers: [this.#registry],
  });
  readonly reclaimed = new Counter({
    name: `${PREFIX}deliveries_reclaimed_total`,
    help: 'Total deliveries taken over from dead replicas.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly deadLettersPruned = new Counter({
    name: `${PREFIX}dead_letters_pruned_total`,
    help:
      'Total dead letters deleted by reason: older than state.dead_letters.keep (age), or more ' +
      'than state.dead_letters.max (count).',
    labelNames: ['endpoint', 'reason'],
    registers: [this.#registry],
  });
  readonly unknownEndpointPending = new Gauge({
    name: `${PREFIX}unknown_endpoint_pending`,
    help: 'Current number of deliveries for an endpoint that no running replica has.',
    labelNames: ['endpoint'],
    registers: [this.#registry],
  });
  readonly watching = new Gauge({
    name: `${PREFIX}watching`,
    help: 'Whether this replica holds the lease and captures expirations (1) or not (0).',
    registers: [this.#registry],
  });
  readonly configurations = new Gauge({
    name: `${PREFIX}configurations`,
    help:
      'Current number of different configurations among the running replicas that share ' +
      'state.prefix. Normally 1.',
    registers: [this.#registry],
  });
  readonly superseded = new Gauge({
    name: `${PREFIX}superseded`,
    help:
      'Whether a newer configuration that shares state.prefix captures instead of this replica ' +
      '(1) or not (0).',
    registers: [this.#registry],
  });
  readonly nudges = new Counter({
    name: `${PREFIX}nudges_total`,
    help: 'Total keys read just after their deadlines to make Redis expire them.',
    registers: [this.#registry],
  });
  readonly databasesEmptied = new Counter({
    name: `${PREFIX}databases_emptied_total`,
    help: 'Total times that a watched database was emptied. No webhooks are sent for its former keys.',
    registers: [this.#registry],
  });
  readonly deadlinesDiscarded = new Counter({
    name: `${PREFIX}deadlines_discarded_total`,
    help:
      'Total deadlines discarded because their database was emptied. Does not increase if the ' +
      'state was in the same database and is lost, too.',
    registers: [this.#registry],
  });
  readonly sweptKeys = new Gauge({
    name: `${PREFIX}swept_keys`,
    help: 'Number of keys found by the last complete sweep.',
    registers: [this.#registry],
  });
  readonly sweepDuration = new Gauge({
    name: `${PREFIX}sweep_duration_seconds`,
    help: 'Duration of the last complete sweep in seconds.',
    registers: [this.#registry],
  });
  readonly gaps = new Counter({
    name: `${PREFIX}gaps_total`,
    help: 'Total interruptions of the subscription to a primary, by its address.',
    labelNames: ['redis'],
    registers: [this.#registry],
  });
  readonly canaryLag = new Gauge({
    name: `${PREFIX}canary_lag_seconds`,
    help: 'Time from the deadline of the last canary to its notification in seconds.',
    registers: [this.#registry],
  });

  constructor(settings: Pick<Settings, 'endpoints' | 'routes'>) {
    this.follow(settings);
    for (const limit of ADMIN_LIMITS) this.adminConnectionsClosed.inc({ limit }, 0);
    for (const operation of Object.keys(STATE_OPERATIONS)) this.stateErrors.inc({ operation }, 0);
  }

  /** Adds the series of new endpoints and routes. Series of others keep their values. */
  follow(settings: Pick<Settings, 'endpoints' | 'routes'>): void {
    const known = new Set(this.#endpoints);
    this.#endpoints = [...settings.endpoints.keys()];
    for (const each of settings.routes) {
      const { name: route } = each;
      this.#zeroOnce(this.lateness, { route });
      if (asksForValues(each)) {
        for (const reason of Object.keys(VALUE_OMISSIONS))
          this.valuesOmitted.inc({ route, reason }, 0);
      }
      for (const detected_by of Object.keys(DETECTED_BY)) {
        this.expirations.inc({ route, detected_by }, 0);
      }
    }
    for (const endpoint of this.#endpoints) {
      for (const outcome of Object.keys(OUTCOMES)) this.attempts.inc({ endpoint, outcome }, 0);
      this.attemptsPrevented.inc({ endpoint }, 0);
      this.#zeroOnce(this.attemptDuration, { endpoint });
      this.deliveriesDropped.inc({ endpoint }, 0);
      this.deliveriesOversized.inc({ endpoint }, 0);
      this.reclaimed.inc({ endpoint }, 0);
      for (const reason of PRUNE_REASONS) this.deadLettersPruned.inc({ endpoint, reason }, 0);
      if (known.has(endpoint)) continue;
      this.breakerState.set({ endpoint }, BREAKER_STATES.closed);
      this.endpointGone.set({ endpoint }, 0);
      this.credentialsStale.set({ endpoint }, 0);
    }
  }

  #zeroOnce<Label extends string>(
    histogram: Histogram<Label>,
    labels: Partial<Record<Label, string>>,
  ): void {
    const series = JSON.stringify(labels);
    if (!this.#measured.has(series)) histogram.zero(labels);
    this.#measured.add(series);
  }

  /** Removes what describes the present state of an endpoint that a reload has removed. Its counters stay. */
  forgetEndpoint(endpoint: string): void {
    this.#breakers.delete(endpoint);
    for (const gauge of [this.breakerState, this.endpointGone, this.credentialsStale]) {
      gauge.remove({ endpoint });
    }
  }

  /** Registers the metrics of the process (memory, CPU, event loop) and of the build. */
  watchProcess(version: string): void {
    registerProcessMetrics(this.#registry, PREFIX, version);
  }

  /** Registers the state of an endpoint's circuit breaker, which is read at each scrape. */
  watchBreaker(endpoint: string, state: () => BreakerState): void {
    this.#breakers.set(endpoint, state);
  }

  /** Registers the depth of the outbox, which is read at each scrape. */
  watchOutbox(depthOf: (endpoint: string) => Promise<Depth>): void {
    const gauges = new OutboxGauges(this.#registry, PREFIX, () => this.#endpoints);
    this.#readOutbox = () => gauges.read(depthOf);
  }

  /** Registers the numbers of queued expirations and tracked keys, which are read at each scrape. */
  watchPrimaries(
    coverage: () => {
      readonly primaries: number;
      readonly subscribed: number;
      readonly uncoveredSlots: number;
    },
  ): void {
    const primaries: Gauge = new Gauge({
      name: `${PREFIX}primaries`,
      help: 'Current number of primaries to watch: 1, or the number of primaries with slots in a cluster.',
      registers: [this.#registry],
      collect: (): void => primaries.set(coverage().primaries),
    });
    const subscribed: Gauge = new Gauge({
      name: `${PREFIX}primaries_subscribed`,
      help: 'Current number of primaries whose notifications this replica receives.',
      registers: [this.#registry],
      collect: (): void => subscribed.set(coverage().subscribed),
    });
    const uncovered: Gauge = new Gauge({
      name: `${PREFIX}uncovered_slots`,
      help: 'Current number of hash slots of a cluster that no primary has.',
      registers: [this.#registry],
      collect: (): void => uncovered.set(coverage().uncoveredSlots),
    });
  }

  watchCapture(queued: () => number, tracked: () => Promise<number>): void {
    const queuedGauge: Gauge = new Gauge({
      name: `${PREFIX}expirations_queued`,
      help:
        'Current number of key events in memory that are not processed yet. If the process ends, ' +
        'expirations of tracked keys are recovered, others are lost.',
      registers: [this.#registry],
      collect: (): void => queuedGauge.set(queued()),
    });
    const trackedGauge: Gauge = new Gauge({
      name: `${PREFIX}tracked_deadlines`,
      help: 'Current number of keys with a known deadline. Absent while the state cannot be read.',
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
