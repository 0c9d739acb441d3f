/** Builds the exact bytes of a webhook's body in the route's format. Pure. */
import { stringify } from 'safe-stable-stringify';
import { textOf } from '../lib/printable.js';
import type { BodyFormat, Reference } from '../model/body-format.js';
import type { Json } from '../model/key-value.js';
import { fillTemplate, isPlaceholderName, type PlaceholderName, valueIn } from './body-template.js';
import { cloudEvent } from './cloudevents.js';
import { standardBody } from './standard-body.js';
import { isoOf, timestampOf, type WebhookInput } from './webhook-input.js';

/**
 * A fully escaped key and its params take 13 MiB; a template may repeat them. A larger body would fill the outbox,
 * and no receiver accepts it.
 */
export const BODY_BYTES_MAX = 16 * 1024 * 1024;

const NOTHING = Buffer.alloc(0);

/**
 * Returns a function from a webhook's id to its body, null above BODY_BYTES_MAX. The parts that do not depend on
 * the id are built once.
 */
export function bodiesOf(input: WebhookInput): (id: string) => Buffer | null {
  const { format } = input.route;
  switch (format.kind) {
    case 'standard': {
      const body = encodeBounded(standardBody(input));
      return () => body;
    }
    case 'none':
      return () => NOTHING;
    case 'cloudevents':
      return (id) => encodeBounded(stringify(cloudEvent(input, format.source, id)));
    case 'template':
      return (id) => encodeBounded(fill(format, input, id));
  }
}

function encodeBounded(text: string | null): Buffer | null {
  if (text === null || text.length > BODY_BYTES_MAX) return null;
  const body = Buffer.from(text);
  return body.length > BODY_BYTES_MAX ? null : body;
}

/** The value of each template name; null for a value that was not, or could not be, read. */
const PLACEHOLDER_VALUES: Readonly<
  Record<PlaceholderName, (input: WebhookInput, id: string) => Json>
> = {
  key: ({ expiration }) => textOf(expiration.key),
  database: ({ expiration }) => expiration.database,
  expired_at: ({ expiration }) => isoOf(expiration.expiredAtMs),
  detected_at: ({ expiration }) => isoOf(expiration.detectedAtMs),
  detected_by: ({ expiration }) => expiration.detectedBy,
  timestamp: ({ expiration }) => timestampOf(expiration),
  route: ({ route }) => route.name,
  type: ({ route }) => route.type,
  webhook_id: (_, id) => id,
  value: ({ value }) => value?.value ?? null,
  value_base64: ({ value }) => value?.base64 ?? null,
  value_omitted: ({ value }) => value?.omitted ?? null,
  value_read_at: ({ value }) => isoOf(value?.readAtMs ?? null),
  lookup: ({ lookup }) => lookup?.value ?? null,
  lookup_base64: ({ lookup }) => lookup?.base64 ?? null,
  lookup_omitted: ({ lookup }) => lookup?.omitted ?? null,
  lookup_read_at: ({ lookup }) => isoOf(lookup?.readAtMs ?? null),
};

function fill(
  { pieces }: Extract<BodyFormat, { kind: 'template' }>,
  input: WebhookInput,
  id: string,
): string | null {
  const standsFor = ({ name, fields }: Reference): Json => {
    if (isPlaceholderName(name)) return valueIn(PLACEHOLDER_VALUES[name](input, id), fields);
    const param = input.params[name];
    return param === undefined ? null : textOf(param);
  };
  return fillTemplate(pieces, standsFor, BODY_BYTES_MAX);
}
