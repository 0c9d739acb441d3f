/** Messages for unknown keys, with the key that was probably meant. Pure. */

import { defectOf } from '../lib/text-defect.js';
import { endpointFields } from './endpoint-schema.js';
import type { JsonSchema } from './json-schema.js';
import { type Complaint, isConfidentialPlace } from './mistakes.js';
import type { Path } from './path.js';
import { routeFields } from './schema.js';
import { findNearest } from './suggest.js';
import { keyHead, keyHint, showKey, statement } from './wording.js';

/** Names that other tools use for our keys, beyond spelling errors. */
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
  hosts: 'nodes',
  master_name: 'master',
  service: 'master',
};

/** The full spelling of suggested keys whose name alone is not enough. */
const WRITTEN: Readonly<Record<string, string>> = {
  secret_file: 'secrets: [{file: …}]',
  secrets_file: 'secrets: [{file: …}]',
};

/** The form of all schema keys: too short for a secret, and without digits. */
const PLAIN_KEY = /^[a-z_]{1,24}$/;

/** The form of keys where values are secret and the set of keys is closed. */
const WORD_KEY = /^[A-Za-z_]{1,32}$/;

/** The schema's keys at a path. */
function keysAt(schema: JsonSchema, [step, ...rest]: Path): string[] {
  const options = [schema, ...(schema.anyOf ?? [])];
  if (step === undefined) return options.flatMap(({ properties = {} }) => Object.keys(properties));
  return options.flatMap(({ properties, additionalProperties, items }) => {
    const named = properties?.[step] ?? additionalProperties;
    const inner = typeof step === 'number' ? items : named;
    return typeof inner === 'object' ? keysAt(inner, rest) : [];
  });
}

/** The key that was probably meant; null when none is similar. */
export function suggestKey(path: Path, key: string, schema: JsonSchema): string | null {
  const head = keyHead(key);
  const keys = keysAt(schema, path);
  const other = Object.hasOwn(OTHER_NAMES, head) ? OTHER_NAMES[head] : undefined;
  return other !== undefined && keys.includes(other) ? other : findNearest(head, keys);
}

/** In `secrets` and `headers`, a misplaced string may have become a key. */
function mayShowKey(path: Path, head: string): boolean {
  if (!isConfidentialPlace(path) || PLAIN_KEY.test(head)) return true;
  const [section, , field] = path;
  const isClosed = section === 'endpoints' && (field === 'tls' || field === 'basic');
  return isClosed && path.length === 3 && WORD_KEY.test(head);
}

/** Advice for an endpoint's key in a route, or the reverse. */
function adviseOtherSection([section, , ...rest]: Path, head: string): string | null {
  if (rest.length > 0) return null;
  if (section === 'routes' && Object.hasOwn(endpointFields, head)) {
    return 'it belongs to the endpoint, under endpoints';
  }
  if (section !== 'endpoints' || !Object.hasOwn(routeFields, head)) return null;
  if (head === 'name') return 'the name of an endpoint is its key';
  return 'it belongs to the route, under routes';
}

function suggestion(path: Path, key: string, schema: JsonSchema): string | null {
  const head = keyHead(key);
  const elsewhere = path.length === 2 ? adviseOtherSection(path, head) : null;
  if (elsewhere !== null) return elsewhere;
  if (head === 'insecure' && path.at(-1) === 'tls') {
    return 'certificates are always verified; set ca_file to the authority of the certificate';
  }
  const meant = suggestKey(path, key, schema);
  if (meant === null) {
    return path.length === 0 ? 'keys for your own use begin with x-, such as x-defaults' : null;
  }
  const written = Object.hasOwn(WRITTEN, head) ? WRITTEN[head] : undefined;
  return `did you mean ${written ?? `"${meant}"`}?`;
}

export function unknownKey(path: Path, key: string, schema: JsonSchema): Complaint {
  const name = mayShowKey(path, keyHead(key)) ? ` ${showKey(key)}` : '';
  const defect = defectOf(key);
  const looks = defect === null ? null : `it ${defect}`;
  const notes = [looks, keyHint(key), suggestion(path, key, schema)].filter(
    (note) => note !== null,
  );
  const text = [`unknown key${name}`, ...notes].join('; ');
  return { path: [...path, key], about: 'name', wording: statement(text) };
}
