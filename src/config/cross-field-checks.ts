/**
 * Checks that relate two places of the configuration. Each check skips parts that are invalid by themselves, so
 * that one run reports every error. Pure.
 */

import { printable } from '../lib/printable.js';
import { NAME_PATTERN } from '../model/names.js';
import { placeholdersOf } from '../payload/path-template.js';
import { checkBody } from './check-body.js';
import { checkEndpoint, checkKeyPair } from './check-endpoint.js';
import type { Complaint } from './mistakes.js';
import { asList, asMapping, type Path } from './path.js';
import { ENDPOINTS_MAX, redisFields, routeFields, stateFields } from './schema.js';
import { complain, isGiven, parseIfValid, type Section } from './sections.js';
import { LOOKUP_CHARS_MAX, PATH_CHARS_MAX } from './strings.js';
import { didYouMean, findNearest } from './suggest.js';
import { mismatch } from './wording.js';

/** Comparing with every endpoint name is expensive; more suggestions are of no use at once. */
export const SUGGESTIONS_MAX = 100;

/** Keys of `state` that are valid for every kind; the others describe the Redis that holds the state. */
const STATE_KEYS_OF_EVERY_KIND: readonly string[] = ['kind', 'prefix'];

function checkState(state: Section): Complaint[] {
  if (state.kind !== 'memory') {
    return [
      ...checkLogin(['state'], state),
      ...checkSentinel('state', state),
      ...checkCluster('state', state),
      ...checkTls('state', state),
    ];
  }
  // The key would have no effect.
  return Object.keys(stateFields)
    .filter((key) => !STATE_KEYS_OF_EVERY_KIND.includes(key) && isGiven(state, key))
    .map((key) => {
      const wording = mismatch(`${key} only with kind: redis`, { found: 'it with kind: memory' });
      return complain(['state', key], wording, 'key');
    });
}

/** Two ways to name one server; the login of the sentinels, and their certificates. */
function checkSentinel(name: 'redis' | 'state', section: Section): Complaint[] {
  const sentinel = asMapping(section.sentinel);
  if (sentinel === null) return [];
  const path = [name, 'sentinel'];
  const wording = mismatch('url or sentinel', { found: 'both', hint: 'remove one' });
  return [
    ...(isGiven(section, 'url') ? [complain(path, wording, 'key')] : []),
    ...checkLogin(path, sentinel),
    ...checkKeyPair([...path, 'tls'], asMapping(sentinel.tls) ?? {}),
  ];
}

/** Another two ways to name one server. */
function checkCluster(name: 'redis' | 'state', section: Section): Complaint[] {
  if (!isGiven(section, 'cluster')) return [];
  return ['url', 'sentinel']
    .filter((key) => isGiven(section, key))
    .map((key) => {
      const wording = mismatch(`${key} or cluster`, { found: 'both', hint: 'remove one' });
      return complain([name, 'cluster'], wording, 'key');
    });
}

/** Certificates require a rediss:// URL in the same section, sentinels or a cluster. */
function checkTls(name: 'redis' | 'state', section: Section): Complaint[] {
  const tls = asMapping(section.tls);
  if (tls === null || Object.keys(tls).length === 0) return [];
  const pair = checkKeyPair([name, 'tls'], tls);
  if (isGiven(section, 'sentinel') || isGiven(section, 'cluster')) return pair;
  const fail = (found: string) => {
    const wording = mismatch(`a rediss:// URL in ${name}.url beside it`, { found });
    return [complain([name, 'tls'], wording, 'key'), ...pair];
  };
  if (name === 'state' && section.url === undefined) return fail('none (then redis.tls counts)');
  // The default URL is plain TCP.
  const url = section.url === undefined ? null : parseIfValid(redisFields.url, section.url);
  if (url === undefined || url?.tls) return pair;
  return fail(url?.path ? 'a Unix socket' : 'redis://, which is without TLS');
}

/** At most one password and one user name; a user name requires a password. `path`: of the section. */
function checkLogin(path: Path, section: Section): Complaint[] {
  const complaints: Complaint[] = [];
  const address = parseIfValid(redisFields.url, section.url);
  const inUrl = `one beside ${path.join('.')}.url's`;
  for (const key of ['password', 'password_file'].filter((key) => isGiven(section, key))) {
    if (address !== undefined && address.password !== null) {
      const wording = mismatch('one password', { found: inUrl, hint: 'remove one' });
      complaints.push(complain([...path, key], wording, 'key'));
    } else if (key === 'password_file' && isGiven(section, 'password')) {
      const wording = mismatch('password or password_file', { found: 'both' });
      complaints.push(complain([...path, key], wording, 'key'));
    }
  }
  const hasUser = isGiven(section, 'username');
  const hasUserInUrl = address !== undefined && address.username !== null;
  if (hasUser && hasUserInUrl) {
    const wording = mismatch('one user name', { found: inUrl, hint: 'remove one' });
    complaints.push(complain([...path, 'username'], wording, 'key'));
  }
  const hasPassword =
    isGiven(section, 'password') ||
    isGiven(section, 'password_file') ||
    (address?.password ?? null) !== null;
  const isUrlKnown = section.url === undefined || address !== undefined;
  if (isUrlKnown && !hasPassword && (hasUser || hasUserInUrl)) {
    const hint = hasUser ? null : 'a password alone is redis://:PASSWORD@HOST';
    const wording = mismatch('a password beside the user name', { found: 'none', hint });
    complaints.push(complain([...path, hasUser ? 'username' : 'url'], wording));
  }
  return complaints;
}

function checkDatabases(redis: Section): Complaint[] {
  const path = ['redis', 'databases'];
  const databases = parseIfValid(redisFields.databases, redis.databases);
  if (databases === undefined) return [];
  const inUrl = parseIfValid(redisFields.url, redis.url)?.database ?? null;
  const repeated = databases.flatMap((database, index) =>
    databases.indexOf(database) < index
      ? [complain([...path, index], mismatch('each database once'))]
      : [],
  );
  if (inUrl === null || databases.includes(inUrl)) return repeated;
  const wording = mismatch("redis.url's database among them", { found: 'only others' });
  return [...repeated, complain(path, wording)];
}

function checkEndpoints(endpoints: Readonly<Record<string, unknown>>): Complaint[] {
  const complaints: Complaint[] = [];
  const count = Object.keys(endpoints).length;
  if (count === 0 || count > ENDPOINTS_MAX) {
    const wording = mismatch(`1 to ${ENDPOINTS_MAX} endpoints`, { found: String(count) });
    complaints.push(complain(['endpoints'], wording));
  }
  const ofEach = Object.entries(endpoints).flatMap(([name, endpoint]) =>
    checkEndpoint(['endpoints', name], asMapping(endpoint) ?? {}),
  );
  return complaints.concat(ofEach);
}

/** The configured endpoints, and suggestions for unknown names. */
class EndpointNames {
  readonly #endpoints: Readonly<Record<string, unknown>>;
  /** Excludes strings that cannot be names: they may hold secrets. */
  readonly #candidates: readonly string[];
  #suggestions = 0;

  constructor(endpoints: Readonly<Record<string, unknown>>) {
    this.#endpoints = endpoints;
    const names = Object.keys(endpoints).filter((name) => NAME_PATTERN.test(name));
    this.#candidates = names.slice(0, ENDPOINTS_MAX);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#endpoints, name);
  }

  suggest(name: string): string | null {
    this.#suggestions += 1;
    return this.#suggestions > SUGGESTIONS_MAX ? null : didYouMean(name, this.#candidates);
  }
}

/** `to` must name configured endpoints, each once. */
function checkTargets(path: Path, raw: unknown, endpoints: EndpointNames | null): Complaint[] {
  // The length of a list is checked by the schema.
  const targets = Array.isArray(raw) ? raw.slice(0, ENDPOINTS_MAX) : [raw];
  const seen = new Set<string>();
  return targets.flatMap((target, index) => {
    if (typeof target !== 'string' || !NAME_PATTERN.test(target)) return [];
    const place = Array.isArray(raw) ? [...path, 'to', index] : [...path, 'to'];
    if (seen.has(target)) return [complain(place, mismatch('each endpoint once'))];
    seen.add(target);
    if (endpoints === null || endpoints.has(target)) return [];
    const quoting = endpoints.suggest(target);
    return [complain(place, mismatch('the name of an endpoint', { quoting }))];
  });
}

const TEMPLATE_CHARS_MAX = { path: PATH_CHARS_MAX, lookup: LOOKUP_CHARS_MAX } as const;

/** Every `{name}` in `path` or `lookup` must be captured by every pattern. */
function checkPlaceholders(
  path: Path,
  route: Readonly<Record<string, unknown>>,
  field: 'path' | 'lookup',
): Complaint[] {
  const patterns = parseIfValid(routeFields.match, route.match);
  // Placeholders are checked even in a string with other errors.
  const template = route[field];
  if (patterns === undefined || typeof template !== 'string') return [];
  if (template.length > TEMPLATE_CHARS_MAX[field]) return [];
  const captured = [...new Set(patterns.flatMap(({ names }) => names))];
  const missing = new Set(
    placeholdersOf(template).filter((name) => !patterns.every(({ names }) => names.includes(name))),
  );
  return Array.from(missing, (name) => {
    const meant = captured.includes(name) ? null : findNearest(name, captured);
    const hint = meant === null ? '' : `; did you mean {${meant}}?`;
    const quoting = `{${printable(name)}} is not captured by every pattern${hint}`;
    return complain(
      [...path, field],
      mismatch('only {name}s that every pattern captures', { quoting }),
    );
  });
}

/** The limit has no effect without a value. */
function checkValueMax(path: Path, route: Readonly<Record<string, unknown>>): Complaint[] {
  const isUseless =
    isGiven(route, 'value_max') && !isGiven(route, 'include') && !isGiven(route, 'lookup');
  if (!isUseless) return [];
  const wording = mismatch('include: [value] or lookup beside value_max', { found: 'neither' });
  return [complain([...path, 'value_max'], wording, 'key')];
}

function checkRoutes(
  routes: readonly unknown[],
  endpoints: Readonly<Record<string, unknown>> | null,
): Complaint[] {
  const names = endpoints === null ? null : new EndpointNames(endpoints);
  const firstWithName = new Map<string, number>();
  return routes.flatMap((raw, index) => {
    const route = asMapping(raw);
    if (route === null) return [];
    const path = ['routes', index];
    const complaints = [
      ...checkTargets(path, route.to, names),
      ...checkPlaceholders(path, route, 'path'),
      ...checkPlaceholders(path, route, 'lookup'),
      ...checkValueMax(path, route),
      ...checkBody(path, route),
    ];
    const name = parseIfValid(routeFields.name, route.name);
    if (name === undefined) return complaints;
    const first = firstWithName.get(name);
    if (first === undefined) {
      firstWithName.set(name, index);
      return complaints;
    }
    const wording = mismatch('a name that no other route has', {
      hint: `routes[${first}] has it`,
    });
    return [...complaints, complain([...path, 'name'], wording)];
  });
}

/** A user name and a password, or neither. */
function checkPage(page: Section): Complaint[] {
  const keys = ['username', 'password_file'];
  const [missing, ...others] = keys.filter((key) => !isGiven(page, key));
  if (missing === undefined || others.length > 0) return [];
  const given = keys.find((key) => key !== missing) ?? '';
  const wording = mismatch(`${missing} beside ${given}`, { found: 'none' });
  return [complain(['admin', 'page', given], wording, 'key')];
}

/** `root`: the value after interpolation, valid or not. */
export function checkTogether(root: unknown): Complaint[] {
  const file = asMapping(root);
  if (file === null) return [];
  const redis = asMapping(file.redis) ?? {};
  const endpoints = asMapping(file.endpoints);
  return [
    ...checkLogin(['redis'], redis),
    ...checkSentinel('redis', redis),
    ...checkCluster('redis', redis),
    ...checkTls('redis', redis),
    ...checkDatabases(redis),
    ...checkState(asMapping(file.state) ?? {}),
    ...(endpoints === null ? [] : checkEndpoints(endpoints)),
    ...checkRoutes(asList(file.routes), endpoints),
    ...checkPage(asMapping(asMapping(file.admin)?.page) ?? {}),
  ];
}
