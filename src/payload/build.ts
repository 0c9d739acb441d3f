/** From an expiration to its deliveries: what is stored once and sent unchanged ever after. Pure. */
import { createHash } from 'node:crypto';
import { printableBytes } from '../lib/printable.js';
import { contentTypeOf } from '../model/body-format.js';
import type { ValuesByRoute } from '../model/key-value.js';
import type { Delivery, Expiration } from '../model/vocabulary.js';
import type { Match } from '../routing/routes.js';
import { bodiesOf } from './body.js';
import { fillPath } from './path-template.js';
import { NO_VALUES, type WebhookInput } from './webhook-input.js';

/** What deliveries are made from, beside the expiration and its routes. */
export interface BuildOptions {
  /** Tells one expiration from every other, however often the same key expires. */
  readonly occurrence: string;
  /** Nothing expired: somebody tries what would be sent. */
  readonly isTest: boolean;
  /** What was read for each route that asks for a value, by the route's name. */
  readonly carried: ValuesByRoute;
}

export interface BuildResult {
  readonly deliveries: readonly Delivery[];
  /** Those whose bodies would be larger than BODY_BYTES_MAX. */
  readonly tooLarge: readonly Pick<Delivery, 'route' | 'endpoint'>[];
}

/** The webhook id: unique per expiration, route and endpoint. */
export function deliveryId(
  { occurrence, isTest }: Pick<BuildOptions, 'occurrence' | 'isTest'>,
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

/** One delivery for each endpoint of each route that the key takes. */
export function buildDeliveries(
  expiration: Expiration,
  matches: readonly Match[],
  making: BuildOptions,
): BuildResult {
  const deliveries: Delivery[] = [];
  const tooLarge: Pick<Delivery, 'route' | 'endpoint'>[] = [];
  for (const { route, params } of matches) {
    if (expiration.detectedBy === 'recovery' && route.onAmbiguous === 'skip') continue;
    const values = making.carried.get(route.name) ?? NO_VALUES;
    const told = { expiration, route, params, isTest: making.isTest, ...values };
    const made = deliveriesOf(told, making);
    deliveries.push(...made.deliveries);
    tooLarge.push(...made.tooLarge);
  }
  return { deliveries, tooLarge };
}

function deliveriesOf(told: WebhookInput, making: BuildOptions): BuildResult {
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
