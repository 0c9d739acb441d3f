/** Events of the relay process. */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.js';
import { placeText } from '../lib/http-server.js';
import type { Endpoint } from '../model/endpoint.js';
import { messageOf } from '../model/errors.js';
import type { LogLevel } from '../model/log-settings.js';
import type { ListenAddress, Settings, StateSettings } from '../model/vocabulary.js';
import { addressOf } from '../redis/client.js';
import { publicKeysOf } from '../signing/sign.js';
import { LogThrottle } from './log-throttle.js';
import { isPasswordUnused, type ProcessReport, reportText } from './process-reports.js';

export class RelayEvents {
  readonly #log: Logger;
  readonly #seldom: LogThrottle;

  constructor(log: Logger, clock: Clock) {
    this.#log = log;
    this.#seldom = new LogThrottle(clock);
  }

  starting(version: string, file: string, settings: Settings, admin: ListenAddress): void {
    const { endpoints, routes } = settings;
    this.#log.info(
      {
        event: 'starting',
        version,
        file,
        routes: routes.length,
        endpoints: endpoints.size,
        admin: placeText(admin),
        state: stateText(settings.state),
      },
      'starting expiry-relay',
    );
    if (settings.state.kind === 'memory') this.#stateInMemory();
    for (const endpoint of endpoints.values()) this.signing(endpoint);
  }

  /** Sets the minimum level of log lines. */
  setLevel(level: LogLevel): void {
    this.#log.level = level;
  }

  /** The relay listens to Redis, and the state can be used. */
  started(): void {
    this.#log.info({ event: 'started' }, 'expiry-relay started');
  }

  /** Attempts may be prevented if the limit of open files is too low. */
  fewOpenFiles(found: string, advice: string): void {
    this.#log.warn({ event: 'few_open_files' }, `open files: ${found}; ${advice}`);
  }

  /** Other machines can reach the admin port, and its API has no credentials. */
  apiClosed(): void {
    this.#log.warn(
      { event: 'api_closed' },
      'the API of the admin port is closed (403): other machines can reach the port, and the API has no credentials. Set ' +
        'admin.page.username and admin.page.password_file, or admin.page.enabled: false',
    );
  }

  /** The admin port could not accept a connection. */
  connectionNotAccepted(error: Error): void {
    this.#seldom.log('not accepted', () =>
      this.#log.warn(
        { event: 'admin_accept_failed', error: messageOf(error) },
        'the admin port cannot accept a connection; still listening. Check the memory and the open files of this ' +
          'machine',
      ),
    );
  }

  /** How webhooks to the endpoint are signed, if operators must know. */
  signing({ name: endpoint, secrets }: Endpoint): void {
    if (secrets.length === 0) {
      const line = { event: 'endpoint_unsigned', endpoint };
      this.#log.warn(
        line,
        'webhooks to this endpoint are not signed (secrets: none). Set secrets to sign them',
      );
    }
    const publicKeys = publicKeysOf(secrets);
    if (publicKeys.length === 0) return;
    this.#log.info(
      { event: 'public_keys', endpoint, public_keys: publicKeys },
      'public keys to verify the signatures of this endpoint',
    );
  }

  #stateInMemory(): void {
    this.#log.warn(
      { event: 'state_in_memory' },
      'state is kept in memory; pending deliveries are lost when the process ends, and expirations are missed ' +
        'while it does not run. Set state.kind: redis to prevent both',
    );
  }

  /** The start takes longer than usual. `checks` holds the checks of `/readyz`. */
  waiting(checks: readonly { readonly name: string; readonly problem: string | null }[]): void {
    const failed = checks.filter(
      ({ problem }, at) =>
        problem !== null && checks.findIndex((c) => c.problem === problem) === at,
    );
    this.#log.info(
      { event: 'waiting', checks: failed.map(({ name, problem }) => `${name}: ${problem}`) },
      'not ready after 1 s; waiting for the listed checks',
    );
  }

  /** The relay cannot start. */
  failed(error: unknown): void {
    this.#log.fatal({ event: 'start_failed', error: messageOf(error) }, 'cannot start; exiting');
  }

  /** Log lines before this one were lost. */
  logLinesLost(lines: number, reason: string): void {
    this.#log.warn(
      { event: 'log_lines_lost', lines, reason },
      'log lines were lost; writing again. Check the disk, and the reader of standard output',
    );
  }

  processReported(report: ProcessReport): void {
    const text = reportText(report);
    switch (report.kind) {
      case 'ignored':
        this.#log.warn({ event: 'signal_ignored', signal: report.signal }, text);
        return;
      case 'warning':
        if (isPasswordUnused(report)) this.#log.warn({ event: 'redis_password_unused' }, text);
        else this.#log.warn({ event: 'process_warning', name: report.name }, text);
        return;
      case 'cut off':
        this.#log.error({ event: 'cut_off', signal: report.signal }, text);
        return;
      case 'crashed':
        this.#log.fatal({ event: 'crashed' }, text);
        return;
    }
  }

  stopping(reason: string, graceMs: number): void {
    this.#log.info(
      { event: 'stopping', reason, grace_ms: graceMs },
      'stopping; finishing attempts within the grace period',
    );
  }

  stopped(undelivered: number): void {
    const line = { event: 'stopped', undelivered };
    if (undelivered === 0) this.#log.info(line, 'stopped');
    else
      this.#log.error(
        line,
        'stopped; undelivered webhooks in memory are lost. Set state.kind: redis to keep them',
      );
  }

  cleanUpFailed(name: string, error: unknown): void {
    this.#log.error(
      { event: 'clean_up_failed', name, error: messageOf(error) },
      'a step of the shutdown failed; continuing',
    );
  }
}

/** The location of the state, without a login. */
function stateText(state: StateSettings): string {
  if (state.kind === 'memory') return 'memory';
  const { redis, database, prefix } = state;
  const separator = redis.sentinel === null ? '/' : ', database ';
  return `${addressOf(redis)}${separator}${database} {${prefix}}`;
}
