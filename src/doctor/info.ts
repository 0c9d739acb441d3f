/** The answer to INFO, understood. Pure. */

export interface Keyspace {
  readonly keys: number;
  /** Those that have a TTL. */
  readonly expires: number;
}

export interface Info {
  /** Null when the server does not say. */
  get(field: string): string | null;
  /** A database that is not mentioned is empty. */
  keyspace(database: number): Keyspace;
}

export function parseInfo(text: string): Info {
  const fields = new Map(
    [...text.matchAll(/^([^#:\r\n]+):([^\r\n]*)/gm)].map(([, name = '', value = '']) => [
      name,
      value,
    ]),
  );
  const get = (field: string) => fields.get(field) ?? null;
  return {
    get,
    keyspace: (database) => {
      const [, keys, expires] = /^keys=(\d+),expires=(\d+)/.exec(get(`db${database}`) ?? '') ?? [];
      return { keys: Number(keys ?? 0), expires: Number(expires ?? 0) };
    },
  };
}
