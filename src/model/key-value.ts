/** What was read of a key, as JSON can say it. Types only. */

/** What JSON can say. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json };

/** Why a webhook carries no value, though its route asks for it. */
export type ValueOmission =
  /** Larger than the route's `value_max`, or of too many elements. */
  | 'too_large'
  /** It was no longer there when it was to be read, or never seen. */
  | 'gone'
  /** Of a type that this version cannot read. */
  | 'unsupported'
  /** The relay's user in Redis may not read it. */
  | 'forbidden'
  /** Of a `lookup`: Redis could not be asked when the delivery was built. */
  | 'unavailable';

/** What was read of a key's value. Made by the source, put into the body by capture. */
export interface KeyValue {
  /**
   * Text for a string, an object for a hash, an array for the others; bytes that are no UTF-8 as
   * U+FFFD. Null when it is omitted.
   */
  readonly value: Json;
  /** The same, with every text as the base64 of its exact bytes; null when all is valid UTF-8. */
  readonly base64: Json;
  readonly omitted: ValueOmission | null;
  /** By the clock of the Redis that holds the key; null when it was never read. */
  readonly readAtMs: number | null;
}

/** The value of a route's `lookup`, and the key that it was read of. */
export interface LookedUp extends KeyValue {
  /** The key's exact bytes. */
  readonly key: Buffer;
}

/** What a webhook of one route carries beside what Redis told; null what the route does not ask for. */
export interface RouteValues {
  readonly value: KeyValue | null;
  readonly lookup: LookedUp | null;
}

/** The same for every route that asks, by its name. */
export type ValuesByRoute = ReadonlyMap<string, RouteValues>;
