/** From an expiration to its deliveries: what is stored once and sent unchanged ever after. Pure. */
import { createHash } from 'node:crypto';
import { stringify } from 'safe-stable-stringify';
import type { KeyValue, RouteValues } from '../key-value.js';
import { fillPath } from '../path-template.js';
import { decodeUtf8, printableBytes } from '../printable.js';
import { matchRoute } from '../routing.js';
import type { Delivery, Expiration, Params, Route } from '../vocabulary.js';

const lossyDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** For a route that asks for no value. */
const NONE: RouteValues = { value: null, lookup: null };
const NOTHING: ReadonlyMap<string, RouteValues> = new Map();

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

/** A key's text, and its exact bytes where they are no text. */
function keyFieldsOf(key: Buffer) {
  const exactText = decodeUtf8(key);
  return exactText === null
    ? { key: textOf(key), key_base64: key.toString('base64') }
    : { key: exactText };
}

function fieldsOf({ value, base64, omitted, readAtMs }: KeyValue) {
  return {
    value,
    value_read_at: isoOf(readAtMs),
    ...(base64 === null ? {} : { value_base64: base64 }),
    ...(omitted === null ? {} : { value_omitted: omitted }),
  };
}

/** The body: compact JSON in UTF-8, its keys sorted at every level. */
export function buildBody(
  expiration: Expiration,
  route: Route,
  params: Params,
  { value, lookup }: RouteValues = NONE,
): Buffer {
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
      ...keyFieldsOf(expiration.key),
      params: Object.fromEntries(
        Object.entries(params).map(([name, bytes]) => [name, textOf(bytes)]),
      ),
      route: route.name,
      ...(value === null ? {} : fieldsOf(value)),
      ...(lookup === null ? {} : { lookup: { ...fieldsOf(lookup), ...keyFieldsOf(lookup.key) } }),
    },
  };
  return Buffer.from(stringify(body));
}

/** One delivery for each endpoint of each route that matches; empty when none does. */
export function buildDeliveries(
  expiration: Expiration,
  routes: readonly Route[],
  occurrence: string,
  carried: ReadonlyMap<string, RouteValues> = NOTHING,
): Delivery[] {
  return routes.flatMap((route) => {
    if (expiration.detectedBy === 'recovery' && route.onAmbiguous === 'skip') return [];
    const params = matchRoute(route, expiration.key);
    if (params === null) return [];
    return deliveriesOf(expiration, route, params, occurrence, carried.get(route.name));
  });
}

function deliveriesOf(
  expiration: Expiration,
  route: Route,
  params: Params,
  occurrence: string,
  values: RouteValues = NONE,
): Delivery[] {
  const body = buildBody(expiration, route, params, values);
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
