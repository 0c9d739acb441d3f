/** The content of a webhook about one expiration, in any format. Pure. */

import { decodeUtf8, textOf } from '../lib/printable.js';
import type { Json, KeyValue, RouteValues } from '../model/key-value.js';
import type { Params } from '../model/pattern.js';
import type { Expiration, Route } from '../model/vocabulary.js';

/** For a route that requests no value. */
export const NO_VALUES: RouteValues = { value: null, lookup: null };

/** Everything that a body is built from, except the webhook's id. */
export interface WebhookInput extends RouteValues {
  readonly expiration: Expiration;
  readonly route: Route;
  readonly params: Params;
  /** Marks a test: nothing expired. */
  readonly isTest: boolean;
}

export function isoOf(timeMs: number | null): string | null {
  return timeMs === null ? null : new Date(timeMs).toISOString();
}

/** The deadline, or else the time of detection. */
export function timestampOf({ expiredAtMs, detectedAtMs }: Expiration): string | null {
  return isoOf(expiredAtMs ?? detectedAtMs);
}

/** The `data` of a webhook. */
export function dataOf(input: WebhookInput): { readonly [name: string]: Json } {
  const { expiration, route, params, value, lookup, isTest } = input;
  return {
    database: expiration.database,
    detected_at: isoOf(expiration.detectedAtMs),
    detected_by: expiration.detectedBy,
    expired_at: isoOf(expiration.expiredAtMs),
    ...keyFields(expiration.key),
    ...(lookup === null ? {} : { lookup: { ...keyFields(lookup.key), ...valueFields(lookup) } }),
    params: Object.fromEntries(
      Object.entries(params).map(([name, bytes]) => [name, textOf(bytes)]),
    ),
    route: route.name,
    ...(isTest ? { test: true } : {}),
    ...(value === null ? {} : valueFields(value)),
  };
}

/** The key as text; with its exact bytes if these are not UTF-8. */
export function keyFields(key: Uint8Array): { readonly [name: string]: Json } {
  const exactText = decodeUtf8(key);
  if (exactText !== null) return { key: exactText };
  return { key: textOf(key), key_base64: Buffer.from(key).toString('base64') };
}

/** A value, how it was read, and when. */
export function valueFields({ value, base64, omitted, readAtMs }: KeyValue): {
  [name: string]: Json;
} {
  return {
    value,
    ...(base64 === null ? {} : { value_base64: base64 }),
    ...(omitted === null ? {} : { value_omitted: omitted }),
    value_read_at: isoOf(readAtMs),
  };
}
