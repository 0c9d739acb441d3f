/** Where a value stands in the file: keys and list indexes from the top. */
export type Path = readonly (string | number)[];

/** Both counted from one; a column is one UTF-16 unit. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** For use as a key of a Map or Set. */
export function pathKey(path: Path): string {
  return JSON.stringify(path);
}

/** A mapping of the file, as a plain value; null when it is something else. */
export function asMapping(value: unknown): Readonly<Record<string, unknown>> | null {
  const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isMapping ? (value as Record<string, unknown>) : null;
}

/** A list of the file; empty when it is something else. */
export function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The value at that place; undefined when there is none. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const step of path) {
    const holder = Array.isArray(value) ? value : asMapping(value);
    if (holder === null || !Object.hasOwn(holder, step)) return undefined;
    value = (holder as Record<string | number, unknown>)[step];
  }
  return value;
}

/** Stands where no value could be had, for which there is a mistake already: no second one. */
export const UNRESOLVED = Symbol('unresolved');
