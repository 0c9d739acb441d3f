/** Which routes a key takes, and which keys there are to look for. Pure. */
import type { Params } from '../model/pattern.js';
import type { Route } from '../model/vocabulary.js';

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

/** A route that a key takes, and what the route's pattern captures. */
export interface Match {
  readonly route: Route;
  readonly params: Params;
}

const NO_MATCHES: readonly Match[] = [];

/** The routes of the file, compiled once. */
export class Routing {
  readonly routes: readonly Route[];
  /** What to look for among all keys, as Redis's own globs; null stands for every key. */
  readonly globs: readonly (string | null)[];
  /** Keys of the relay's own begin with it, and take no route. */
  readonly #ownPrefix: Buffer;

  constructor(routes: readonly Route[], ownPrefix: string) {
    this.routes = routes;
    this.globs = globsOf(routes);
    this.#ownPrefix = Buffer.from(ownPrefix);
  }

  /** In the order of the file; empty when the key takes no route. */
  match(key: Buffer): readonly Match[] {
    if (this.isOwn(key)) return NO_MATCHES;
    return matchRoutes(this.routes, key);
  }

  /** Whether the key takes a route, and can be sent. */
  isRouted(key: Buffer): boolean {
    if (key.length > KEY_BYTES_MAX || this.isOwn(key)) return false;
    return this.routes.some((route) => matchRoute(route, key) !== null);
  }

  /** Whether the key is one of the relay's own. */
  isOwn(key: Buffer): boolean {
    return key.subarray(0, this.#ownPrefix.length).equals(this.#ownPrefix);
  }
}

/** The routes that a key takes, in their order. */
export function matchRoutes(routes: readonly Route[], key: Buffer): readonly Match[] {
  let matches: Match[] | null = null;
  for (const route of routes) {
    const params = matchRoute(route, key);
    if (params === null) continue;
    matches ??= [];
    matches.push({ route, params });
  }
  return matches ?? NO_MATCHES;
}

/** More sweeps than this cost more than one that looks at every key. */
const GLOBS_MAX = 3;

function globsOf(routes: readonly Route[]): readonly (string | null)[] {
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

/** Whether the webhooks of a route carry values: of the key itself, or of another. */
export function asksForValues({ includesValue, lookup }: Route): boolean {
  return includesValue || lookup !== null;
}
