/**
 * The values that webhooks carry. Redis keeps none of a key that has expired, so each is read before:
 * when the key is tracked, and once more just before its deadline. What a `lookup` names is still
 * there, and is read when the webhook is made.
 */
import type { Clock } from '../clock.js';
import { messageOf } from '../errors.js';
import type { KeyValue, LookedUp, RouteValues, ValueOmission } from '../key-value.js';
import { fillKey } from '../path-template.js';
import { matchRoute } from '../routing.js';
import type { Keyspace } from '../source/keyspace.js';
import type {
  ClaimedKey,
  Deadline,
  Expiration,
  KeyInDatabase,
  KeyReading,
  Route,
} from '../vocabulary.js';
import { countAtOnce, readValues, type WantedValue } from './reader.js';
import { omitted, type SizedValue } from './shape.js';
import type { KeptValue, Values } from './values.js';

/** How long a webhook waits for its `lookup` while the connection to Redis is lost. */
const LOOKUP_PATIENCE_MS = 3_000;
const LOOKUP_AGAIN_MS = 100;

/** What is kept of deadlines so long ago, and of which the index knows nothing, has been left behind. */
const LEFT_BEHIND_MS = 60_000;

export interface ValueEvents {
  /** Redis refused to tell a value. */
  unreadable(refusal: string): void;
  /** The values could not be read; those that are kept are older than they might be. */
  stale(error: string): void;
  omitted(route: string, why: ValueOmission): void;
}

export interface ValueKeeperParts {
  readonly routes: readonly Route[];
  readonly values: Values;
  readonly events: ValueEvents;
  readonly clock: Clock;
}

/** What values are read with. */
export type ReadableKeys = Pick<Keyspace, 'ask' | 'nowMs'>;

/** By the name of the route. */
export type ValuesByRoute = ReadonlyMap<string, RouteValues>;

/** A value that a webhook is to carry, and what it is of. */
interface LookupOf {
  readonly expiration: Expiration;
  readonly route: Route;
  readonly wanted: WantedValue;
}

export class ValueKeeper {
  readonly #parts: ValueKeeperParts;
  /** Those that ask for a value of the key's own, and for one of another key. */
  readonly #including: readonly Route[];
  readonly #lookingUp: readonly Route[];
  /** Expirations whose values may be held in memory together. */
  readonly countMax: number;
  /** While the relay listens. */
  #keys: ReadableKeys | null = null;
  /** What is looked up has been waited for in vain, and is not any more until Redis is back. */
  #hasWaited = false;

  constructor(parts: ValueKeeperParts) {
    this.#parts = parts;
    this.#including = parts.routes.filter(({ includesValue }) => includesValue);
    this.#lookingUp = parts.routes.filter(({ lookup }) => lookup !== null);
    const asking = [...this.#including, ...this.#lookingUp];
    this.countMax = countAtOnce(Math.max(1, ...asking.map(({ valueBytesMax }) => valueBytesMax)));
  }

  /** From now on the values of other keys are read there; null: they cannot be. */
  use(keys: ReadableKeys | null): void {
    this.#keys = keys;
    this.#hasWaited = false;
  }

  /** The deadlines of these keys were read: so are those values that are not known with them. */
  async tracked(readings: readonly KeyReading[], keys: ReadableKeys): Promise<void> {
    const { values } = this.#parts;
    const living = readings.filter((one) => one.life === 'until' && this.#bytesMax(one) > 0);
    if (living.length === 0) return;
    await this.#read(await values.lacking(living), keys);
  }

  /** Just before their deadlines. Rejects only when the state cannot be used. */
  async due(deadlines: readonly Deadline[], keys: ReadableKeys): Promise<void> {
    const wanted = deadlines.filter((one) => this.#bytesMax(one) > 0);
    if (wanted.length > 0) await this.#read(wanted, keys);
  }

  /**
   * What the webhooks of these expirations carry, in their order. Rejects only when the state cannot
   * be used.
   */
  async of(expirations: readonly Expiration[]): Promise<readonly ValuesByRoute[]> {
    const byRoute = expirations.map(() => new Map<string, RouteValues>());
    const included = expirations.filter((one) => this.#bytesMax(one) > 0);
    const found = included.length === 0 ? [] : await this.#parts.values.of(included);
    const kept = new Map(included.map((one, at) => [one, found[at] ?? null]));
    const lookups = await this.#lookUp(expirations);
    for (const [at, expiration] of expirations.entries()) {
      for (const route of this.#parts.routes) {
        if (!route.includesValue && route.lookup === null) continue;
        if (matchRoute(route, expiration.key) === null) continue;
        const value = route.includesValue ? valueBefore(expiration, route, kept) : null;
        const lookup = lookups.get(expiration)?.get(route) ?? null;
        byRoute[at]?.set(route.name, { value, lookup });
        this.#countOmitted(route, value);
        this.#countOmitted(route, lookup);
      }
    }
    return byRoute;
  }

  /** These are in the outbox, with their values. What is left behind is pruned some time. */
  async claimed(claimed: readonly ClaimedKey[]): Promise<void> {
    const over = claimed.filter((one) => one.deadlineMs !== null && this.#bytesMax(one) > 0);
    if (over.length > 0) await this.#parts.values.forget(over);
  }

  /** These were deleted, evicted, renamed or moved. */
  async removed(keys: readonly KeyInDatabase[]): Promise<void> {
    const over = keys.filter((one) => this.#bytesMax(one) > 0);
    if (over.length === 0) return;
    await this.#parts.values.forget(over.map((one) => ({ ...one, deadlineMs: null })));
  }

  /** The database was emptied. */
  async forgetAll(database: number): Promise<void> {
    await this.#parts.values.forgetAll(database);
  }

  async prune(database: number, serverNowMs: number): Promise<void> {
    await this.#parts.values.prune(database, Math.round(serverNowMs - LEFT_BEHIND_MS));
  }

  /** The most that any route wants of the key's own value; 0 when none does. */
  #bytesMax({ key }: KeyInDatabase): number {
    let bytesMax = 0;
    for (const route of this.#including) {
      if (route.valueBytesMax <= bytesMax || matchRoute(route, key) === null) continue;
      bytesMax = route.valueBytesMax;
    }
    return bytesMax;
  }

  async #read(deadlines: readonly Deadline[], keys: ReadableKeys): Promise<void> {
    const { values, events } = this.#parts;
    for (let from = 0; from < deadlines.length; from += this.countMax) {
      const batch = deadlines.slice(from, from + this.countMax);
      const wanted = batch.map((one) => ({ ...one, bytesMax: this.#bytesMax(one) }));
      let read: readonly SizedValue[];
      try {
        read = await this.#readFrom(keys, wanted);
      } catch (error) {
        // The connection is lost: what is kept is as old as it is.
        return events.stale(messageOf(error));
      }
      const there = batch.flatMap((one, at) => {
        const { value, bytes } = read[at] ?? omitted('gone', null);
        return value.omitted === 'gone' ? [] : [{ ...one, value, bytes }];
      });
      if (there.length > 0) await values.keep(there);
    }
  }

  #readFrom(keys: ReadableKeys, wanted: readonly WantedValue[]): Promise<readonly SizedValue[]> {
    return readValues(keys, wanted, ({ message }) => this.#parts.events.unreadable(message));
  }

  async #lookUp(
    expirations: readonly Expiration[],
  ): Promise<ReadonlyMap<Expiration, ReadonlyMap<Route, LookedUp>>> {
    const lookups = expirations.flatMap((expiration) =>
      this.#lookingUp.flatMap((route): LookupOf[] => {
        const params = matchRoute(route, expiration.key);
        if (params === null || route.lookup === null) return [];
        const key = fillKey(route.lookup, params);
        const { database } = expiration;
        return [{ expiration, route, wanted: { database, key, bytesMax: route.valueBytesMax } }];
      }),
    );
    const found = new Map<Expiration, Map<Route, LookedUp>>();
    if (lookups.length === 0) return found;
    const read = await this.#readPatiently(lookups.map(({ wanted }) => wanted));
    for (const [at, { expiration, route, wanted }] of lookups.entries()) {
      const { value } = read[at] ?? omitted('unavailable', null);
      const its = found.get(expiration) ?? new Map<Route, LookedUp>();
      found.set(expiration, its.set(route, { ...value, key: wanted.key }));
    }
    return found;
  }

  /** A short loss of the connection is waited out, once. */
  async #readPatiently(wanted: readonly WantedValue[]): Promise<readonly SizedValue[]> {
    const { clock, events } = this.#parts;
    const endMs = clock.monotonicMs() + LOOKUP_PATIENCE_MS;
    for (;;) {
      let problem = 'Redis is not connected';
      try {
        if (this.#keys !== null) return await this.#readFrom(this.#keys, wanted);
      } catch (error) {
        problem = messageOf(error);
      }
      if (this.#hasWaited || clock.monotonicMs() >= endMs) {
        this.#hasWaited = true;
        events.stale(problem);
        return wanted.map(() => omitted('unavailable', null));
      }
      await clock.sleep(LOOKUP_AGAIN_MS);
    }
  }

  #countOmitted(route: Route, value: KeyValue | null): void {
    if (value === null || value.omitted === null) return;
    this.#parts.events.omitted(route.name, value.omitted);
  }
}

/** What was read while the key had the deadline that is over: another one is of another life. */
function valueBefore(
  expiration: Expiration,
  { valueBytesMax }: Route,
  kept: ReadonlyMap<Expiration, KeptValue | null>,
): KeyValue {
  const its = kept.get(expiration) ?? null;
  if (its === null || its.deadlineMs !== expiration.expiredAtMs) return omitted('gone', null).value;
  if (its.bytes > valueBytesMax) return omitted('too_large', its.value.readAtMs).value;
  return its.value;
}
