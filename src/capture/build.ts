/** From an expiration to its deliveries: what is stored once and sent unchanged ever after. Pure. */
import { createHash } from 'node:crypto';
import { contentTypeOf } from '../body-format.js';
import type { RouteValues } from '../key-value.js';
import { fillPath } from '../path-template.js';
import { printableBytes } from '../printable.js';
import type { Delivery, Expiration, Params, Route } from '../vocabulary.js';
import { bodiesOf } from './body.js';
import type { Told } from './told.js';

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

/** What deliveries are made from, beside the expiration and the routes. */
export interface Making {
  /** Tells one expiration from every other, however often the same key expires. */
  readonly occurrence: string;
  /** Nothing expired: somebody tries what would be sent. */
  readonly isTest: boolean;
  /** What was read for a route that matches. */
  readonly valuesFor: (route: Route, params: Params) => RouteValues;
}

export interface Made {
  readonly deliveries: readonly Delivery[];
  /** Those whose bodies would be larger than BODY_BYTES_MAX. */
  readonly tooLarge: readonly Pick<Delivery, 'route' | 'endpoint'>[];
}

/** The webhook id: unique per expiration, route and endpoint. */
export function deliveryId(
  { occurrence, isTest }: Pick<Making, 'occurrence' | 'isTest'>,
  route: string,
  endpoint: string,
): string {
  const digest = createHash('sha256').update(`${occurrence}\n${route}\n${endpoint}`).digest('hex');
  return `msg_${isTest ? 'test_' : ''}${digest.slice(0, 32)}`;
}

/**
 * Tells one expiration from every other, by what every replica knows of it: null when the deadline
 * was never known. A key cannot expire twice at the same deadline.
 */
export function occurrenceOf({ database, key, expiredAtMs }: Expiration): string | null {
  return expiredAtMs === null ? null : `${database}:${expiredAtMs}:${key.toString('hex')}`;
}

/** One delivery for each endpoint of each route that matches. */
export function buildDeliveries(
  expiration: Expiration,
  routes: readonly Route[],
  making: Making,
): Made {
  const deliveries: Delivery[] = [];
  const tooLarge: Pick<Delivery, 'route' | 'endpoint'>[] = [];
  for (const route of routes) {
    if (expiration.detectedBy === 'recovery' && route.onAmbiguous === 'skip') continue;
    const params = matchRoute(route, expiration.key);
    if (params === null) continue;
    const { isTest, valuesFor } = making;
    const made = deliveriesOf(
      { expiration, route, params, isTest, ...valuesFor(route, params) },
      making,
    );
    deliveries.push(...made.deliveries);
    tooLarge.push(...made.tooLarge);
  }
  return { deliveries, tooLarge };
}

function deliveriesOf(told: Told, making: Making): Made {
  const { expiration, route, params } = told;
  const bodyOf = bodiesOf(told);
  const path = fillPath(route.path, params);
  const keyLabel = printableBytes(expiration.key);
  const deliveries: Delivery[] = [];
  const tooLarge: Pick<Delivery, 'route' | 'endpoint'>[] = [];
  for (const endpoint of route.to) {
    const id = deliveryId(making, route.name, endpoint);
    const body = bodyOf(id);
    if (body === null) {
      tooLarge.push({ route: route.name, endpoint });
      continue;
    }
    deliveries.push({
      id,
      endpoint,
      route: route.name,
      path,
      method: route.method,
      contentType: contentTypeOf(route.format),
      body,
      keyLabel,
      database: expiration.database,
      expiredAtMs: expiration.expiredAtMs,
      detectedAtMs: expiration.detectedAtMs,
      detectedBy: expiration.detectedBy,
    });
  }
  return { deliveries, tooLarge };
}
