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
        'an unexpected error, which is a bug in the relay: trying again. Please report it with this line',
      ),
    );
  }

  quarantineDepth(entries: number, recorded: number): void {
    this.#metrics.quarantineEntries.set(entries);
    this.#metrics.quarantined.reset();
    this.#metrics.quarantined.inc(recorded);
  }

  quarantined({ id, key, kind, name, bytes, why }: QuarantinedEntry): void {
    this.#log.error(
      {
        event: 'quarantined',
        id,
        redis_key: printable(key),
        kind: printable(kind),
        name: printableBytes(name),
        bytes,
        why: printable(why),
      },
      'moved an entry that no relay has written to the quarantine of the state; the rest of the state is used ' +
        'as before. Show it with "expiry-relay quarantine show", and find out what else writes to this key',
    );
  }

  moreQuarantined(count: number): void {
    this.#log.error(
      { event: 'quarantined', count },
      'more entries that no relay has written are in the quarantine of the state. List them with ' +
        '"expiry-relay quarantine list"',
    );
  }

  /** Logs all findings about the server; a finding that stands is not repeated. */
  server(address: string, findings: readonly ServerFinding[]): void {
    this.#findings.log(address, findings);
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
