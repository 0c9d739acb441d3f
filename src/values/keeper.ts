/**
 * The values that webhooks carry. Redis deletes a value with its key, so each value is read in advance: when the key is
 * tracked, and again just before its deadline. The key of a `lookup` still exists, and is read when the webhook is
 * built.
 */
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../model/errors.js';
import type {
  KeyValue,
  LookedUp,
  RouteValues,
  ValueOmission,
  ValuesByRoute,
} from '../model/key-value.js';
import type {
  CapturedExpiration,
  Deadline,
  Expiration,
  KeyInDatabase,
  KeyReading,
  Route,
} from '../model/vocabulary.js';
import { fillKey } from '../payload/path-template.js';
import { asksForValues, matchRoute, type Routing } from '../routing/routes.js';
import type { Keyspace } from '../source/keyspace.js';
import { countAtOnce, readValues, type WantedValue } from './reader.js';
import { Readings } from './readings.js';
import { omitted, type SizedValue } from './shape.js';
import type { KeptValue, Values, ValueToKeep } from './values.js';

/** How long a webhook waits for its `lookup` while the connection to Redis is lost. */
const LOOKUP_PATIENCE_MS = 3_000;
const LOOKUP_AGAIN_MS = 100;

/** Values this long after their deadlines are deleted if the index does not have their keys. */
const LEFT_BEHIND_MS = 60_000;

export interface ValueEvents {
  /** Redis does not allow the relay to read a value. */
  unreadable(refusal: string): void;
  /** Values could not be read; kept ones may be older than possible. */
  stale(error: string): void;
  omitted(route: string, reason: ValueOmission): void;
}

export interface ValueKeeperParts {
  readonly routing: Pick<Routing, 'routes'>;
  readonly values: Values;
  readonly events: ValueEvents;
  readonly clock: Clock;
}

/** The part of the keyspace that reads values. */
export type ReadableKeys = Pick<Keyspace, 'runCommands' | 'nowMs' | 'read' | 'deadlineSlackMs'>;

/** An expiration, and the routes that match its key. */
export interface MatchedExpiration {
  readonly expiration: Expiration;
  readonly routes: readonly Route[];
}

/** The value of another key that a webhook carries. */
interface LookupOf {
  readonly expiration: Expiration;
  readonly route: Route;
  readonly wanted: WantedValue;
}

/** What some routes ask for. */
interface Asked {
  readonly routes: readonly Route[];
  /** The routes that include the value of the expired key. */
  readonly including: readonly Route[];
  /** Whether any route needs a value; without one, values cost nothing. */
  readonly isAsked: boolean;
  /** How many expirations may have their values in memory at a time. */
  readonly countMax: number;
}

function askedBy(routes: readonly Route[]): Asked {
  const including = routes.filter(({ includesValue }) => includesValue);
  const asking = routes.filter(asksForValues);
  const bytesMax = Math.max(1, ...asking.map(({ valueBytesMax }) => valueBytesMax));
  return { routes, including, isAsked: asking.length > 0, countMax: countAtOnce(bytesMax) };
}

export class ValueKeeper {
  readonly #parts: ValueKeeperParts;
  readonly #readings: Readings;
  /** Of the routes of the last use. */
  #asked: Asked;
  /** Whether any version of the routes needed a value. */
  #wasAsked: boolean;
  /** Null while the relay is not subscribed. */
  #keys: ReadableKeys | null = null;
  /** Whether a lookup has timed out: later ones do not wait until Redis is back. */
  #hasWaited = false;

  constructor(parts: ValueKeeperParts) {
    this.#parts = parts;
    this.#asked = askedBy(parts.routing.routes);
    this.#wasAsked = this.#asked.isAsked;
    const read = (batch: readonly Deadline[], isDue: boolean) => this.#read(batch, isDue);
    this.#readings = new Readings({ countMax: () => this.countMax, read });
  }

  /** How many expirations may have their values in memory at a time. */
  get countMax(): number {
    return this.#askedNow().countMax;
  }

  /** What the current routes ask for. Computed once for each version of the routes. */
  #askedNow(): Asked {
    const { routes } = this.#parts.routing;
    if (this.#asked.routes !== routes) this.#asked = askedBy(routes);
    this.#wasAsked ||= this.#asked.isAsked;
    return this.#asked;
  }

  /** Sets the keyspace that values are read from; null: none is connected. */
  use(keys: ReadableKeys | null): void {
    this.#keys = keys;
    this.#hasWaited = false;
    this.#readings.clear();
  }

  /** Whether a route includes the key's own value. */
  includesValue(key: KeyInDatabase): boolean {
    return this.#bytesMax(key) > 0;
  }

  /**
   * Queues the values of newly tracked keys that are not kept with the same deadline. Resolves when there is room for
   * more.
   */
  async onTracked(readings: readonly KeyReading[]): Promise<void> {
    await this.#readings.addTracked(
      readings.filter((one) => one.ttl === 'volatile' && this.includesValue(one)),
    );
  }

  /** Deletes values of keys without a deadline: such keys may never expire. */
  async onPersistent(readings: readonly KeyReading[]): Promise<void> {
    const over = readings.filter((one) => one.ttl === 'persistent');
    if (over.length > 0) await this.onRemoved(over);
  }

  /** Queues the values of keys whose deadlines are near. */
  onDue(deadlines: readonly Deadline[]): void {
    this.#readings.addDue(deadlines.filter((one) => this.includesValue(one)));
  }

  /** Resolves when no reading is pending. */
  async drained(): Promise<void> {
    await this.#readings.drained();
  }

  /** The values for the webhooks of these expirations, in their order. Rejects only when the state cannot be used. */
  async valuesFor(matched: readonly MatchedExpiration[]): Promise<readonly ValuesByRoute[]> {
    const included = matched
      .filter(({ routes }) => routes.some(({ includesValue }) => includesValue))
      .map(({ expiration }) => expiration);
    const found = included.length === 0 ? [] : await this.#parts.values.read(included);
    const kept = new Map(included.map((one, at) => [one, found[at] ?? null]));
    const lookups = await this.#lookUp(matched);
    return matched.map(({ expiration, routes }) => {
      const byRoute = new Map<string, RouteValues>();
      for (const route of routes) {
        if (!asksForValues(route)) continue;
        const value = route.includesValue ? valueBefore(expiration, route, kept) : null;
        const lookup = lookups.get(expiration)?.get(route) ?? null;
        byRoute.set(route.name, { value, lookup });
        this.#countOmitted(route, value);
        this.#countOmitted(route, lookup);
      }
      return byRoute;
    });
  }

  /** Deletes values whose deliveries are in the outbox. A crash before this leaves them to `prune`. */
  async onCaptured(captured: readonly CapturedExpiration[]): Promise<void> {
    const over = captured.filter((one) => one.deadlineMs !== null && this.includesValue(one));
    if (over.length > 0) await this.#parts.values.forget(over);
  }

  /** Deletes values of keys that were deleted, evicted, renamed or moved. */
  async onRemoved(keys: readonly KeyInDatabase[]): Promise<void> {
    const over = keys.filter((one) => this.includesValue(one));
    if (over.length === 0) return;
    await this.#parts.values.forget(over.map((one) => ({ ...one, deadlineMs: null })));
  }

  /** Deletes all values of a database that was emptied. */
  async forgetAll(database: number): Promise<void> {
    await this.#parts.values.forgetAll(database);
  }

  /** If no route needs a value, deletes the values that an earlier configuration has left. */
  async forgetUnasked(database: number): Promise<void> {
    if (!this.#askedNow().isAsked) await this.forgetAll(database);
  }

  /** Deletes values in a database that were left behind: all of them, once a reload has removed the last route. */
  async prune(database: number, serverNowMs: number): Promise<void> {
    if (this.#askedNow().isAsked)
      await this.#parts.values.prune(database, Math.round(serverNowMs - LEFT_BEHIND_MS));
    else if (this.#wasAsked) await this.forgetAll(database);
  }

  /** The largest size limit of the routes that include the key's own value; 0: none does. */
  #bytesMax({ key }: KeyInDatabase): number {
    let bytesMax = 0;
    for (const route of this.#askedNow().including) {
      if (route.valueBytesMax <= bytesMax || matchRoute(route, key) === null) continue;
      bytesMax = route.valueBytesMax;
    }
    return bytesMax;
  }

  async #read(batch: readonly Deadline[], isDue: boolean): Promise<void> {
    const { values, events } = this.#parts;
    const keys = this.#keys;
    if (keys === null) return;
    try {
      const nowMs = keys.nowMs();
      const wanted = isDue
        ? batch.filter(({ deadlineMs }) => deadlineMs > nowMs)
        : await values.findMissing(batch);
      const read = wanted.length === 0 ? [] : await this.#readLiving(wanted, keys);
      if (read.length > 0) await values.keep(read);
    } catch (error) {
      // Kept values stay in use.
      events.stale(messageOf(error));
    }
  }

  /** Reads values, and omits those whose keys had another deadline afterwards: the key may have been replaced. */
  async #readLiving(
    deadlines: readonly Deadline[],
    keys: ReadableKeys,
  ): Promise<readonly ValueToKeep[]> {
    const wanted = deadlines.map((one) => ({ ...one, bytesMax: this.#bytesMax(one) }));
    const read = await this.#readFrom(keys, wanted);
    const after = await keys.read(deadlines);
    return deadlines.flatMap((one, at): ValueToKeep[] => {
      const { value, bytes } = read[at] ?? omitted('gone', null);
      const { ttl, deadlineMs } = after[at] ?? { ttl: 'missing', deadlineMs: 0 };
      const isSame = Math.abs(deadlineMs - one.deadlineMs) <= keys.deadlineSlackMs;
      const { database, key } = one;
      return ttl === 'volatile' && isSame && value.omitted !== 'gone'
        ? [{ database, key, deadlineMs: one.deadlineMs, value, bytes }]
        : [];
    });
  }

  #readFrom(keys: ReadableKeys, wanted: readonly WantedValue[]): Promise<readonly SizedValue[]> {
    return readValues(keys, wanted, ({ message }) => this.#parts.events.unreadable(message));
  }

  async #lookUp(
    matched: readonly MatchedExpiration[],
  ): Promise<ReadonlyMap<Expiration, ReadonlyMap<Route, LookedUp>>> {
    const lookups = matched.flatMap(({ expiration, routes }) =>
      routes.flatMap((route): LookupOf[] => {
        const params = route.lookup === null ? null : matchRoute(route, expiration.key);
        if (route.lookup === null || params === null) return [];
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

  /** Waits once for a connection that is lost for a short time. */
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

/** The value that was read with the deadline that has passed; another deadline means that the key was replaced. */
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
