/** What a reload does with a valid configuration: apply it, or reject it because it needs a restart. Pure. */
import { isSameValue } from '../lib/same-value.js';
import type { Endpoint } from '../model/endpoint.js';
import type { Settings, StateSettings } from '../model/vocabulary.js';
import type { Loaded } from './load.js';

/** The differences between two versions of the settings. */
export interface Changes {
  /** The keys that differ, such as `endpoints.shop`, in the order of the sections; empty: nothing. */
  readonly keys: readonly string[];
  /** Whether routes differ, or their order. */
  readonly haveRoutes: boolean;
  /** The names of endpoints. */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

export type Decision =
  /** `keys`: the keys that differ, and cannot be changed while the relay runs. */
  | { readonly kind: 'restart_required'; readonly keys: readonly string[] }
  | { readonly kind: 'apply'; readonly settings: Settings; readonly changes: Changes };

type Version = Pick<Loaded, 'settings' | 'parsed'>;

export function decideReload(before: Version, after: Version): Decision {
  const fixed = fixedKeys(before, after);
  if (fixed.length > 0) return { kind: 'restart_required', keys: fixed };
  const settings = settingsAfter(before.settings, after.settings);
  return { kind: 'apply', settings, changes: changesBetween(before.settings, settings) };
}

/** Whether a key, such as `redis.url`, cannot be changed while the relay runs. */
export function needsRestart(key: string): boolean {
  if (/^state\.(dead_letters|unknown_endpoint_grace)\b/.test(key)) return false;
  return /^(redis|state|admin|log\.format)\b/.test(key);
}

/**
 * The keys that differ, and are fixed until a restart. The contents of files for a login do not count: these files are
 * read again before each login.
 */
function fixedKeys(before: Version, after: Version): readonly string[] {
  const [from, to] = [sectionsOf(before), sectionsOf(after)];
  const keysOf = (section: 'redis' | 'state' | 'admin') =>
    differingKeys(from[section], to[section]).map((key) => `${section}.${key}`);
  // An option of the command line applies instead of the file.
  const isSameFormat = before.settings.log.format === after.settings.log.format;
  const ofLog = isSameFormat ? [] : ['log.format'];
  return [...keysOf('redis'), ...keysOf('state'), ...keysOf('admin'), ...ofLog].filter(
    needsRestart,
  );
}

/** The databases may follow from the URL. */
function sectionsOf({ settings, parsed: { redis, state, admin } }: Version) {
  return { redis: { ...redis, databases: settings.redis.databases }, state, admin };
}

function differingKeys(before: object, after: object): readonly string[] {
  const [one, other] = [before, after].map((section) => new Map(Object.entries(section)));
  const keys = new Set([...(one?.keys() ?? []), ...(other?.keys() ?? [])]);
  return [...keys].filter((key) => !isSameValue(one?.get(key), other?.get(key)));
}

/** Keeps what is equal, so that it is also the same object. */
function settingsAfter(before: Settings, after: Settings): Settings {
  return {
    ...after,
    redis: before.redis,
    state: stateAfter(before.state, after.state),
    routes: isSameValue(before.routes, after.routes) ? before.routes : after.routes,
    endpoints: new Map(
      Array.from(after.endpoints, ([name, endpoint]) => [
        name,
        unlessSame(before.endpoints.get(name), endpoint),
      ]),
    ),
  };
}

function unlessSame(before: Endpoint | undefined, after: Endpoint): Endpoint {
  if (before === undefined) return after;
  if (isSameValue(before, after)) return before;
  // Open connections depend on the certificates: equal ones stay the same object.
  return { ...after, tls: isSameValue(before.tls, after.tls) ? before.tls : after.tls };
}

/** With the present login, whose files are read again before each connection. */
function stateAfter(before: StateSettings, after: StateSettings): StateSettings {
  if (before.kind === 'memory' || after.kind === 'memory') return before;
  const { deadLetters, unknownEndpointGraceMs } = after;
  return { ...before, deadLetters, unknownEndpointGraceMs };
}

/** For versions of which the second was made from the first one: equal endpoints are the same objects. */
function changesBetween(before: Settings, after: Settings): Changes {
  const names = [...new Set([...before.endpoints.keys(), ...after.endpoints.keys()])];
  const has = ({ endpoints }: Settings, name: string) => endpoints.has(name);
  const differing = names.filter(
    (name) => before.endpoints.get(name) !== after.endpoints.get(name),
  );
  return {
    keys: [
      ...stateKeys(before.state, after.state),
      ...differing.map((name) => `endpoints.${name}`),
      ...routeKeys(before, after),
      ...(isSameValue(before.admin, after.admin) ? [] : ['admin.page.password_file']),
      ...(before.log.level === after.log.level ? [] : ['log.level']),
      ...(before.shutdown.graceMs === after.shutdown.graceMs ? [] : ['shutdown.grace']),
    ],
    haveRoutes: before.routes !== after.routes,
    added: differing.filter((name) => !has(before, name)),
    removed: differing.filter((name) => !has(after, name)),
    changed: differing.filter((name) => has(before, name) && has(after, name)),
  };
}

function stateKeys(before: StateSettings, after: StateSettings): readonly string[] {
  if (before.kind === 'memory' || after.kind === 'memory') return [];
  const isSameGrace = before.unknownEndpointGraceMs === after.unknownEndpointGraceMs;
  return [
    ...(isSameValue(before.deadLetters, after.deadLetters) ? [] : ['state.dead_letters']),
    ...(isSameGrace ? [] : ['state.unknown_endpoint_grace']),
  ];
}

/** The routes that differ, by name; `routes` if only their order does. */
function routeKeys(before: Settings, after: Settings): readonly string[] {
  if (before.routes === after.routes) return [];
  const byName = ({ routes }: Settings) => new Map(routes.map((route) => [route.name, route]));
  const [one, other] = [byName(before), byName(after)];
  const names = [...new Set([...one.keys(), ...other.keys()])];
  const differing = names.filter((name) => !isSameValue(one.get(name), other.get(name)));
  return differing.length === 0 ? ['routes'] : differing.map((name) => `routes.${name}`);
}
