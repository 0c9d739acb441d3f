/** Positions of dead letters in Redis, in order of death. */
import TinyQueue from 'tinyqueue';
import { endpointKeys } from '../state/format.js';
import type { Suspect } from '../state/quarantine.js';
import type { RedisState } from '../state/redis-state.js';
import { entriesOf, ID, type StoredEntry, scoreOf } from '../state/stored.js';

/** Places that one command reads: less than a millisecond's work for Redis. */
const PLACES = 1_000;

/** The maximum for reading the newest places with one command. */
export const NEWEST_MAX = PLACES;

/** The position of a dead letter that is not read yet. */
export interface Place {
  readonly endpoint: string;
  readonly id: string;
  readonly diedAtMs: number;
}

/** The places of one endpoint that were read; `next` is the oldest that is not returned yet. */
interface Queued {
  /** The endpoint's rank in the output, for letters that died at the same time. */
  readonly rank: number;
  readonly places: readonly Place[];
  next: number;
  readonly rest: AsyncGenerator<readonly Place[]>;
}

export class DeadPlaces {
  readonly #state: RedisState;

  constructor(state: RedisState) {
    this.#state = state;
  }

  /** The places of all endpoints in order of death, a page at a time. */
  async *pages(endpoints: readonly string[], pageMax: number): AsyncGenerator<readonly Place[]> {
    const queue = new TinyQueue<Queued>([], (one, other) => {
      const apartMs =
        (one.places[one.next]?.diedAtMs ?? 0) - (other.places[other.next]?.diedAtMs ?? 0);
      return apartMs || one.rank - other.rank;
    });
    for (const [rank, endpoint] of endpoints.entries()) {
      const rest = this.#pagesOf(endpoint);
      const { value, done } = await rest.next();
      if (!done) queue.push({ rank, places: value, next: 0, rest });
    }
    let page: Place[] = [];
    for (let first = queue.pop(); first !== undefined; first = queue.pop()) {
      const place = first.places[first.next];
      if (place !== undefined) page.push(place);
      first.next += 1;
      if (first.next === first.places.length) {
        const { value, done } = await first.rest.next();
        if (!done) queue.push({ ...first, places: value, next: 0 });
      } else {
        queue.push(first);
      }
      if (page.length < pageMax) continue;
      yield page;
      page = [];
    }
    if (page.length > 0) yield page;
  }

  /** The places of one endpoint, up to the newest one at the start. */
  async *#pagesOf(endpoint: string): AsyncGenerator<readonly Place[]> {
    const [last] = await this.#newest(endpoint, 1);
    if (last === undefined) return;
    let page = await this.#range(endpoint, 0, PLACES - 1);
    for (;;) {
      page = page.filter((place) => !isAfter(place, last));
      const newest = page.at(-1);
      if (newest === undefined) return;
      yield page;
      page = await this.#after(newest);
    }
  }

  /** The places after a given one, whose letter may have been replayed or dropped since, and have died again. */
  async #after(place: Place): Promise<readonly Place[]> {
    const { redis } = this.#state;
    const { endpoint, id, diedAtMs } = place;
    const deadOrder = this.#orderOf(endpoint);
    const [rank, score] = await this.#state.run('dead_letters', () =>
      Promise.all([redis.zrank(deadOrder, id), redis.zscore(deadOrder, id)]),
    );
    if (rank !== null && scoreOf(score ?? '') === diedAtMs) {
      return this.#range(endpoint, rank + 1, rank + PLACES);
    }
    for (let passed = 0; ; passed += PLACES) {
      const found = await this.#places(endpoint, () =>
        redis.zrangebyscoreBuffer(
          deadOrder,
          diedAtMs,
          '+inf',
          'WITHSCORES',
          'LIMIT',
          passed,
          PLACES,
        ),
      );
      const behind = found.filter((one) => isAfter(one, place));
      if (behind.length > 0 || found.length < PLACES) return behind;
    }
  }

  #range(endpoint: string, from: number, to: number): Promise<readonly Place[]> {
    const { redis } = this.#state;
    return this.#places(endpoint, () =>
      redis.zrangeBuffer(this.#orderOf(endpoint), from, String(to), 'WITHSCORES'),
    );
  }

  /** The newest places, newest first. */
  #newest(endpoint: string, count: number): Promise<readonly Place[]> {
    const { redis } = this.#state;
    return this.#places(endpoint, () =>
      redis.zrangeBuffer(this.#orderOf(endpoint), 0, String(count - 1), 'REV', 'WITHSCORES'),
    );
  }

  /**
   * Parses id, time of death, id, time of death… Entries whose names are not ids go to the quarantine; if there are no
   * others, reads again.
   */
  async #places(endpoint: string, read: () => Promise<Buffer[]>): Promise<readonly Place[]> {
    for (;;) {
      const entries = entriesOf(await this.#state.run('dead_letters', read));
      const places = entries.filter(isPlace).map(({ member, score }): Place => {
        return { endpoint, id: member.toString(), diedAtMs: scoreOf(score) };
      });
      await this.#setAside(endpoint, entries);
      if (places.length > 0 || entries.length === 0) return places;
    }
  }

  async #setAside(endpoint: string, entries: readonly StoredEntry[]): Promise<void> {
    const { dead, deadOrder } = endpointKeys(this.#state.prefix, endpoint);
    const suspects = entries
      .filter((entry) => !isPlace(entry))
      .map(({ member, score }): Suspect => {
        const related = { key: dead, kind: 'field', name: member } as const;
        const found = { key: deadOrder, kind: 'member', name: member, value: score } as const;
        return { ...found, reason: 'not the id of a dead letter', related };
      });
    await this.#state.setAside('dead_letters', suspects);
  }

  /** The newest places in order of death, up to `countMax`, which is at most NEWEST_MAX. */
  async newest(endpoints: readonly string[], countMax: number): Promise<readonly Place[]> {
    const found = await Promise.all(
      endpoints.map(async (endpoint) => (await this.#newest(endpoint, countMax)).toReversed()),
    );
    return sortByDeath(found.flat()).slice(-countMax);
  }

  /** The places of the given ids. */
  async find(endpoints: readonly string[], ids: readonly string[]): Promise<readonly Place[]> {
    const found = await Promise.all(endpoints.map((endpoint) => this.#find(endpoint, ids)));
    return sortByDeath(found.flat());
  }

  async #find(endpoint: string, ids: readonly string[]): Promise<Place[]> {
    const { redis } = this.#state;
    const deadOrder = this.#orderOf(endpoint);
    const scores = await this.#state.run('dead_letters', () => redis.zmscore(deadOrder, ...ids));
    return ids.flatMap((id, at) => {
      const diedAtMs = scores[at] ?? null;
      return diedAtMs === null ? [] : [{ endpoint, id, diedAtMs: scoreOf(diedAtMs) }];
    });
  }

  #orderOf(endpoint: string): string {
    return endpointKeys(this.#state.prefix, endpoint).deadOrder;
  }
}

function sortByDeath(places: readonly Place[]): Place[] {
  return places.toSorted((one, other) => one.diedAtMs - other.diedAtMs);
}

function isPlace({ member }: StoredEntry): boolean {
  return ID.test(member.toString());
}

/** Compares two places of one endpoint as Redis does: by time, then by the bytes of the id. */
function isAfter(place: Place, other: Place): boolean {
  if (place.diedAtMs !== other.diedAtMs) return place.diedAtMs > other.diedAtMs;
  return Buffer.compare(Buffer.from(place.id), Buffer.from(other.id)) > 0;
}
