/**
 * A session's connection for reading keys. No notification arrives on it: when it ends, it is reopened to the same
 * server without a gap.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';
import type { RelayError } from '../model/errors.js';
import { disconnect, PING_EVERY_MS, type RedisConnection } from '../redis/connect.js';
import { isReply } from '../redis/refusal.js';

/** A reopened connection that ends sooner than this is not reopened again. */
const LASTS_MS_MIN = 1_000;

export interface CommandRunner {
  /**
   * Runs commands. `step` rejects with an error reply, or because the connection fails; in the second case it is
   * repeated on the next connection, so it must be idempotent.
   */
  run<Result>(step: (redis: Redis) => Promise<Result>): Promise<Result>;
}

export interface ReconnectingParts {
  /** Opens a connection to the session's server; rejects with a RelayError. */
  readonly open: () => Promise<RedisConnection>;
  /** Called after reopening, with the reason why the last connection ended. */
  readonly onReopened: (error: RelayError) => void;
  readonly clock: Clock;
  readonly closing: AbortSignal;
}

export class ReconnectingConnection implements CommandRunner {
  readonly #parts: ReconnectingParts;
  #current: RedisConnection;
  /** Settles when the last ended connection is replaced, or cannot be. */
  #replaced: Promise<unknown> = Promise.resolve();
  /** Resolves once, with the reason why the connection ended and could not be reopened. Never rejects. */
  readonly ended: Promise<RelayError>;

  private constructor(first: RedisConnection, parts: ReconnectingParts) {
    this.#parts = parts;
    this.#current = first;
    this.ended = this.#keepOpen();
  }

  static async open(parts: ReconnectingParts): Promise<ReconnectingConnection> {
    return new ReconnectingConnection(await parts.open(), parts);
  }

  async run<Result>(step: (redis: Redis) => Promise<Result>): Promise<Result> {
    const before = this.#current;
    try {
      return await step(before.redis);
    } catch (error) {
      if (isReply(error)) throw error;
    }
    // The connection has ended, or is about to.
    disconnect(before.redis);
    await before.ended;
    await this.#replaced;
    return step(this.#current.redis);
  }

  async #keepOpen(): Promise<RelayError> {
    const { open, onReopened, clock, closing } = this.#parts;
    for (let reopenedAtMs = Number.NEGATIVE_INFINITY; ; reopenedAtMs = clock.monotonicMs()) {
      void keepAlive(this.#current, clock);
      const error = await this.#current.ended;
      const isShort = clock.monotonicMs() - reopenedAtMs < LASTS_MS_MIN;
      const replacing = isShort || closing.aborted ? Promise.reject(error) : open();
      this.#replaced = replacing;
      try {
        this.#current = await replacing;
      } catch (thrown) {
        return thrown as RelayError;
      }
      onReopened(error);
    }
  }
}

/**
 * Sends a PING every few seconds until the connection ends: servers and proxies close idle connections, and a missing
 * reply reveals a lost peer.
 */
export async function keepAlive({ redis, ended }: RedisConnection, clock: Clock): Promise<void> {
  const over = new AbortController();
  void ended.then(() => over.abort());
  while (!over.signal.aborted) {
    await clock.sleep(PING_EVERY_MS, over.signal);
    // A failed PING ends the connection, whose end reports the reason.
    if (!over.signal.aborted) await redis.ping().catch(() => undefined);
  }
}
