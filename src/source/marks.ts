/**
 * Marks in the sequence of notifications: keys of the relay's own that expire at once. Every replica hears each of
 * them at the same place among the expirations of other keys.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';

/** The shortest life that there is. */
const LIFE_MS = 1;

/** Redis expires a key when now is strictly later than the deadline. */
const NUDGE_EVERY_MS = LIFE_MS + 1;

/** A key that is still there then expires by itself. */
const NUDGES_MAX = 5;

/** Enough of a server's run_id to tell it from the one before. */
const RUN_CHARS = 8;

export class Marks {
  readonly #redis: Redis;
  readonly #database: number;
  readonly #clock: Clock;
  readonly #prefix: Buffer;
  readonly #run: string;

  /**
   * Its keys begin with `ownPrefix`. A server that was promoted may have the marks of the one before, which are none
   * in its own sequence: `runId` tells them apart.
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

  /** The mark that a key which expired stands for; null for every other key. */
  of(key: Buffer): string | null {
    if (!key.subarray(0, this.#prefix.length).equals(this.#prefix)) return null;
    const mark = key.subarray(this.#prefix.length).toString();
    return this.isOfServer(mark) ? mark : null;
  }

  /** Whether a mark, or the name of an expiration by its mark, belongs to this server's sequence. */
  isOfServer(name: string): boolean {
    return name.startsWith(this.#run);
  }

  /**
   * Writes the mark of this number, and resolves with it when Redis has had it expire, or will; null where it must not
   * be written. Rejects when the connection does.
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
