/** What is said of a key that has no meaning where it stands, and which one was meant. Pure. */

import { defectOf } from '../lib/text-defect.js';
import { endpointFields } from './endpoint-schema.js';
import type { JsonSchema } from './json-schema.js';
import { type Complaint, isConfidentialPlace } from './mistakes.js';
import type { Path } from './path.js';
import { routeFields } from './schema.js';
import { nearest } from './suggest.js';
import { keyHead, keyHint, shownKey, statement } from './wording.js';

/** Names that others have for a key of ours, and that no slip of the hand makes of it. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  bodies: 'body',
  template: 'body',
  pattern: 'match',
  endpoint: 'to',
  endpoints: 'to',
  secret_file: 'secrets',
  secrets_file: 'secrets',
  ca: 'ca_file',
  cert: 'cert_file',
  key: 'key_file',
  user: 'username',
};

/** How a key that was meant is written, where its name alone does not tell. */
const WRITTEN: Readonly<Record<string, string>> = {
  secret_file: 'secrets: [{file: …}]',
  secrets_file: 'secrets: [{file: …}]',
};

/** As all keys of the file are: too short for a secret, and without digits. */
const PLAIN_KEY = /^[a-z_]{1,24}$/;

/** Where the values are secret, and the keys are those of a closed set. */
const WORD_KEY = /^[A-Za-z_]{1,32}$/;

/** The keys that the schema knows at a place of the file. */
function keysAt(schema: JsonSchema, [step, ...rest]: Path): string[] {
  const options = [schema, ...(schema.anyOf ?? [])];
  if (step === undefined) return options.flatMap(({ properties = {} }) => Object.keys(properties));
  return options.flatMap(({ properties, additionalProperties, items }) => {
    const named = properties?.[step] ?? additionalProperties;
    const inner = typeof step === 'number' ? items : named;
    return typeof inner === 'object' ? keysAt(inner, rest) : [];
  });
}

/** The key that was probably meant by an unknown one; null when none is near. */
export function meantKey(path: Path, key: string, schema: JsonSchema): string | null {
  const head = keyHead(key);
  const keys = keysAt(schema, path);
  const other = Object.hasOwn(OTHER_NAMES, head) ? OTHER_NAMES[head] : undefined;
  return other !== undefined && keys.includes(other) ? other : nearest(head, keys);
}

/** In `secrets` and `headers` a text that was misplaced may have become a key. */
function mayShowKey(path: Path, head: string): boolean {
  if (!isConfidentialPlace(path) || PLAIN_KEY.test(head)) return true;
  const [section, , field] = path;
  const isClosed = section === 'endpoints' && (field === 'tls' || field === 'basic');
  return isClosed && path.length === 3 && WORD_KEY.test(head);
}

/** What to do about a key that stands at a route but belongs to an endpoint, or the reverse. */
function belongsElsewhere([section, , ...rest]: Path, head: string): string | null {
  if (rest.length > 0) return null;
  if (section === 'routes' && Object.hasOwn(endpointFields, head)) {
    return 'it belongs to the endpoint, under endpoints';
  }
  if (section !== 'endpoints' || !Object.hasOwn(routeFields, head)) return null;
  if (head === 'name') return 'the name of an endpoint is the key that it stands under';
  return 'it belongs to the route, under routes';
}

function suggestion(path: Path, key: string, schema: JsonSchema): string | null {
  const head = keyHead(key);
  const elsewhere = path.length === 2 ? belongsElsewhere(path, head) : null;
  if (elsewhere !== null) return elsewhere;
  if (head === 'insecure' && path.at(-1) === 'tls') {
    return 'every certificate is verified; name its authority in ca_file';
  }
  const meant = meantKey(path, key, schema);
  if (meant === null) {
    return path.length === 0 ? 'keys of your own begin with x-, such as x-defaults' : null;
  }
  const written = Object.hasOwn(WRITTEN, head) ? WRITTEN[head] : undefined;
  return `did you mean ${written ?? `"${meant}"`}?`;
}

export function unknownKey(path: Path, key: string, schema: JsonSchema): Complaint {
  const name = mayShowKey(path, keyHead(key)) ? ` ${shownKey(key)}` : '';
  const defect = defectOf(key);
  const looks = defect === null ? null : `it ${defect}`;
  const notes = [looks, keyHint(key), suggestion(path, key, schema)].filter(
    (note) => note !== null,
  );
  const text = [`unknown key${name}`, ...notes].join('; ');
  return { path: [...path, key], about: 'name', wording: statement(text) };
}
