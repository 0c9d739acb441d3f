/**
 * Reads when keys expire, many in one round trip. Reading a key whose deadline has passed makes its
 * primary expire it at once, and say so: that is the nudge.
 */
import type { ChainableCommander, Redis } from 'ioredis';
import { messageOf } from '../errors.js';
import type { KeyInDatabase, KeyReading } from '../vocabulary.js';
import type { ServerClock } from './server-clock.js';

/** A few milliseconds' work for Redis, and bounded memory here. */
const BATCH = 500;

/** What PEXPIRETIME and PTTL answer for a key that is not there, and for one without a deadline. */
const GONE = -2;
const ENDLESS = -1;

export class Keyspace {
  readonly #redis: Redis;
  readonly #serverClock: ServerClock;
  /** What the connection has selected; null: not known for sure. */
  #selected: number | null = null;
  #selections = 0;
  /** Redis 6.2 knows only how long a key has left. */
  #knowsDeadlines = true;

  /** `redis` is a connection whose database nobody else selects. */
  constructor(redis: Redis, serverClock: ServerClock) {
    this.#redis = redis;
    this.#serverClock = serverClock;
  }

  /** In the order of the keys; rejects when the connection does. */
  async read(keys: readonly KeyInDatabase[]): Promise<KeyReading[]> {
    const readings = new Map<KeyInDatabase, KeyReading>();
    for (const database of new Set(keys.map((key) => key.database))) {
      const its = keys.filter((key) => key.database === database);
      for (let from = 0; from < its.length; from += BATCH) {
        const batch = its.slice(from, from + BATCH);
        const read = await this.#readBatch(database, batch);
        for (const [at, reading] of read.entries()) readings.set(batch[at] ?? reading, reading);
      }
    }
    return keys.flatMap((key) => readings.get(key) ?? []);
  }

  async #readBatch(database: number, keys: readonly KeyInDatabase[]): Promise<KeyReading[]> {
    const pipeline = this.#redis.pipeline();
    const selection = this.#selected === database ? null : this.#select(pipeline, database);
    for (const { key } of keys) {
      if (this.#knowsDeadlines) pipeline.pexpiretime(key);
      else pipeline.pttl(key);
    }
    const replies = (await pipeline.exec()) ?? [];
    const refusal = replies.find(([error]) => error !== null)?.[0] ?? null;
    if (refusal !== null) return this.#refused(refusal, database, keys);
    const answers = replies.slice(-keys.length);
    if (selection === this.#selections) this.#selected = database;
    const readAtMs = this.#serverClock.nowMs();
    return keys.map(({ key }, at) => {
      const answer = Number(answers[at]?.[1]);
      const life = answer === GONE ? 'gone' : answer === ENDLESS ? 'endless' : 'until';
      const deadlineMs = this.#knowsDeadlines ? answer : Math.round(readAtMs + answer);
      return { database, key, life, deadlineMs: life === 'until' ? deadlineMs : 0, readAtMs };
    });
  }

  /** Which selection it is. Until it is carried out, whoever comes behind it selects as well. */
  #select(pipeline: Pick<ChainableCommander, 'select'>, database: number): number {
    pipeline.select(database);
    this.#selected = null;
    this.#selections += 1;
    return this.#selections;
  }

  #refused(
    refusal: Error,
    database: number,
    keys: readonly KeyInDatabase[],
  ): Promise<KeyReading[]> {
    this.#selected = null;
    if (!this.#knowsDeadlines || !/unknown command/i.test(messageOf(refusal))) throw refusal;
    this.#knowsDeadlines = false;
    return this.#readBatch(database, keys);
  }
}
