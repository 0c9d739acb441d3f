/**
 * A key that lies in every watched database for ever, and holds its number. As long as it does,
 * nobody has emptied the database or put another in its place: a flush takes all keys without a
 * word, and looks like a million expirations.
 */
import type { Redis } from 'ioredis';
import { isReply } from '../redis/refusal.js';

export class Marker {
  readonly #redis: Redis;
  readonly #key: string;

  /** `redis` is a connection whose database nobody else selects meanwhile. */
  constructor(redis: Redis, key: string) {
    this.#redis = redis;
    this.#key = key;
  }

  /**
   * Whether it is there; also when it may not be written, so that nobody can tell. Resolves only when
   * writes are carried out: while CLIENT PAUSE holds them back, keys seem gone that have not expired.
   * Rejects when the connection does.
   */
  async isThere(database: number): Promise<boolean> {
    const value = String(database);
    const replies = await this.#redis
      .pipeline()
      .select(database)
      .get(this.#key)
      .set(this.#key, value, 'XX')
      .exec();
    const [, found, written] = replies ?? [];
    const refusal = found?.[0] ?? written?.[0];
    if (refusal) return this.#refused(refusal);
    // What is no number no relay has written, and it has just been overwritten.
    if (typeof found?.[1] === 'string' && !/^\d+$/.test(found[1])) return true;
    return found?.[1] === value;
  }

  async write(database: number): Promise<void> {
    const value = String(database);
    const replies = await this.#redis.pipeline().select(database).set(this.#key, value).exec();
    const refusal = replies?.[1]?.[0];
    if (refusal) this.#refused(refusal);
  }

  #refused(refusal: Error): true {
    if (!isReply(refusal) || this.#redis.status !== 'ready') throw refusal;
    return true;
  }
}
