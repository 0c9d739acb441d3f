/** A webhook after CloudEvents 1.0, in HTTP's structured mode and the JSON format. Pure. */
import { textOf } from '../lib/printable.js';
import type { Json } from '../model/key-value.js';
import { dataOf, timestampOf, type WebhookInput } from './webhook-input.js';

/**
 * What the specification's type String excludes: control characters, and code points that are no
 * characters. (What is decoded from bytes holds no lone surrogates.)
 */
const NO_ATTRIBUTE_TEXT = /[\p{Cc}\p{Noncharacter_Code_Point}]/gu;

/** `id` is the webhook's own; `source` a URI reference. Together they tell it from every other. */
export function cloudEvent(told: WebhookInput, source: string, id: string): Json {
  const { expiration, route } = told;
  return {
    specversion: '1.0',
    id,
    source,
    type: route.type,
    ...subjectOf(expiration.key),
    time: timestampOf(expiration),
    datacontenttype: 'application/json',
    data: dataOf(told),
  };
}

/** The key, which may not be empty here; its exact text is in the data. */
function subjectOf(key: Uint8Array): { subject?: string } {
  const subject = textOf(key).replace(NO_ATTRIBUTE_TEXT, '\ufffd');
  return subject === '' ? {} : { subject };
}
