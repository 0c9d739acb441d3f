/** Redis commands. Types only. */

/** A command and its arguments. */
export type Command = readonly [name: string, ...words: (string | number | Buffer)[]];
