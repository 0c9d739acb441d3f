/** A webhook in CloudEvents 1.0, in HTTP's structured mode and the JSON format. Pure. */
import { textOf } from '../lib/printable.js';
import type { Json } from '../model/key-value.js';
import { dataOf, timestampOf, type WebhookInput } from './webhook-input.js';

/**
 * Characters that the specification excludes from its type String: control characters and noncharacters. (Strings
 * decoded from bytes have no lone surrogates.)
 */
const NO_ATTRIBUTE_TEXT = /[\p{Cc}\p{Noncharacter_Code_Point}]/gu;

/** `id`: the webhook's; `source`: a URI reference. The pair is unique. */
export function cloudEvent(input: WebhookInput, source: string, id: string): Json {
  const { expiration, route } = input;
  return {
    specversion: '1.0',
    id,
    source,
    type: route.type,
    ...subjectOf(expiration.key),
    time: timestampOf(expiration),
    datacontenttype: 'application/json',
    data: dataOf(input),
  };
}

/** The key; absent when empty, which the specification forbids. The exact key is in the data. */
function subjectOf(key: Uint8Array): { subject?: string } {
  const subject = textOf(key).replace(NO_ATTRIBUTE_TEXT, '\ufffd');
  return subject === '' ? {} : { subject };
}
