/** A compiled `match`, types only. */

/** The captures of a pattern's `{name}`s: the exact bytes, by name. */
export type Params = Readonly<Record<string, Buffer>>;

/** A compiled `match`: pure, and linear in the key's length. */
export interface Pattern {
  /** As written in the configuration. */
  readonly source: string;
  /** The names of the captures, in order. */
  readonly names: readonly string[];
  /** Whether the key matches; cheaper than `match`. */
  matches(key: Uint8Array): boolean;
  /** Null when the key does not match. */
  match(key: Uint8Array): Params | null;
}
