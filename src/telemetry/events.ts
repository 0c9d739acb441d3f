/**
 * One method per event, which logs a line and updates its counters. No line contains a secret, a request body or a
 * key's raw bytes; `event` identifies the line for filters.
 */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.js';
import type { Settings } from '../model/vocabulary.js';
import type { BufferedOutput } from './buffered-output.js';
import { CaptureEvents } from './capture-events.js';
import { DeliveryEvents } from './delivery-events.js';
import { createLog } from './log.js';
import type { Metrics } from './metrics.js';
import { OutboxEvents } from './outbox-events.js';
import type { ProcessReports } from './process-reports.js';
import { RelayEvents } from './relay-events.js';
import { ReloadEvents } from './reload-events.js';
import { SourceEvents } from './source-events.js';
import { StateEvents } from './state-events.js';
import { ValueEvents } from './value-events.js';
import { WatchEvents } from './watch-events.js';

/** The events of each part of the relay. */
export interface Events {
  readonly relay: RelayEvents;
  readonly reload: ReloadEvents;
  readonly source: SourceEvents;
  readonly capture: CaptureEvents;
  readonly outbox: OutboxEvents;
  readonly delivery: DeliveryEvents;
  readonly state: StateEvents;
  readonly values: ValueEvents;
  readonly watch: WatchEvents;
}

export function createEvents(log: Logger, metrics: Metrics, clock: Clock): Events {
  return {
    relay: new RelayEvents(log, clock),
    reload: new ReloadEvents(log, metrics, clock),
    source: new SourceEvents(log, metrics),
    capture: new CaptureEvents(log, metrics, clock),
    outbox: new OutboxEvents(log, metrics),
    delivery: new DeliveryEvents(log, metrics, clock),
    state: new StateEvents(log, metrics, clock),
    values: new ValueEvents(log, metrics, clock),
    watch: new WatchEvents(log, metrics, clock),
  };
}

/** Opens the log, and connects it to the reports of lost lines and of the process. */
export function openEvents(
  parts: {
    readonly log: Settings['log'];
    readonly output: BufferedOutput;
    readonly reports: ProcessReports;
    readonly clock: Clock;
  },
  metrics: Metrics,
): Events {
  const { output, reports, clock } = parts;
  const lostLines = {
    onLost: (lines: number) => metrics.logLinesDropped.inc(lines),
    onRegained: (lines: number, reason: string) => events.relay.logLinesLost(lines, reason),
  };
  const log = createLog(parts.log, output, lostLines, clock);
  const events = createEvents(log, metrics, clock);
  reports.listen((report) => events.relay.processReported(report));
  return events;
}
