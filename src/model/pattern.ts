/** A compiled `match`, types only. */

/** What the `{name}`s of a pattern took from a key: the exact bytes, by name. */
export type Params = Readonly<Record<string, Buffer>>;

/** A compiled `match`: pure, and linear in the key's length. */
export interface Pattern {
  /** As written in the file. */
  readonly source: string;
  /** The names of its captures, in the order in which they stand. */
  readonly names: readonly string[];
  /** Null when the key does not match. */
  match(key: Uint8Array): Params | null;
}
