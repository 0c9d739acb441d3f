/** Events of the state Redis. */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.js';
import { printable, printableBytes } from '../lib/printable.js';
import { messageOf, type RelayError } from '../model/errors.js';
import type { ServerFinding } from '../server/finding.js';
import type { StateOperation } from '../state/health.js';
import type { QuarantinedEntry } from '../state/quarantine.js';
import { FindingLog } from './finding-log.js';
import { LogThrottle } from './log-throttle.js';
import type { Metrics } from './metrics.js';

export class StateEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #findings: FindingLog;
  readonly #seldom: LogThrottle;

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#findings = new FindingLog(log);
    this.#seldom = new LogThrottle(clock);
  }

  /** Logs the stack: an internal error is a bug, and its report needs the stack. */
  internalError(loop: string, error: unknown): void {
    this.#metrics.internalErrors.inc();
    const stack = error instanceof Error ? error.stack : undefined;
    this.#seldom.log(`${loop} ${messageOf(error)}`, () =>
      this.#log.error(
        { event: 'internal_error', loop, error: messageOf(error), stack },
        'unexpected error, a bug in the relay; retrying. Report this log line',
      ),
    );
  }

  quarantineDepth(entries: number, recorded: number): void {
    this.#metrics.quarantineEntries.set(entries);
    this.#metrics.quarantined.reset();
    this.#metrics.quarantined.inc(recorded);
  }

  quarantined({ id, key, kind, name, bytes, reason }: QuarantinedEntry): void {
    this.#log.error(
      {
        event: 'quarantined',
        id,
        redis_key: printable(key),
        kind: printable(kind),
        name: printableBytes(name),
        bytes,
        reason: printable(reason),
      },
      'moved an entry of the state to the quarantine, as no relay has written it. Find the client that writes ' +
        `to this key; run expiry-relay quarantine show ${id}`,
    );
  }

  moreQuarantined(count: number): void {
    this.#log.error(
      { event: 'quarantined', count },
      'moved more entries of the state to the quarantine, as no relay has written them. Run expiry-relay ' +
        'quarantine list',
    );
  }

  /** Logs all findings about the server; a finding that stands is not repeated. */
  server(address: string, findings: readonly ServerFinding[]): void {
    this.#findings.log(address, findings);
  }

  failed(operation: StateOperation): void {
    this.#metrics.stateErrors.inc({ operation });
  }

  unavailable(operation: StateOperation, error: RelayError): void {
    this.#log.error(
      { event: 'state_unavailable', operation, error: error.message },
      'state Redis unavailable; retrying',
    );
  }

  availableAgain(afterMs: number): void {
    this.#log.info(
      { event: 'state_recovered', after_ms: Math.round(afterMs) },
      'state Redis available again',
    );
  }

  credentialsUnusable(reason: string): void {
    this.#log.warn(
      { event: 'redis_credentials_unusable', reason },
      'cannot reload the password or certificate for the state Redis; using the previous one. Fix the file',
    );
  }

  dataLost(address: string): void {
    this.#log.error(
      { event: 'state_lost', redis: address },
      'the state Redis lost its data, by a restart without persistence or a flush; pending webhooks are lost. ' +
        'Set appendonly yes',
    );
  }
}
