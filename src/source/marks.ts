/**
 * Marks in the sequence of notifications: the relay's own keys, which expire at once. Every replica receives each mark
 * at the same place among the notifications of other keys.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';

/** The TTL of a mark's key, in milliseconds: the shortest one possible. */
const LIFE_MS = 1;

/** Redis expires a key when now is strictly later than the deadline. */
const NUDGE_EVERY_MS = LIFE_MS + 1;

/** A key that still exists after these nudges is left to Redis's active expiry. */
const NUDGES_MAX = 5;

/** Characters of a server's run_id that a mark holds: enough to distinguish it from the server before it. */
const RUN_CHARS = 8;

export class Marks {
  readonly #redis: Redis;
  readonly #database: number;
  readonly #clock: Clock;
  readonly #prefix: Buffer;
  readonly #run: string;

  /**
   * The keys begin with `ownPrefix`. A promoted server may publish marks of the primary before it, which do not belong
   * to its own sequence: `runId` distinguishes them, unless the server hides it.
   */
  constructor(
    redis: Redis,
    database: number,
    clock: Clock,
    ownPrefix: string,
    runId: string | null,
  ) {
    this.#redis = redis;
    this.#database = database;
    this.#clock = clock;
    this.#run = `${(runId ?? '').slice(0, RUN_CHARS)}.`;
    this.#prefix = Buffer.from(`${ownPrefix}mark:`);
  }

  /** The mark of an expired key; null if the key is not a mark of this server. */
  of(key: Buffer): string | null {
    if (!key.subarray(0, this.#prefix.length).equals(this.#prefix)) return null;
    const mark = key.subarray(this.#prefix.length).toString();
    return this.isOfServer(mark) ? mark : null;
  }

  /** Whether a mark, or a name that refers to one, belongs to this server's sequence. */
  isOfServer(name: string): boolean {
    return name.startsWith(this.#run);
  }

  /**
   * Writes the mark of this number. Resolves with the mark once Redis has expired its key, or will; null if Redis
   * refuses the write. Rejects if the connection fails.
   */
  async write(number: string): Promise<string | null> {
    const mark = `${this.#run}${number}`;
    const key = `${this.#prefix}${mark}`;
    const set = this.#redis.pipeline().select(this.#database).set(key, '', 'PX', LIFE_MS);
    if ((await set.exec())?.some(([error]) => error !== null)) return null;
    for (let nudges = 0; nudges < NUDGES_MAX; nudges += 1) {
      await this.#clock.sleep(NUDGE_EVERY_MS);
      const found = await this.#redis.pipeline().select(this.#database).exists(key).exec();
      if (found?.[1]?.[1] !== 1) break;
    }
    return mark;
  }
}
