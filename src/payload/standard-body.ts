/**
 * The standard body: compact JSON with its keys sorted at every level. It is written out rather than serialized, since
 * it is built for every webhook of a burst; only values are serialized. Pure.
 */
import { stringify } from 'safe-stable-stringify';
import { isoTimes } from '../lib/iso-time.js';
import { decodeUtf8, textOf } from '../lib/printable.js';
import type { Json } from '../model/key-value.js';
import { keyFields, valueFields, type WebhookInput } from './webhook-input.js';

const deadlineText = isoTimes();
const detectionText = isoTimes();

export function standardBody(input: WebhookInput): string {
  const { expiration, route, params, value, lookup, isTest } = input;
  const { database, key, detectedBy, detectedAtMs, expiredAtMs } = expiration;
  const detectedAt = `"${detectionText(detectedAtMs)}"`;
  const expiredAt = expiredAtMs === null ? null : `"${deadlineText(expiredAtMs)}"`;
  const captures = Object.keys(params)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${JSON.stringify(textOf(params[name] ?? key))}`);
  return (
    `{"data":{"database":${database},"detected_at":${detectedAt},"detected_by":"${detectedBy}",` +
    `"expired_at":${expiredAt}${keyMembers(key)}` +
    (lookup === null
      ? ''
      : `,"lookup":${stringify({ ...keyFields(lookup.key), ...valueFields(lookup) })}`) +
    `,"params":{${captures.join()}},"route":${JSON.stringify(route.name)}${isTest ? ',"test":true' : ''}` +
    (value === null ? '' : members(valueFields(value))) +
    `},"timestamp":${expiredAt ?? detectedAt},"type":${JSON.stringify(route.type)}}`
  );
}

function keyMembers(key: Uint8Array): string {
  const exactText = decodeUtf8(key);
  return exactText === null ? members(keyFields(key)) : `,"key":${JSON.stringify(exactText)}`;
}

/** The members of an object, each after a comma. */
function members(fields: { readonly [name: string]: Json }): string {
  return `,${stringify(fields).slice(1, -1)}`;
}
