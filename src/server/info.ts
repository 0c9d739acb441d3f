/** The answer to INFO, understood. Pure. */

export interface Keyspace {
  readonly keys: number;
  /** Those that have a TTL. */
  readonly expires: number;
}

export interface Info {
  /** Null when the server does not say. */
  get(field: string): string | null;
  /** A database that is not mentioned is empty; null when the server leaves the section out. */
  keyspace(database: number): Keyspace | null;
}

export function parseInfo(text: string): Info {
  const fields = new Map(
    [...text.matchAll(/^([^#:\r\n]+):([^\r\n]*)/gm)].map(([, name = '', value = '']) => [
      name,
      value,
    ]),
  );
  const hasKeyspace = /^(# *Keyspace|db\d+:)/im.test(text);
  const get = (field: string) => fields.get(field) ?? null;
  return {
    get,
    keyspace: (database) => {
      if (!hasKeyspace) return null;
      const [, keys, expires] = /^keys=(\d+),expires=(\d+)/.exec(get(`db${database}`) ?? '') ?? [];
      return { keys: Number(keys ?? 0), expires: Number(expires ?? 0) };
    },
  };
}
