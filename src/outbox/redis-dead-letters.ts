/** The dead letters of the outbox in Redis: also for the command line, beside running replicas. */
import { endpointKeys, endpointsKey, unpackDeadLetter } from '../state/format.js';
import type { RedisState } from '../state/redis-state.js';
import type { DeadLetter } from '../vocabulary.js';
import type { DeadLetters } from './outbox.js';
import type { Scripts } from './scripts/scripts.js';

/** Read together: their bodies are in memory at the same time. */
const PAGE = 100;

/** A dead letter that one script forgets is a few microseconds' work for Redis. */
const EXPIRE_BATCH = 500;

export class RedisDeadLetters implements DeadLetters {
  readonly #state: RedisState;
  readonly #scripts: Scripts;
  readonly #onReplayed: (endpoint: string) => void;

  /** `onReplayed` is told of each endpoint that has something ready again. */
  constructor(
    state: RedisState,
    scripts: Scripts,
    onReplayed: (endpoint: string) => void = () => undefined,
  ) {
    this.#state = state;
    this.#scripts = scripts;
    this.#onReplayed = onReplayed;
  }

  async *list(endpoint: string): AsyncGenerator<DeadLetter> {
    const { redis } = this.#state;
    const { dead, deadOrder } = this.#keys(endpoint);
    // All ids at once: while pages are read, those before them may be replayed or dropped.
    const ids = await this.#state.run('dead_letters', () => redis.zrange(deadOrder, 0, '-1'));
    for (let from = 0; from < ids.length; from += PAGE) {
      const page = ids.slice(from, from + PAGE);
      const letters = await this.#state.run('dead_letters', () => redis.hmgetBuffer(dead, ...page));
      yield* letters.filter((packed) => packed !== null).map(unpackDeadLetter);
    }
  }

  /** Null when there is no such dead letter. */
  async find(endpoint: string, id: string): Promise<DeadLetter | null> {
    const { redis } = this.#state;
    const { dead } = this.#keys(endpoint);
    const packed = await this.#state.run('dead_letters', () => redis.hgetBuffer(dead, id));
    return packed === null ? null : unpackDeadLetter(packed);
  }

  async replay(endpoint: string, id: string): Promise<boolean> {
    const { dead, deadOrder, deliveries, ready } = this.#keys(endpoint);
    const keys = [dead, deadOrder, deliveries, ready];
    const count = await this.#state.run('dead_letters', () => this.#scripts.replay(keys, [id]));
    this.#onReplayed(endpoint);
    return count === 1;
  }

  async drop(endpoint: string, id: string): Promise<boolean> {
    const { dead, deadOrder } = this.#keys(endpoint);
    return (
      (await this.#state.run('dead_letters', () => this.#scripts.drop([dead, deadOrder], [id]))) ===
      1
    );
  }

  /** Forgets those that died longer ago. Resolves with how many. */
  async expire(endpoint: string, keepMs: number): Promise<number> {
    const { dead, deadOrder } = this.#keys(endpoint);
    let expired = 0;
    for (;;) {
      const batch = Number(
        await this.#state.run('upkeep', () =>
          this.#scripts.expireDead([dead, deadOrder], [keepMs, EXPIRE_BATCH]),
        ),
      );
      expired += batch;
      if (batch < EXPIRE_BATCH) return expired;
    }
  }

  /** Every endpoint that has something here, or that a running replica has. */
  async endpoints(): Promise<string[]> {
    const { redis, prefix } = this.#state;
    return this.#state.run('dead_letters', () => redis.zrange(endpointsKey(prefix), 0, '-1'));
  }

  #keys(endpoint: string) {
    return endpointKeys(this.#state.prefix, endpoint);
  }
}
