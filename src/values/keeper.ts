/**
 * The values that webhooks carry. Redis keeps none of a key that has expired, so each is read before:
 * when the key is tracked, and once more just before its deadline. What a `lookup` names is still
 * there, and is read when the webhook is made.
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
  ConsumedDeadline,
  Deadline,
  Expiration,
  KeyInDatabase,
  KeyReading,
  Route,
} from '../model/vocabulary.js';
import { fillKey } from '../payload/path-template.js';
import { asksForValues, type Match, matchRoute } from '../routing/routes.js';
import type { Keyspace } from '../source/keyspace.js';
import { countAtOnce, readValues, type WantedValue } from './reader.js';
import { Readings } from './readings.js';
import { omitted, type SizedValue } from './shape.js';
import type { KeptValue, Values, ValueToKeep } from './values.js';

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
export type ReadableKeys = Pick<Keyspace, 'runCommands' | 'nowMs' | 'read' | 'deadlineSlackMs'>;

/** An expiration, and the routes that its key takes. */
export interface MatchedExpiration {
  readonly expiration: Expiration;
  readonly matches: readonly Match[];
}

/** The value of another key that a webhook is to carry. */
interface LookupOf {
  readonly expiration: Expiration;
  readonly route: Route;
  readonly wanted: WantedValue;
}

export class ValueKeeper {
  readonly #parts: ValueKeeperParts;
  /** The routes that ask for a value of the key's own. */
  readonly #including: readonly Route[];
  /** Whether any route asks for a value: then none costs anything. */
  readonly #isAsked: boolean;
  readonly #readings: Readings;
  /** Expirations whose values may be held in memory together. */
  readonly countMax: number;
  /** While the relay listens. */
  #keys: ReadableKeys | null = null;
  /** What is looked up has been waited for in vain, and is not any more until Redis is back. */
  #hasWaited = false;

  constructor(parts: ValueKeeperParts) {
    this.#parts = parts;
    this.#including = parts.routes.filter(({ includesValue }) => includesValue);
    const asking = parts.routes.filter(asksForValues);
    this.#isAsked = asking.length > 0;
    const bytesMax = Math.max(1, ...asking.map(({ valueBytesMax }) => valueBytesMax));
    this.countMax = countAtOnce(bytesMax);
    const read = (batch: readonly Deadline[], isDue: boolean) => this.#read(batch, isDue);
    this.#readings = new Readings({ countMax: this.countMax, read });
  }

  /** From now on values are read there; null: they cannot be. */
  use(keys: ReadableKeys | null): void {
    this.#keys = keys;
    this.#hasWaited = false;
    this.#readings.clear();
  }

  /** Whether a route asks for the key's own value. */
  includesValue(key: KeyInDatabase): boolean {
    return this.#bytesMax(key) > 0;
  }

  /**
   * The deadlines of these keys were read: so will be those values that are not known with them.
   * Resolves when there is room for more.
   */
  async onTracked(readings: readonly KeyReading[]): Promise<void> {
    await this.#readings.tracked(
      readings.filter((one) => one.ttl === 'volatile' && this.includesValue(one)),
    );
  }

  /** These have no deadline any more: what is known of them may lie there for ever. */
  async onPersistent(readings: readonly KeyReading[]): Promise<void> {
    const over = readings.filter((one) => one.ttl === 'persistent');
    if (over.length > 0) await this.onRemoved(over);
  }

  /** The deadlines of these are near. */
  onDue(deadlines: readonly Deadline[]): void {
    this.#readings.due(deadlines.filter((one) => this.includesValue(one)));
  }

  /** Resolves when all is read that is to be. */
  async atRest(): Promise<void> {
    await this.#readings.atRest();
  }

  /**
   * What the webhooks of these expirations carry, in their order. Rejects only when the state cannot
   * be used.
   */
  async valuesFor(matched: readonly MatchedExpiration[]): Promise<readonly ValuesByRoute[]> {
    const included = matched
      .filter(({ matches }) => matches.some(({ route }) => route.includesValue))
      .map(({ expiration }) => expiration);
    const found = included.length === 0 ? [] : await this.#parts.values.read(included);
    const kept = new Map(included.map((one, at) => [one, found[at] ?? null]));
    const lookups = await this.#lookUp(matched);
    return matched.map(({ expiration, matches }) => {
      const byRoute = new Map<string, RouteValues>();
      for (const { route } of matches) {
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

  /** These are in the outbox, with their values. What is left behind is pruned some time. */
  async onCaptured(claimed: readonly ConsumedDeadline[]): Promise<void> {
    const over = claimed.filter((one) => one.deadlineMs !== null && this.includesValue(one));
    if (over.length > 0) await this.#parts.values.forget(over);
  }

  /** These were deleted, evicted, renamed or moved. */
  async onRemoved(keys: readonly KeyInDatabase[]): Promise<void> {
    const over = keys.filter((one) => this.includesValue(one));
    if (over.length === 0) return;
    await this.#parts.values.forget(over.map((one) => ({ ...one, deadlineMs: null })));
  }

  /** Forgets a whole database: it was emptied. */
  async forgetAll(database: number): Promise<void> {
    await this.#parts.values.forgetAll(database);
  }

  /** Where no route asks for a value, forgets what an earlier file has left behind. */
  async forgetUnasked(database: number): Promise<void> {
    if (!this.#isAsked) await this.forgetAll(database);
  }

  /** Forgets what was left behind in a database. */
  async prune(database: number, serverNowMs: number): Promise<void> {
    if (this.#isAsked)
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

  async #read(batch: readonly Deadline[], isDue: boolean): Promise<void> {
    const { values, events } = this.#parts;
    const keys = this.#keys;
    if (keys === null) return;
    try {
      const nowMs = keys.nowMs();
      const wanted = isDue
        ? batch.filter(({ deadlineMs }) => deadlineMs > nowMs)
        : await values.lacking(batch);
      const read = wanted.length === 0 ? [] : await this.#readLiving(wanted, keys);
      if (read.length > 0) await values.keep(read);
    } catch (error) {
      // What is kept is as old as it is.
      events.stale(messageOf(error));
    }
  }

  /** Only what was still there, with the same deadline, after it was read: that is of the same life. */
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
    const lookups = matched.flatMap(({ expiration, matches }) =>
      matches.flatMap(({ route, params }): LookupOf[] => {
        if (route.lookup === null) return [];
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
