/** The dead letters of the outbox in Redis: also for the command line, beside running replicas. */
import { endpointKeys, endpointsKey, replicasKey, signsOfLife } from '../state/format.js';
import { goneByEndpoint } from '../state/gone.js';
import type { RedisState } from '../state/redis-state.js';
import type { DeadLetter } from '../vocabulary.js';
import type { DeadLetters } from './outbox.js';
import type { OutboxScripts } from './scripts/scripts.js';
import { goneRows, readableLetters, storedEndpoints } from './stored-letters.js';

/** Read together: their bodies are in memory at the same time. */
const PAGE = 100;

/** A dead letter that one script forgets is a few microseconds' work for Redis. */
const EXPIRE_BATCH = 500;

/** Where a dead letter lies, before it is read. */
interface Place {
  readonly endpoint: string;
  readonly id: string;
  readonly diedAtMs: number;
}

export class RedisDeadLetters implements DeadLetters {
  readonly #state: RedisState;
  readonly #scripts: OutboxScripts;
  readonly #onReplayed: (endpoint: string) => void;

  /** `onReplayed` is told of each endpoint that has something ready again. */
  constructor(
    state: RedisState,
    scripts: OutboxScripts,
    onReplayed: (endpoint: string) => void = () => undefined,
  ) {
    this.#state = state;
    this.#scripts = scripts;
    this.#onReplayed = onReplayed;
  }

  async *list(endpoint: string): AsyncGenerator<DeadLetter> {
    for await (const page of this.pages([endpoint])) yield* page;
  }

  /**
   * Those of several endpoints, of `ids` alone when these are given, oldest first among all. What
   * is replayed or dropped while pages are read is left out; what dies meanwhile is, too.
   */
  async *pages(
    endpoints: readonly string[],
    ids: readonly string[] | null = null,
  ): AsyncGenerator<readonly DeadLetter[]> {
    // All places at once: while pages are read, those before them may be replayed or dropped.
    const places: Place[] = [];
    for (const endpoint of endpoints) {
      const found = ids === null ? this.#allPlaces(endpoint) : this.#placesOf(endpoint, ids);
      for (const place of await found) places.push(place);
    }
    places.sort((one, other) => one.diedAtMs - other.diedAtMs);
    for (let from = 0; from < places.length; from += PAGE) {
      yield await this.#read(places.slice(from, from + PAGE));
    }
  }

  /** Null when there is no such dead letter. */
  async find(endpoint: string, id: string): Promise<DeadLetter | null> {
    const { redis } = this.#state;
    const { dead } = this.#keys(endpoint);
    const packed = await this.#state.run('dead_letters', () => redis.hgetBuffer(dead, id));
    const [letter] = await readableLetters(this.#state, endpoint, [id], [packed]);
    return letter ?? null;
  }

  /** Who sends it again has mended the endpoint: a pause of that is over. False: there is none. */
  async replay(endpoint: string, id: string): Promise<boolean> {
    const { dead, deadOrder, deliveries, ready, breaker } = this.#keys(endpoint);
    const keys = [dead, deadOrder, deliveries, ready, breaker];
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
    return storedEndpoints(this.#state);
  }

  /** The endpoints that a running replica has: what is replayed to any other dies again. */
  async runningEndpoints(): Promise<ReadonlySet<string>> {
    const { redis, prefix } = this.#state;
    const { fromMs, untilMs } = signsOfLife(await this.nowMs());
    const key = endpointsKey(prefix);
    return new Set(
      await this.#state.run('dead_letters', () => redis.zrangebyscore(key, fromMs, untilMs)),
    );
  }

  /**
   * The endpoints that have answered 410 to replicas that live, each with where these are: what is
   * replayed to it dies again.
   */
  async goneEndpoints(): Promise<ReadonlyMap<string, readonly string[]>> {
    const { redis, prefix } = this.#state;
    const { fromMs, untilMs } = signsOfLife(await this.nowMs());
    const living = await this.#state.run('dead_letters', () =>
      redis.zrangebyscore(replicasKey(prefix), fromMs, untilMs),
    );
    return goneByEndpoint(await goneRows(this.#state), living);
  }

  /** The number of an endpoint's deliveries that are neither done nor dead. */
  async pending(endpoint: string): Promise<number> {
    const { redis } = this.#state;
    return this.#state.run('dead_letters', () => redis.hlen(this.#keys(endpoint).deliveries));
  }

  /** By the clock that letters are stamped by: that of the state Redis. */
  async nowMs(): Promise<number> {
    const time = await this.#state.run('dead_letters', () => this.#state.redis.time());
    const [seconds = 0, micros = 0] = time.map(Number);
    return seconds * 1_000 + Math.floor(micros / 1_000);
  }

  async #allPlaces(endpoint: string): Promise<Place[]> {
    const { redis } = this.#state;
    const { deadOrder } = this.#keys(endpoint);
    const words = await this.#state.run('dead_letters', () =>
      redis.zrange(deadOrder, 0, '-1', 'WITHSCORES'),
    );
    return Array.from({ length: words.length / 2 }, (_, at) => ({
      endpoint,
      id: String(words[at * 2]),
      diedAtMs: Number(words[at * 2 + 1]),
    }));
  }

  async #placesOf(endpoint: string, ids: readonly string[]): Promise<Place[]> {
    const { redis } = this.#state;
    const { deadOrder } = this.#keys(endpoint);
    const scores = await this.#state.run('dead_letters', () => redis.zmscore(deadOrder, ...ids));
    return ids.flatMap((id, at) => {
      const diedAtMs = scores[at] ?? null;
      return diedAtMs === null ? [] : [{ endpoint, id, diedAtMs: Number(diedAtMs) }];
    });
  }

  async #read(places: readonly Place[]): Promise<readonly DeadLetter[]> {
    const { redis } = this.#state;
    const letters: DeadLetter[] = [];
    for (const endpoint of new Set(places.map((place) => place.endpoint))) {
      const ids = places.filter((place) => place.endpoint === endpoint).map(({ id }) => id);
      const { dead } = this.#keys(endpoint);
      const packed = await this.#state.run('dead_letters', () => redis.hmgetBuffer(dead, ...ids));
      letters.push(...(await readableLetters(this.#state, endpoint, ids, packed)));
    }
    return letters.sort((one, other) => one.diedAtMs - other.diedAtMs);
  }

  #keys(endpoint: string) {
    return endpointKeys(this.#state.prefix, endpoint);
  }
}
