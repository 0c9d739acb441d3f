/** Dead letters of the outbox in Redis; also used by the command line, beside running replicas. */
import type { DeadLetter } from '../model/vocabulary.js';
import { endpointKeys, endpointsKey, replicasKey, signsOfLife } from '../state/format.js';
import { goneByEndpoint } from '../state/gone.js';
import type { Suspect } from '../state/quarantine.js';
import type { RedisState } from '../state/redis-state.js';
import { DeadPlaces, type Place } from './dead-places.js';
import type { DeadLetters } from './outbox.js';
import type { OutboxScripts } from './scripts/scripts.js';
import { goneRows, readableLetters, storedEndpoints } from './stored-letters.js';

/** Dead letters read at a time: their bodies are in memory together. */
const PAGE = 100;

/** Dead letters that one script deletes: a few milliseconds' work for Redis. */
const EXPIRE_BATCH = 200;

export class RedisDeadLetters implements DeadLetters {
  readonly #state: RedisState;
  readonly #scripts: OutboxScripts;
  readonly #places: DeadPlaces;
  readonly #onReplayed: (endpoint: string) => void;

  /** `onReplayed` is called with each endpoint that has a replayed delivery. */
  constructor(
    state: RedisState,
    scripts: OutboxScripts,
    onReplayed: (endpoint: string) => void = () => undefined,
  ) {
    this.#state = state;
    this.#scripts = scripts;
    this.#places = new DeadPlaces(state);
    this.#onReplayed = onReplayed;
  }

  async *list(endpoint: string): AsyncGenerator<DeadLetter> {
    for await (const page of this.pages([endpoint])) yield* page;
  }

  /**
   * Dead letters of several endpoints, oldest first among all; only those in `ids` if given. Letters that are replayed
   * or dropped, or that die, while pages are read are left out.
   */
  async *pages(
    endpoints: readonly string[],
    ids: readonly string[] | null = null,
  ): AsyncGenerator<readonly DeadLetter[]> {
    if (ids === null) {
      for await (const places of this.#places.pages(endpoints, PAGE)) {
        yield await this.#read(places);
      }
      return;
    }
    const places = await this.#places.find(endpoints, ids);
    for (let from = 0; from < places.length; from += PAGE) {
      yield await this.#read(places.slice(from, from + PAGE));
    }
  }

  /** The newest dead letters in order of death, up to `countMax`, which is at most NEWEST_MAX. */
  async newest(endpoints: readonly string[], countMax: number): Promise<readonly DeadLetter[]> {
    const { quarantine } = this.#state;
    for (;;) {
      const { moved } = quarantine;
      const letters = await this.#read(await this.#places.newest(endpoints, countMax));
      // Places moved to the quarantine were counted in place of older letters.
      if (quarantine.moved === moved) return letters;
    }
  }

  /** The number of dead letters per endpoint. */
  async counts(endpoints: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const { redis } = this.#state;
    const counts = await this.#state.run('dead_letters', () =>
      Promise.all(endpoints.map((endpoint) => redis.zcard(this.#keys(endpoint).deadOrder))),
    );
    return new Map(endpoints.map((endpoint, at) => [endpoint, counts[at] ?? 0]));
  }

  /** The number of dead letters per endpoint that lack an entry in `dead-order`, if any; maintenance restores them. */
  async countUnordered(): Promise<ReadonlyMap<string, number>> {
    const { redis } = this.#state;
    const endpoints = await this.endpoints();
    const counts = await this.#state.run('dead_letters', () =>
      Promise.all(
        endpoints.map(async (endpoint) => {
          const { dead, deadOrder } = this.#keys(endpoint);
          const [all, ordered] = await Promise.all([redis.hlen(dead), redis.zcard(deadOrder)]);
          return [endpoint, all - ordered] as const;
        }),
      ),
    );
    return new Map(counts.filter(([, count]) => count > 0));
  }

  /** Null: no such dead letter. */
  async find(endpoint: string, id: string): Promise<DeadLetter | null> {
    const { redis } = this.#state;
    const { dead } = this.#keys(endpoint);
    const packed = await this.#state.run('dead_letters', () => redis.hgetBuffer(dead, id));
    const [letter] = await readableLetters(this.#state, endpoint, [id], [packed]);
    return letter ?? null;
  }

  /** Replays a dead letter, and ends throttling: the operator has fixed the endpoint. False: no such dead letter. */
  async replay(endpoint: string, id: string): Promise<boolean> {
    const { dead, deadOrder, deliveries, ready, throttle, attempts } = this.#keys(endpoint);
    const keys = [dead, deadOrder, deliveries, ready, throttle, attempts];
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

  /** Deletes dead letters older than `keepMs`. Resolves with how many. */
  async expire(endpoint: string, keepMs: number): Promise<number> {
    const { dead, deadOrder } = this.#keys(endpoint);
    let expired = 0;
    for (;;) {
      const batch = Number(
        await this.#state.run('maintenance', () =>
          this.#scripts.expireDead([dead, deadOrder], [keepMs, EXPIRE_BATCH]),
        ),
      );
      expired += batch;
      if (batch < EXPIRE_BATCH) return expired;
    }
  }

  /** Every endpoint that has stored data, or that a running replica has. */
  async endpoints(): Promise<string[]> {
    return storedEndpoints(this.#state);
  }

  /** The endpoints of running replicas. A delivery replayed to any other endpoint dies again. */
  async runningEndpoints(): Promise<ReadonlySet<string>> {
    const { redis, prefix } = this.#state;
    const { fromMs, untilMs } = signsOfLife(await this.nowMs());
    const key = endpointsKey(prefix);
    return new Set(
      await this.#state.run('dead_letters', () => redis.zrangebyscore(key, fromMs, untilMs)),
    );
  }

  /**
   * The endpoints that answered 410 to running replicas, with the instances of these. A delivery replayed to one of
   * them dies again.
   */
  async goneEndpoints(): Promise<ReadonlyMap<string, readonly string[]>> {
    const { redis, prefix } = this.#state;
    const { fromMs, untilMs } = signsOfLife(await this.nowMs());
    const living = await this.#state.run('dead_letters', () =>
      redis.zrangebyscore(replicasKey(prefix), fromMs, untilMs),
    );
    return goneByEndpoint(await goneRows(this.#state), living);
  }

  /** The number of an endpoint's pending deliveries. */
  async pending(endpoint: string): Promise<number> {
    const { redis } = this.#state;
    return this.#state.run('dead_letters', () => redis.hlen(this.#keys(endpoint).deliveries));
  }

  /** The time by the clock of the state Redis, which dates dead letters. */
  async nowMs(): Promise<number> {
    const time = await this.#state.run('dead_letters', () => this.#state.redis.time());
    const [seconds = 0, micros = 0] = time.map(Number);
    return seconds * 1_000 + Math.floor(micros / 1_000);
  }

  /** Reads the letters at `places`, in their order. */
  async #read(places: readonly Place[]): Promise<readonly DeadLetter[]> {
    const { redis } = this.#state;
    const letters = new Map<Place, DeadLetter>();
    for (const endpoint of new Set(places.map((place) => place.endpoint))) {
      const its = places.filter((place) => place.endpoint === endpoint);
      const { dead } = this.#keys(endpoint);
      const ids = its.map(({ id }) => id);
      const packed = await this.#state.run('dead_letters', () => redis.hmgetBuffer(dead, ...ids));
      const readable = await readableLetters(this.#state, endpoint, ids, packed);
      await this.#setAside(its.filter((_, at) => packed[at] === null));
      for (const [at, place] of its.entries()) {
        const letter = readable[at] ?? null;
        if (letter !== null) letters.set(place, letter);
      }
    }
    return places.flatMap((place) => letters.get(place) ?? []);
  }

  /** Quarantines places without a dead letter. Places of letters replayed or dropped meanwhile are gone already. */
  async #setAside(places: readonly Place[]): Promise<void> {
    const suspects = places.map(({ endpoint, id, diedAtMs }): Suspect => {
      const key = this.#keys(endpoint).deadOrder;
      const reason = 'there is no dead letter with this id';
      return { key, kind: 'member', name: id, value: String(diedAtMs), reason, related: null };
    });
    await this.#state.setAside('dead_letters', suspects);
  }

  #keys(endpoint: string) {
    return endpointKeys(this.#state.prefix, endpoint);
  }
}
