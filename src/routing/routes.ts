/** Matches keys against routes, and lists the globs for scans. Pure. */
import type { Params } from '../model/pattern.js';
import type { Route } from '../model/vocabulary.js';

/** The params of the first matching pattern; null when none matches. */
export function matchRoute(route: Route, key: Uint8Array): Params | null {
  for (const pattern of route.patterns) {
    const params = pattern.match(key);
    if (params !== null) return params;
  }
  return null;
}

/** Whether any pattern matches; cheaper than `matchRoute`. */
function isMatch({ patterns }: Route, key: Uint8Array): boolean {
  return patterns.some((pattern) => pattern.matches(key));
}

/** Redis allows keys of 512 MiB, which are too large for a webhook's body. */
export const KEY_BYTES_MAX = 1024 * 1024;

/** The current routes. Each call is about one version of them. */
export class Routing {
  readonly #current: () => readonly Route[];
  /** The prefix of the relay's own keys, which match no route. */
  readonly #ownPrefixes: readonly Buffer[];

  /** @param current returns the routes of the current configuration */
  constructor(current: () => readonly Route[], ...ownPrefixes: readonly string[]) {
    this.#current = current;
    this.#ownPrefixes = ownPrefixes.map((prefix) => Buffer.from(prefix));
  }

  get routes(): readonly Route[] {
    return this.#current();
  }

  /** Redis globs that cover the routed keys; null matches every key. */
  get globs(): readonly (string | null)[] {
    return globsOf(this.routes);
  }

  /** The routes that match the key, in configuration order. */
  routesOf(key: Buffer): readonly Route[] {
    return this.isOwn(key) ? [] : this.routes.filter((route) => isMatch(route, key));
  }

  /** Whether a route matches the key, and the key is small enough to send. */
  isRouted(key: Buffer): boolean {
    if (key.length > KEY_BYTES_MAX || this.isOwn(key)) return false;
    return this.routes.some((route) => isMatch(route, key));
  }

  /** Whether the key belongs to the relay. */
  isOwn(key: Buffer): boolean {
    return this.#ownPrefixes.some(
      (own) => key.length >= own.length && own.compare(key, 0, own.length) === 0,
    );
  }
}

/** More scans than this cost more than one scan of all keys. */
const GLOBS_MAX = 3;

function globsOf(routes: readonly Route[]): readonly (string | null)[] {
  const prefixes = new Set(
    routes.flatMap(({ patterns }) => patterns.map(({ source }) => literalPrefix(source))),
  );
  if (prefixes.has('') || prefixes.size > GLOBS_MAX) return [null];
  return [...prefixes].map((prefix) => `${prefix}*`);
}

/** The literal prefix that all matching keys share. */
function literalPrefix(source: string): string {
  return /^[\w:.,;@#/+=-]*/.exec(source)?.[0] ?? '';
}

/** Whether a route's webhooks carry the value of the expired key or of another key. */
export function asksForValues({ includesValue, lookup }: Route): boolean {
  return includesValue || lookup !== null;
}
