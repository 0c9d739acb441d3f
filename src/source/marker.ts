/**
 * A permanent key in every watched database that contains the database's number. While it exists, the database was
 * neither emptied nor replaced: a flush publishes no events, and looks like a million expirations.
 */
import type { Redis } from 'ioredis';
import { isReply } from '../redis/refusal.js';

/** The end of its key. */
export const MARKER = 'marker';

export class Marker {
  readonly #redis: Redis;
  readonly #keyOf: () => string;

  /**
   * `redis` is a connection whose database no other code selects in between. The key may change: it is in a slot that the
   * server has.
   */
  constructor(redis: Redis, keyOf: () => string) {
    this.#redis = redis;
    this.#keyOf = keyOf;
  }

  get key(): string {
    return this.#keyOf();
  }

  /**
   * Whether the marker exists; also true when the relay has no permission to write it, since nothing is known then.
   * Resolves only when writes are executed: while CLIENT PAUSE blocks them, keys seem missing that have not expired.
   * Rejects when the connection fails.
   */
  async exists(database: number): Promise<boolean> {
    const { key } = this;
    const value = String(database);
    const replies = await this.#redis
      .pipeline()
      .select(database)
      .get(key)
      .set(key, value, 'XX')
      .exec();
    const [, found, written] = replies ?? [];
    const refusal = found?.[0] ?? written?.[0];
    if (refusal) return this.#acceptRefusal(refusal);
    // A value that is not a number comes from another client, and was just overwritten.
    if (typeof found?.[1] === 'string' && !/^\d+$/.test(found[1])) return true;
    return found?.[1] === value;
  }

  async write(database: number): Promise<void> {
    const value = String(database);
    const replies = await this.#redis.pipeline().select(database).set(this.key, value).exec();
    const refusal = replies?.[1]?.[0];
    if (refusal) this.#acceptRefusal(refusal);
  }

  #acceptRefusal(refusal: Error): true {
    if (!isReply(refusal) || this.#redis.status !== 'ready') throw refusal;
    return true;
  }
}
