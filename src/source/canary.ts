/**
 * Proves that notifications flow on a connection: a key with a short life is written, touched just
 * after its deadline, and must be heard to expire. No setting is trusted instead, since a server
 * can hide its settings, lose them, or lose the connection without a word.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../clock.js';
import { printable } from '../printable.js';

/** Every key of the relay's own begins so; none of them is ever matched by a route. */
export const OWN_KEY_PREFIX = '{expiry-relay}:';

/** The canary key's life. */
const CANARY_LIFE_MS = 50;

/** Redis expires a key when now is strictly later than the deadline. */
const NUDGE_AFTER_MS = CANARY_LIFE_MS + 2;

/** How long an expiration may take to be heard, counted from the last notification of any key. */
const HEARD_WITHIN_MS = 5_000;

const LOOK_AGAIN_MS = 25;

export type CanaryResult =
  | { readonly kind: 'heard'; readonly lagMs: number }
  | { readonly kind: 'lost' }
  /** The server does not let us write, so there is nothing to hear. */
  | { readonly kind: 'unwritable'; readonly reason: string }
  /** The server has fewer databases. */
  | { readonly kind: 'no_database' };

export class Canary {
  readonly #redis: Redis;
  readonly #clock: Clock;
  readonly #key: Buffer;
  #heardAtMs: number | null = null;
  #lastNotificationAtMs = 0;

  /** `token` tells this connection's canary from every other's. */
  constructor(redis: Redis, clock: Clock, token: string) {
    this.#redis = redis;
    this.#clock = clock;
    this.#key = Buffer.from(`${OWN_KEY_PREFIX}canary:${token}`);
  }

  /** To be told of every notification, so that a server busy with others' keys is given time. */
  notified(key: Buffer): void {
    this.#lastNotificationAtMs = this.#clock.monotonicMs();
    if (this.#key.equals(key)) this.#heardAtMs = this.#lastNotificationAtMs;
  }

  /**
   * One proof in one database. Rejects only when the connection does. Not to be called again
   * before the last call has ended.
   */
  async prove(database: number, signal: AbortSignal): Promise<CanaryResult> {
    const redis = this.#redis;
    const clock = this.#clock;
    this.#heardAtMs = null;
    const replies = await redis
      .pipeline()
      .select(database)
      .set(this.#key, '', 'PX', CANARY_LIFE_MS)
      .exec();
    const refusal = replies?.find(([error]) => error !== null)?.[0];
    if (refusal) {
      if (redis.status !== 'ready' || refusal.message.startsWith('READONLY')) throw refusal;
      if (/DB index is out of range/i.test(refusal.message)) return { kind: 'no_database' };
      return { kind: 'unwritable', reason: printable(refusal.message) };
    }
    const writtenAtMs = clock.monotonicMs();
    await clock.sleep(NUDGE_AFTER_MS, signal);
    while (!signal.aborted) {
      await redis.pipeline().select(database).exists(this.#key).exec();
      if (this.#heardAtMs !== null) {
        return {
          kind: 'heard',
          lagMs: Math.max(0, this.#heardAtMs - writtenAtMs - CANARY_LIFE_MS),
        };
      }
      const quietSinceMs = Math.max(writtenAtMs, this.#lastNotificationAtMs);
      if (clock.monotonicMs() - quietSinceMs > HEARD_WITHIN_MS) break;
      await clock.sleep(LOOK_AGAIN_MS, signal);
    }
    return { kind: 'lost' };
  }
}
