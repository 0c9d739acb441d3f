/** From an expiration to its deliveries: what is stored once and sent unchanged ever after. Pure. */
import { createHash } from 'node:crypto';
import { stringify } from 'safe-stable-stringify';
import { fillPath } from '../path-template.js';
import { decodeUtf8, printableBytes } from '../printable.js';
import type { Delivery, Expiration, Params, Route } from '../vocabulary.js';

const lossyDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

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

/**
 * The webhook id: unique per expiration, route and endpoint. `occurrence` tells one expiration
 * from every other, however often the same key expires.
 */
export function deliveryId(occurrence: string, route: string, endpoint: string): string {
  const digest = createHash('sha256').update(`${occurrence}\n${route}\n${endpoint}`).digest('hex');
  return `msg_${digest.slice(0, 32)}`;
}

/**
 * Tells one expiration from every other, by what every replica knows of it: null when the deadline
 * was never known. A key cannot expire twice at the same deadline.
 */
export function occurrenceOf({ database, key, expiredAtMs }: Expiration): string | null {
  return expiredAtMs === null ? null : `${database}:${expiredAtMs}:${key.toString('hex')}`;
}

/** Bytes that are no UTF-8 appear as U+FFFD. */
function textOf(bytes: Uint8Array): string {
  return lossyDecoder.decode(bytes);
}

function isoOf(timeMs: number | null): string | null {
  return timeMs === null ? null : new Date(timeMs).toISOString();
}

/** The body: compact JSON in UTF-8, its keys sorted at every level. */
export function buildBody(expiration: Expiration, route: Route, params: Params): Buffer {
  const { key } = expiration;
  const exactText = decodeUtf8(key);
  const expiredAt = isoOf(expiration.expiredAtMs);
  const detectedAt = isoOf(expiration.detectedAtMs);
  const body = {
    type: route.type,
    timestamp: expiredAt ?? detectedAt,
    data: {
      database: expiration.database,
      detected_at: detectedAt,
      detected_by: expiration.detectedBy,
      expired_at: expiredAt,
      key: exactText ?? textOf(key),
      ...(exactText === null ? { key_base64: key.toString('base64') } : {}),
      params: Object.fromEntries(
        Object.entries(params).map(([name, bytes]) => [name, textOf(bytes)]),
      ),
      route: route.name,
    },
  };
  return Buffer.from(stringify(body));
}

/** One delivery for each endpoint of each route that matches; empty when none does. */
export function buildDeliveries(
  expiration: Expiration,
  routes: readonly Route[],
  occurrence: string,
): Delivery[] {
  return routes.flatMap((route) => {
    if (expiration.detectedBy === 'recovery' && route.onAmbiguous === 'skip') return [];
    const params = matchRoute(route, expiration.key);
    return params === null ? [] : deliveriesOf(expiration, route, params, occurrence);
  });
}

function deliveriesOf(
  expiration: Expiration,
  route: Route,
  params: Params,
  occurrence: string,
): Delivery[] {
  const body = buildBody(expiration, route, params);
  const path = fillPath(route.path, params);
  const keyLabel = printableBytes(expiration.key);
  return route.to.map((endpoint) => ({
    id: deliveryId(occurrence, route.name, endpoint),
    endpoint,
    route: route.name,
    path,
    body,
    keyLabel,
    database: expiration.database,
    expiredAtMs: expiration.expiredAtMs,
    detectedAtMs: expiration.detectedAtMs,
    detectedBy: expiration.detectedBy,
  }));
}
