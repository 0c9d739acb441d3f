/** Commands of Redis, as they are sent. Types only. */

/** A command as it is sent. */
export type Command = readonly [name: string, ...words: (string | number | Buffer)[]];
