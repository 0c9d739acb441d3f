/** Events of reloads of the configuration. */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.js';
import type { Endpoint } from '../model/endpoint.js';
import type { ReloadTrigger } from '../model/reload.js';
import { publicKeysOf } from '../signing/sign.js';
import type { Metrics } from './metrics.js';

export class ReloadEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #clock: Clock;
  /** The mistakes that were logged last; null once a reload succeeded. */
  #failure: string | null = null;

  constructor(log: Logger, metrics: Metrics, clock: Clock) {
    this.#log = log;
    this.#metrics = metrics;
    this.#clock = clock;
    this.#succeed();
  }

  /** `keys`: what has changed. */
  applied(trigger: ReloadTrigger, keys: readonly string[]): void {
    this.#failure = null;
    this.#succeed();
    this.#log.info(
      { event: 'config_reloaded', trigger, changed: keys },
      keys.length === 0
        ? 'read the configuration again; nothing has changed'
        : 'configuration reloaded',
    );
  }

  /** The configuration is invalid. A file that cannot be read is tried again and again, and logged once. */
  failed(trigger: ReloadTrigger, mistakes: readonly string[]): void {
    this.#metrics.configLastReloadSuccessful.set(0);
    const failure = mistakes.join('\n');
    const isRepeated = trigger === 'file' && failure === this.#failure;
    this.#failure = failure;
    if (isRepeated) return;
    this.#log.error(
      { event: 'config_reload_failed', trigger, mistakes },
      'cannot reload the configuration; using the previous one. Correct the listed mistakes',
    );
  }

  /** The configuration is valid, but `keys` cannot be changed while the relay runs. */
  restartRequired(trigger: ReloadTrigger, keys: readonly string[]): void {
    this.#metrics.configLastReloadSuccessful.set(0);
    this.#failure = null;
    this.#log.error(
      { event: 'config_restart_required', trigger, changed: keys },
      'restart required: the listed keys cannot be changed while the relay runs; using the previous configuration. ' +
        'Restart the relay, or undo these changes',
    );
  }

  /** Public keys are logged, since receivers need them. */
  credentialsReloaded({ name: endpoint, secrets }: Endpoint): void {
    this.#metrics.credentialsStale.set({ endpoint }, 0);
    const line = { event: 'credentials_reloaded', endpoint };
    const publicKeys = publicKeysOf(secrets);
    this.#log.info(
      publicKeys.length === 0 ? line : { ...line, public_keys: publicKeys },
      'credentials reloaded',
    );
  }

  /** Called once, until the files are valid again. */
  credentialsUnusable(endpoint: string, reason: string): void {
    this.#metrics.credentialsStale.set({ endpoint }, 1);
    this.#log.error(
      { event: 'credentials_unusable', endpoint, reason },
      'cannot reload the credentials of the endpoint; using the previous ones. Fix the file',
    );
  }

  #succeed(): void {
    this.#metrics.configLastReloadSuccessful.set(1);
    this.#metrics.configLastReloadTimestamp.set(this.#clock.nowMs() / 1000);
  }
}
