/**
 * A connection of a session on which keys are read. No notification arrives on it, so one that ends
 * is opened again, to the same server, without a gap.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';
import type { RelayError } from '../model/errors.js';
import { disconnect, PING_EVERY_MS, type RedisConnection } from '../redis/connect.js';
import { isReply } from '../redis/refusal.js';

/** A connection that ends sooner than this after it was opened again is not opened once more. */
const LASTS_MS_MIN = 1_000;

export interface CommandRunner {
  /**
   * Runs commands. `step` rejects with what Redis answers, or with how the connection fails; then it
   * runs once more on the next connection, so it must be harmless to repeat.
   */
  run<Result>(step: (redis: Redis) => Promise<Result>): Promise<Result>;
}

export interface ReconnectingParts {
  /** Opens a connection to the server of the session; rejects with a RelayError when it cannot. */
  readonly open: () => Promise<RedisConnection>;
  /** Called with why the last connection ended, when it has been opened again. */
  readonly onReopened: (error: RelayError) => void;
  readonly clock: Clock;
  readonly closing: AbortSignal;
}

export class ReconnectingConnection implements CommandRunner {
  readonly #parts: ReconnectingParts;
  #current: RedisConnection;
  /** Settles when the connection that ended last is replaced, or cannot be. */
  #replaced: Promise<unknown> = Promise.resolve();
  /** Resolves, once, with why the connection ended and could not be opened again. Never rejects. */
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
    // It has ended, or is about to.
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
 * Sends a PING every few seconds, until the connection ends: servers and proxies close idle
 * connections, and a peer that is gone is noticed by the missing answer.
 */
export async function keepAlive({ redis, ended }: RedisConnection, clock: Clock): Promise<void> {
  const over = new AbortController();
  void ended.then(() => over.abort());
  while (!over.signal.aborted) {
    await clock.sleep(PING_EVERY_MS, over.signal);
    // A failed ping ends the connection, which says why.
    if (!over.signal.aborted) await redis.ping().catch(() => undefined);
  }
}
