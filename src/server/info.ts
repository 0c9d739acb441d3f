/** A parsed INFO reply. Pure. */

export interface Keyspace {
  readonly keys: number;
  /** Keys with a TTL. */
  readonly expires: number;
}

export interface Info {
  /** Null when the server does not show the field. */
  get(field: string): string | null;
  /** A database without an entry is empty; null when the server omits the section. */
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
