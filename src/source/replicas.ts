/**
 * The replicas of a cluster. CONFIG SET is not replicated: a replica that becomes a primary publishes nothing unless its
 * own notify-keyspace-events is set.
 */
import type { Clock } from '../lib/clock.js';
import { PeriodicLoop } from '../lib/periodic-loop.js';
import { NotificationsOffError } from '../model/errors.js';
import type { RedisSettings } from '../model/vocabulary.js';
import { addressOf } from '../redis/client.js';
import { connect } from '../redis/connect.js';
import type { SourceEvents } from '../telemetry/source-events.js';
import { ensureNotifications, type NotificationEvents } from './notifications.js';
import type { Topology } from './topology.js';

/** A replica that restarts has the setting of its redis.conf again. */
const CHECK_EVERY_MS = 10_000;

const ANSWER_MS_MAX = 1_000;

export interface ReplicasParts {
  readonly topology: Pick<Topology, 'replicas'>;
  readonly events: Pick<SourceEvents, 'notificationsChanged' | 'replicaNotificationsOff'>;
  readonly clock: Clock;
}

export class Replicas {
  readonly #parts: ReplicasParts;
  readonly #loop: PeriodicLoop;
  /** The reported errors, by address, of the replicas that still have them. */
  readonly #errors = new Map<string, string>();

  constructor(parts: ReplicasParts) {
    this.#parts = parts;
    this.#loop = new PeriodicLoop(parts.clock, async () => {
      for (const replica of parts.topology.replicas) await this.#ensure(replica);
      return CHECK_EVERY_MS;
    });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** As for a primary, by `redis.notifications`; a replica that is away is checked again later. Never rejects. */
  async #ensure(replica: RedisSettings): Promise<void> {
    const { events } = this.#parts;
    const address = addressOf(replica);
    const closing = new AbortController();
    const close = () => closing.abort();
    this.#loop.signal.addEventListener('abort', close, { once: true });
    if (this.#loop.signal.aborted) close();
    // Its primary has the same setting in most clusters, which was reported there.
    const reported: NotificationEvents = {
      notificationsChanged: (...change) => events.notificationsChanged(...change),
      notificationsPartial: () => undefined,
      notificationsUnreadable: () => undefined,
    };
    try {
      const given = [
        replica,
        'replica',
        closing.signal,
        'redis',
        undefined,
        ANSWER_MS_MAX,
      ] as const;
      const { redis } = await connect(...given);
      await ensureNotifications(redis, replica, reported);
      this.#errors.delete(address);
    } catch (error) {
      if (!(error instanceof NotificationsOffError)) return;
      if (this.#errors.get(address) === error.message) return;
      this.#errors.set(address, error.message);
      events.replicaNotificationsOff(address, error);
    } finally {
      this.#loop.signal.removeEventListener('abort', close);
      close();
    }
  }
}
