/** A path to a value in the configuration: keys and list indexes from the top. */
export type Path = readonly (string | number)[];

/** Line and column are counted from one; a column is one UTF-16 unit. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A path as a key of a Map or Set. */
export function pathKey(path: Path): string {
  return JSON.stringify(path);
}

/** A mapping of the configuration as a plain value; null for other values. */
export function asMapping(value: unknown): Readonly<Record<string, unknown>> | null {
  const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isMapping ? (value as Record<string, unknown>) : null;
}

/** A list of the configuration; empty for other values. */
export function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The value at the path; undefined when it does not exist. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const step of path) {
    const holder = Array.isArray(value) ? value : asMapping(value);
    if (holder === null || !Object.hasOwn(holder, step)) return undefined;
    value = (holder as Record<string | number, unknown>)[step];
  }
  return value;
}

/** Replaces a value that is not known, or could not be read and already has an error: prevents a second one. */
export const UNRESOLVED = Symbol('unresolved');
