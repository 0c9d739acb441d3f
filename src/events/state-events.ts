/** What happens between the relay and the Redis that holds its state. */
import type { Logger } from 'pino';
import type { RelayError } from '../errors.js';
import type { Metrics } from '../metrics.js';
import type { ServerFinding } from '../server/finding.js';
import type { StateOperation } from '../state/health.js';
import { FindingLog } from './finding-log.js';

export class StateEvents {
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
    this.#findings.say(address, findings);
  }

  failed(operation: StateOperation): void {
    this.#metrics.stateErrors.inc({ operation });
  }

  troubleBegan(operation: StateOperation, error: RelayError): void {
    this.#log.error(
      { event: 'state_trouble', operation, error: error.message },
      'the state Redis is unavailable or refuses a command; the relay waits for it',
    );
  }

  troubleEnded(afterMs: number): void {
    this.#log.info(
      { event: 'state_recovered', after_ms: Math.round(afterMs) },
      'the state Redis works again',
    );
  }

  credentialsUnusable(problem: string): void {
    this.#log.warn(
      { event: 'redis_credentials_unusable', problem },
      'cannot load the password or a certificate for the state Redis; using the last valid one',
    );
  }

  dataLost(address: string): void {
    this.#log.error(
      { event: 'state_lost', redis: address },
      'the state Redis has lost its data (a restart without persistence, a flush): webhooks that ' +
        'waited there are gone',
    );
  }
}
