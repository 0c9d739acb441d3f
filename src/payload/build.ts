/** Builds an expiration's deliveries, which are stored once and sent unchanged. Pure. */
import { hash } from 'node:crypto';
import { printableBytes } from '../lib/printable.js';
import { contentTypeOf } from '../model/body-format.js';
import type { ValuesByRoute } from '../model/key-value.js';
import type { Delivery, Expiration, Route } from '../model/vocabulary.js';
import { matchRoute } from '../routing/routes.js';
import { bodiesOf } from './body.js';
import { fillPath } from './path-template.js';
import { NO_VALUES, type WebhookInput } from './webhook-input.js';

/** The input beside the expiration and its routes. */
export interface BuildOptions {
  /** Identifies one expiration of a key among all others. */
  readonly occurrence: string;
  /** Marks a test: nothing expired. */
  readonly isTest: boolean;
  /** The values read for each route that requests one, by the route's name. */
  readonly carried: ValuesByRoute;
}

export interface BuildResult {
  readonly deliveries: readonly Delivery[];
  /** Webhooks whose bodies would exceed BODY_BYTES_MAX. */
  readonly tooLarge: readonly Pick<Delivery, 'route' | 'endpoint'>[];
}

/** The webhook id: unique per expiration, route and endpoint. */
export function deliveryId(
  { occurrence, isTest }: Pick<BuildOptions, 'occurrence' | 'isTest'>,
  route: string,
  endpoint: string,
): string {
  const digest = hash('sha256', `${occurrence}\n${route}\n${endpoint}`, 'hex');
  return `msg_${isTest ? 'test_' : ''}${digest.slice(0, 32)}`;
}

/**
 * Identifies one expiration by values that every replica knows. A key cannot expire twice at the same deadline. Where
 * the deadline is unknown, the first name takes its place.
 */
export function occurrenceOf(
  { database, key, expiredAtMs }: Expiration,
  [name]: readonly string[],
): string {
  return `${database}:${expiredAtMs ?? name}:${key.toString('hex')}`;
}

/** Builds one delivery for each endpoint of each route that matches the key. */
export function buildDeliveries(
  expiration: Expiration,
  routes: readonly Route[],
  options: BuildOptions,
): BuildResult {
  const deliveries: Delivery[] = [];
  const tooLarge: Pick<Delivery, 'route' | 'endpoint'>[] = [];
  for (const route of routes) {
    if (expiration.detectedBy === 'recovery' && route.onAmbiguous === 'skip') continue;
    const params = matchRoute(route, expiration.key);
    if (params === null) continue;
    const values = options.carried.get(route.name) ?? NO_VALUES;
    const input = { expiration, route, params, isTest: options.isTest, ...values };
    const built = deliveriesOf(input, options);
    deliveries.push(...built.deliveries);
    tooLarge.push(...built.tooLarge);
  }
  return { deliveries, tooLarge };
}

function deliveriesOf(input: WebhookInput, options: BuildOptions): BuildResult {
  const { expiration, route, params } = input;
  const bodyOf = bodiesOf(input);
  const path = fillPath(route.path, params);
  const keyLabel = printableBytes(expiration.key);
  const deliveries: Delivery[] = [];
  const tooLarge: Pick<Delivery, 'route' | 'endpoint'>[] = [];
  for (const endpoint of route.to) {
    const id = deliveryId(options, route.name, endpoint);
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
