import { buildDeliveries } from '../capture/build.js';
import { systemChance, systemClock } from '../clock.js';
import { loadSettings } from '../config/load.js';
import { buildRequest } from '../delivery/request.js';
import type { Endpoint } from '../endpoint.js';
import { printable, printableBytes } from '../printable.js';
import { matchRoute } from '../routing.js';
import { Secret } from '../secret.js';
import type { Delivery, Params, Settings } from '../vocabulary.js';
import type { CommandAction, FileOption } from './context.js';

export interface MatchOptions extends FileOption {
  readonly key: string;
  readonly database: number;
}

/** Which routes a key takes, and what would be sent; exit code 1 when it takes none. */
export const match: CommandAction<MatchOptions> = async (context, options) => {
  const { env, cwd, stdout, stderr } = context;
  const { settings } = await loadSettings({ file: options.config, env, cwd });
  const key = Buffer.from(options.key);
  const { database } = options;
  if (!settings.redis.databases.includes(database)) {
    stderr.write(`expiry-relay: database ${database} is not watched (redis.databases)\n`);
    return 1;
  }
  const nowMs = systemClock.nowMs();
  const expiration = {
    database,
    key,
    expiredAtMs: null,
    detectedAtMs: nowMs,
    detectedBy: 'notification',
  } as const;
  const deliveries = buildDeliveries(expiration, settings.routes, systemChance.token());
  if (deliveries.length === 0) {
    stderr.write(`expiry-relay: no route matches ${printable(options.key)}\n`);
    return 1;
  }
  stdout.write(deliveries.map((delivery) => describe(delivery, settings, key, nowMs)).join('\n'));
  return 0;
};

function describe(delivery: Delivery, settings: Settings, key: Buffer, nowMs: number): string {
  const endpoint = settings.endpoints.get(delivery.endpoint);
  const route = settings.routes.find(({ name }) => name === delivery.route);
  if (endpoint === undefined || route === undefined) return '';
  const request = buildRequest(hideSecrets(endpoint), delivery, nowMs);
  const headers = Object.entries(request.headers).map(([name, value]) => `  ${name}: ${value}\n`);
  return (
    `route ${delivery.route} to ${delivery.endpoint}${paramsText(matchRoute(route, key))}\n` +
    `  POST ${endpoint.url.origin}${request.path}\n${headers.join('')}\n` +
    `  ${delivery.body.toString()}\n`
  );
}

const HIDDEN_QUERY = '?[secret]';

/** The URL's query and the file's own headers may hold tokens: of a header the name is shown. */
function hideSecrets(endpoint: Endpoint): Endpoint {
  const hidden = Object.entries(endpoint.headers).map(
    ([name, value]) => [name, new Secret(value.toString())] as const,
  );
  const url = new URL(endpoint.url);
  if (url.search !== '') url.search = HIDDEN_QUERY;
  return { ...endpoint, url, headers: Object.fromEntries(hidden) };
}

function paramsText(params: Params | null): string {
  const named = Object.entries(params ?? {});
  if (named.length === 0) return '';
  return `, ${named.map(([name, bytes]) => `${name} = ${printableBytes(bytes)}`).join(', ')}`;
}
