/** Parses the configuration's secrets, headers and paths. Pure; never quotes the value found. */

import { TEST_HEADER } from '../delivery/request.js';
import { PATH_PATTERN } from '../model/names.js';
import { Secret } from '../model/secret.js';
import { PLACEHOLDER } from '../payload/path-template.js';
import {
  PRIVATE_KEY_PREFIX,
  PUBLIC_KEY_BYTES,
  PUBLIC_KEY_PREFIX,
  privateKeyOf,
  publicBytesOf,
  SEED_BYTES,
} from '../signing/key-pair.js';
import { SECRET_BYTES_MAX, SECRET_BYTES_MIN, SECRET_PREFIX } from '../signing/sign.js';
import { accept, mismatch, type Reading, reject, type Wording } from './wording.js';

/** Common servers reject headers larger than 8 KiB. */
export const HEADER_CHARS_MAX = 8192;
/** With the endpoint's own path, the URL stays well under the 8 KiB that common servers accept. */
export const PATH_CHARS_MAX = 2048;
/** Keys are short; a long one does not belong in the configuration. */
export const LOOKUP_CHARS_MAX = 1024;
export const NAME_EXPECTED = 'a name of 1–64 letters, digits, - and _';
/** The valid paths on Linux. */
export const FILE_PATH_PATTERN = /^[^\0]{1,4095}$/;

/** Sentinel allows no other names. */
export const SENTINEL_MASTER_PATTERN = /^[A-Za-z0-9._-]{1,128}$/;

/** A host name or an address. */
export const SERVER_NAME_PATTERN = /^[A-Za-z0-9._:-]{1,253}$/;

const HEADER_NAME_PATTERN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
/** Visible Latin-1, space and tab. */
const HEADER_VALUE_PATTERN = /^[\t\x20-\x7e\x80-\xff]*$/;
const OWN_HEADERS: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'content-type',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'upgrade',
  'te',
  'trailer',
  'expect',
  'user-agent',
  'webhook-id',
  'webhook-timestamp',
  'webhook-signature',
  TEST_HEADER,
]);

/** Null unless the string is padded standard base64. */
function bytesOf(encoded: string): Buffer | null {
  const bytes = Buffer.from(encoded, 'base64');
  return bytes.toString('base64') === encoded ? bytes : null;
}

const NO_BASE64 = 'one whose rest is not padded standard base64';

/** `whsk_…`: the seed, optionally followed by its public key. */
function readPrivateKey(text: string): Reading<Secret> {
  const bytesMax = SEED_BYTES + PUBLIC_KEY_BYTES;
  const fail = (found: string) =>
    reject(`${PRIVATE_KEY_PREFIX} and then ${bytesMax} or ${SEED_BYTES} bytes in base64`, {
      found,
      hint: 'generate one with: expiry-relay secret --asymmetric',
    });
  const bytes = bytesOf(text.slice(PRIVATE_KEY_PREFIX.length));
  if (bytes === null) return fail(NO_BASE64);
  if (bytes.length !== SEED_BYTES && bytes.length !== bytesMax) {
    return fail(`one ${bytes.length} bytes long`);
  }
  const publicBytes = publicBytesOf(privateKeyOf(bytes.subarray(0, SEED_BYTES)));
  if (bytes.length === bytesMax && !bytes.subarray(SEED_BYTES).equals(publicBytes)) {
    return fail('one whose halves do not match');
  }
  return accept(new Secret(text));
}

function noSecret(found: string): Wording {
  const expected = `${SECRET_PREFIX} and then ${SECRET_BYTES_MIN}–${SECRET_BYTES_MAX} bytes in base64`;
  return mismatch(expected, { found, hint: 'generate one with: expiry-relay secret' });
}

export const EMPTY_SECRET = noSecret('an empty string');

/** A signing secret with its prefix, `whsec_…` or `whsk_…`; the bytes after the prefix are validated. */
export function readSecret(text: string): Reading<Secret> {
  const fail = (found: string): Reading<never> => ({ ok: false, wording: noSecret(found) });
  if (text === '') return { ok: false, wording: EMPTY_SECRET };
  if (text.startsWith(PRIVATE_KEY_PREFIX)) return readPrivateKey(text);
  if (text.startsWith(PUBLIC_KEY_PREFIX)) {
    return fail(`a public key (${PUBLIC_KEY_PREFIX}…), which verifies but cannot sign`);
  }
  if (!text.startsWith(SECRET_PREFIX)) return fail(`one without the prefix ${SECRET_PREFIX}`);
  const bytes = bytesOf(text.slice(SECRET_PREFIX.length));
  if (bytes === null) return fail(NO_BASE64);
  if (bytes.length < SECRET_BYTES_MIN || bytes.length > SECRET_BYTES_MAX) {
    return fail(`one ${bytes.length} bytes long`);
  }
  return accept(new Secret(text));
}

/** Represents an empty string or file among an endpoint's secrets; signs nothing. */
export const NO_SECRET = new Secret('');

/** One of several secrets; the next or the previous one may be empty during a rotation. */
export function readListedSecret(text: string): Reading<Secret> {
  return text === '' ? accept(NO_SECRET) : readSecret(text);
}

/** A verification key: `whpk_…`, or a signing secret. */
export function readVerifyingSecret(text: string): Reading<Secret> {
  if (!text.startsWith(PUBLIC_KEY_PREFIX)) return readSecret(text);
  const bytes = bytesOf(text.slice(PUBLIC_KEY_PREFIX.length));
  if (bytes?.length === PUBLIC_KEY_BYTES) return accept(new Secret(text));
  return reject(`${PUBLIC_KEY_PREFIX} and then ${PUBLIC_KEY_BYTES} bytes in base64`);
}

/** Braces would create a second hash tag; a colon ends the prefix. */
export const STATE_PREFIX_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;

/** Returns lower case. */
export function readHeaderName(text: string): Reading<string> {
  const name = text.toLowerCase();
  if (OWN_HEADERS.has(name) || name.startsWith('proxy-')) {
    return reject('a header that the relay does not set');
  }
  if (!HEADER_NAME_PATTERN.test(name)) return reject('the name of an HTTP header');
  return accept(name);
}

/** RFC 7617: the name ends at the first colon. */
const USER_PATTERN = /^[^:\p{Cc}]{1,1024}$/u;

export function readBasicUser(text: string): Reading<string> {
  if (USER_PATTERN.test(text)) return accept(text);
  return reject('a user name without a colon', { found: text === '' ? 'an empty string' : null });
}

const BASIC_PASSWORD_PATTERN = /^\P{Cc}{1,4096}$/u;

export function readBasicPassword(text: string): Reading<Secret> {
  if (BASIC_PASSWORD_PATTERN.test(text)) return accept(new Secret(text));
  const found = text === '' ? 'an empty string' : 'one with control characters, or too long';
  return reject('a password of one line', { found });
}

export function readHeaderValue(text: string): Reading<Secret> {
  const expected = 'a header value: one line of Latin-1 text';
  if (text.length > HEADER_CHARS_MAX) {
    return reject(`a header value of at most ${HEADER_CHARS_MAX} characters`, {
      found: `one of ${text.length}`,
    });
  }
  if (/[\r\n]/.test(text)) return reject(expected, { found: 'one with a line break' });
  if (!HEADER_VALUE_PATTERN.test(text)) {
    return reject(expected, { found: 'one with characters that no header can hold' });
  }
  return accept(new Secret(text));
}

/** Returns the key with its `{name}`s, as written. */
export function readLookup(text: string): Reading<string> {
  const expected = 'a key such as order:{id}';
  if (text === '') return reject(expected, { found: 'an empty string' });
  if (text.length > LOOKUP_CHARS_MAX) {
    return reject(`a key of at most ${LOOKUP_CHARS_MAX} characters`, {
      found: `one of ${text.length}`,
    });
  }
  if (/[{}]/.test(text.replace(PLACEHOLDER, ''))) {
    return reject(expected, { hint: 'each { needs a name and a }' });
  }
  return accept(text);
}

/** Returns the path with its `{name}`s, as written. */
export function readRoutePath(text: string): Reading<string> {
  const expected = 'a path such as /orders/{id}/cancel';
  if (!text.startsWith('/')) return reject(expected, { hint: 'it begins with /' });
  if (text.length > PATH_CHARS_MAX) {
    return reject(`a path of at most ${PATH_CHARS_MAX} characters`, {
      found: `one of ${text.length}`,
    });
  }
  // Placeholders are replaced by a letter; the rest must be valid in a URL.
  const literal = text.replace(PLACEHOLDER, 'x');
  if (/[{}]/.test(literal)) return reject(expected, { hint: 'each { needs a name and a }' });
  if (literal.includes('#')) return reject(expected, { hint: 'no fragment: # never reaches HTTP' });
  if (!PATH_PATTERN.test(literal)) {
    return reject(expected, { hint: 'other characters must be percent-encoded' });
  }
  const [pathname = ''] = literal.split('?');
  const segments = pathname.split('/').map((segment) => segment.replaceAll(/%2e/gi, '.'));
  if (segments.includes('.') || segments.includes('..')) {
    return reject(expected, { hint: 'no . or .. between slashes' });
  }
  return accept(text);
}
