/** The value of a key in JSON. Types only. */

/** Any JSON value. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json };

/** Why a webhook lacks the value that its route requests. */
export type ValueOmission =
  /** Larger than the route's `value_max`, or with too many elements. */
  | 'too_large'
  /** The key was gone when it was to be read, or was never seen. */
  | 'gone'
  /** A type that this version cannot read. */
  | 'unsupported'
  /** The relay's Redis user has no permission to read the key. */
  | 'forbidden'
  /** For a `lookup`: Redis was unavailable when the delivery was built. */
  | 'unavailable';

/** The value read from a key. Created by the source, put into the body by capture. */
export interface KeyValue {
  /**
   * A string for a string, an object for a hash, an array for other types; bytes that are not UTF-8 become U+FFFD.
   * Null when omitted.
   */
  readonly value: Json;
  /** The same value with every string as base64 of its exact bytes; null when all are valid UTF-8. */
  readonly base64: Json;
  readonly omitted: ValueOmission | null;
  /** By the clock of the Redis that holds the key; null when the value was never read. */
  readonly readAtMs: number | null;
}

/** The value of a route's `lookup`, and the key that was read. */
export interface LookedUp extends KeyValue {
  /** The key's exact bytes. */
  readonly key: Buffer;
}

/** The values in a webhook of one route; null for values that the route does not request. */
export interface RouteValues {
  readonly value: KeyValue | null;
  readonly lookup: LookedUp | null;
}

/** Values by route name, for every route that requests values. */
export type ValuesByRoute = ReadonlyMap<string, RouteValues>;
