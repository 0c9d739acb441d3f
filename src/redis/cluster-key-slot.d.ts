/** The types of a package that has none. */
declare module 'cluster-key-slot' {
  /** The hash slot of a key. */
  function keySlot(key: Buffer | string): number;
  export = keySlot;
}
