/** The requests that the expiration of a key would cause: `match` prints them, `send` sends them. */

import { formatSize } from '../config/quantities.js';
import { didYouMean } from '../config/suggest.js';
import { buildRequest, type WebhookRequest } from '../delivery/request.js';
import { systemChance, systemClock } from '../lib/clock.js';
import { printable, printableBytes } from '../lib/printable.js';
import type { Endpoint } from '../model/endpoint.js';
import { NothingToSendError, UsageError } from '../model/errors.js';
import type { KeyValue, RouteValues } from '../model/key-value.js';
import type { Params } from '../model/pattern.js';
import { Secret } from '../model/secret.js';
import type { Delivery, Route, Settings } from '../model/vocabulary.js';
import { BODY_BYTES_MAX } from '../payload/body.js';
import { type BuildResult, buildDeliveries } from '../payload/build.js';
import { fillKey } from '../payload/path-template.js';
import { matchRoute } from '../routing/routes.js';
import type { CliContext } from './context.js';

/** The key and the filters from the command line. */
export interface KeyOptions {
  readonly key: string;
  readonly database: number;
  readonly route?: string;
  readonly endpoint?: string;
}

/** One planned request. */
export interface Planned {
  readonly delivery: Delivery;
  readonly endpoint: Endpoint;
  /** The captures of the route's pattern. */
  readonly params: Params;
}

/** In configuration order. Throws a NothingToSendError when there is none. */
export function plan(
  settings: Settings,
  options: KeyOptions,
  isTest: boolean,
): { readonly planned: readonly Planned[]; readonly tooLarge: BuildResult['tooLarge'] } {
  const { key, database } = options;
  checkNames(settings, options);
  if (!settings.redis.databases.includes(database)) {
    throw new NothingToSendError(`database ${database} is not watched (redis.databases)`);
  }
  const routes = settings.routes
    .filter(({ name }) => (options.route ?? name) === name)
    .map((route) => ({
      ...route,
      to: route.to.filter((name) => (options.endpoint ?? name) === name),
    }));
  const expiration = {
    database,
    key: Buffer.from(key),
    expiredAtMs: null,
    detectedAtMs: systemClock.nowMs(),
    detectedBy: 'notification',
  } as const;
  const matches = routes.flatMap((route): Match[] => {
    const params = matchRoute(route, expiration.key);
    return params === null ? [] : [{ route, params }];
  });
  const { deliveries, tooLarge } = buildDeliveries(expiration, routes, {
    occurrence: systemChance.token(),
    isTest,
    carried: new Map(matches.map((match) => [match.route.name, omittedValues(match)])),
  });
  if (deliveries.length + tooLarge.length === 0) {
    const text = `no route matches "${printable(key)}"${filterText(options)}`;
    throw new NothingToSendError(`${text}; ${patternsText(settings)}`);
  }
  const planned = deliveries.flatMap((delivery): Planned[] => {
    const endpoint = settings.endpoints.get(delivery.endpoint);
    const match = matches.find(({ route }) => route.name === delivery.route);
    if (endpoint === undefined || match === undefined) return [];
    return [{ delivery, endpoint, params: match.params }];
  });
  return { planned, tooLarge };
}

const GONE: KeyValue = { value: null, base64: null, omitted: 'gone', readAtMs: null };

/** A matching route, and the captures of its pattern. */
interface Match {
  readonly route: Route;
  readonly params: Params;
}

/** Commands do not query Redis: requested values are marked as omitted. */
function omittedValues({ route, params }: Match): RouteValues {
  const value = route.includesValue ? GONE : null;
  if (route.lookup === null) return { value, lookup: null };
  const itsKey = fillKey(route.lookup, params);
  return { value, lookup: { ...GONE, omitted: 'unavailable', key: itsKey } };
}

function checkNames({ routes, endpoints }: Settings, options: KeyOptions): void {
  const known = { route: routes.map(({ name }) => name), endpoint: [...endpoints.keys()] };
  for (const kind of ['route', 'endpoint'] as const) {
    const name = options[kind];
    if (name === undefined || known[kind].includes(name)) continue;
    const hint = didYouMean(name, known[kind]);
    const brackets = hint === null ? '' : ` (${hint})`;
    const article = kind === 'route' ? 'a route' : 'an endpoint';
    throw new UsageError(
      `--${kind}: expected ${article} in the file, found "${printable(name)}"${brackets}`,
    );
  }
}

function filterText({ route, endpoint }: KeyOptions): string {
  const only = route === undefined ? '' : ` with --route ${route}`;
  return endpoint === undefined ? only : `${only} with --endpoint ${endpoint}`;
}

/** Patterns listed when none matches. */
const PATTERNS_SHOWN_MAX = 10;

/** `patterns: order:{id}:unpaid (cancel), order:* (all-orders)` */
function patternsText({ routes }: Settings): string {
  const all = routes.flatMap(({ name, patterns }) =>
    patterns.map(({ source }) => `${printable(source)} (${name})`),
  );
  const shown = all.slice(0, PATTERNS_SHOWN_MAX);
  return `patterns: ${[...shown, ...(all.length > shown.length ? ['…'] : [])].join(', ')}`;
}

/** `route cancel to shop, id = 42` */
export function headline({ delivery, params }: Planned): string {
  const named = Object.entries(params).map(([name, bytes]) => `${name} = ${printableBytes(bytes)}`);
  return [`route ${delivery.route} to ${delivery.endpoint}`, ...named].join(', ');
}

/** The request and its URL, such as `http://shop:8080/orders/42`, both without secrets. */
export function requestText(
  { endpoint, delivery }: Planned,
  nowMs: number,
): { readonly url: string; readonly request: WebhookRequest } {
  const request = buildRequest(hideSecrets(endpoint), delivery, nowMs);
  return { url: endpoint.url.origin + request.path, request };
}

const HIDDEN_QUERY = '?[secret]';

/** The URL's query and configured headers may hold tokens: only header names are shown. */
function hideSecrets(endpoint: Endpoint): Endpoint {
  const hidden = Object.entries(endpoint.headers).map(
    ([name, value]) => [name, new Secret(value.toString())] as const,
  );
  const url = new URL(endpoint.url);
  if (url.search !== '') url.search = HIDDEN_QUERY;
  return { ...endpoint, url, headers: Object.fromEntries(hidden) };
}

/** Warns about webhooks that would be too large. */
export function warnTooLarge({ stderr }: CliContext, tooLarge: BuildResult['tooLarge']): void {
  for (const { route, endpoint } of tooLarge) {
    stderr.write(
      `expiry-relay: route ${route} to ${endpoint}: the body is larger than ` +
        `${formatSize(BODY_BYTES_MAX)}; webhook not sent\n`,
    );
  }
}
