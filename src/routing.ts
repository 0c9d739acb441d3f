/** Which routes a key takes, and which keys there are to look for. Pure. */
import type { Params } from './match.js';
import type { Route } from './vocabulary.js';

/** The first pattern that matches gives the params; null when none does. */
export function matchRoute(route: Route, key: Uint8Array): Params | null {
  for (const pattern of route.patterns) {
    const params = pattern.match(key);
    if (params !== null) return params;
  }
  return null;
}

/** Redis allows keys of 512 MiB; a body that carries one is no webhook. */
export const KEY_BYTES_MAX = 1024 * 1024;

/** Whether a route is about the key, and it can be sent. */
export function isRouted(routes: readonly Route[], key: Buffer): boolean {
  return key.length <= KEY_BYTES_MAX && routes.some((route) => matchRoute(route, key) !== null);
}

/** More sweeps than this cost more than one that looks at every key. */
const GLOBS_MAX = 3;

/** What to look for among all keys, as Redis's own globs; null stands for every key. */
export function globsOf(routes: readonly Route[]): readonly (string | null)[] {
  const prefixes = new Set(
    routes.flatMap(({ patterns }) => patterns.map(({ source }) => literalPrefix(source))),
  );
  if (prefixes.has('') || prefixes.size > GLOBS_MAX) return [null];
  return [...prefixes].map((prefix) => `${prefix}*`);
}

/** What every key that matches begins with, as far as it is plain. */
function literalPrefix(source: string): string {
  return /^[\w:.,;@#/+=-]*/.exec(source)?.[0] ?? '';
}

/** Whether its webhooks carry values: of the key itself, or of another. */
export function asksForValues({ includesValue, lookup }: Route): boolean {
  return includesValue || lookup !== null;
}
