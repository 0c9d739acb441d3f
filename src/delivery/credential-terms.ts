/** What gives a credential of an endpoint away where a text holds it. Pure. */
import type { Endpoint } from '../model/endpoint.js';
import { PRIVATE_KEY_PREFIX, SEED_BYTES } from '../signing/key-pair.js';

/** Less is a switch or a version, such as `on`. */
export const TERM_CHARS_MIN = 4;

/** A number of fewer digits is a port, a year or a count. */
const NUMBER_CHARS_MIN = 6;

/** A word or number of so many characters gives a credential away also inside a longer one. */
const LONG_CHARS_MIN = 8;

/** Less of an encoding may stand anywhere by chance. */
const ENCODED_CHARS_MIN = 6;

/** What is written as words and numbers are, and may stand in a longer one by chance. */
const WORD = /^(?:[a-z]+|[A-Z][a-z]+|[A-Z]+|\d+)$/;

/** Characters that neither words nor versions nor paths have. */
const UNUSUAL = /[^\w\s.:/-]/;

/** So much of the beginning or end of a term gives it away: the answer may cut it. */
const TELLING_CHARS = 16;

/** Authentication schemes and switches: never a credential. */
const SWITCH = /^(?:bearer|basic|token|true|false)$/i;
const SCHEME = /^(?:bearer|basic|token|digest|apikey)\s+(.+)$/is;

/** Common in answers; a credential may hold them, and is more than one of them. */
const COMMON_WORD =
  /^(?:access|account|apikey|auth|authorization|client|error|hook|http|https|invalid|json|live|null|password|prod|production|secret|session|staging|test|user|webhook|webhooks)$/i;

/** Headers that say what a client understands. */
const PUBLIC_HEADER = /^(?:accept(?:-.+)?|cache-control|pragma)$/;

/** A segment of a URL's path that is a credential itself: a long one of letters and digits. */
const SECRET_SEGMENT = /^(?=.*\d)(?=.*[a-z])[\w.~%-]{16,}$/i;

/** What is searched for, in lower case; the letters and digits of ASCII alone, except for `literal`. */
export interface Terms {
  /** As the operator knows them. */
  readonly name: string;
  readonly within: Set<string>;
  /** Only between characters that are neither letters nor digits. */
  readonly alone: Set<string>;
  /** Of credentials that have hardly any letters and digits of ASCII. */
  readonly literal: Set<string>;
  /** Of signing keys. */
  readonly bytes: readonly Buffer[];
}

/** What no encoding of characters and no escape changes. */
export function compacted(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, '');
}

export function reversed(text: string): string {
  return Array.from(text).reverse().join('');
}

/** Made once for each endpoint as it is: every answer needs them. */
const made = new WeakMap<Endpoint, readonly Terms[]>();

export function termsOf(endpoint: Endpoint): readonly Terms[] {
  let terms = made.get(endpoint);
  if (terms === undefined) {
    terms = makeTerms(endpoint);
    made.set(endpoint, terms);
  }
  return terms;
}

function makeTerms({ headers, url, secrets, proxy }: Endpoint): readonly Terms[] {
  const sent = Object.entries(headers).flatMap(([name, value]) =>
    PUBLIC_HEADER.test(name) ? [] : valuesInHeader(value.reveal()),
  );
  const keys = secrets
    .map((secret) => secret.reveal())
    .map((text) => ({
      text: text.slice(text.indexOf('_') + 1),
      bytes: keyBytes(text),
    }));
  const login = proxy?.authorization == null ? [] : valuesInHeader(proxy.authorization.reveal());
  const all = [
    gathered('a header or the query', [...sent, ...valuesInUrl(url)]),
    gathered(
      'a signing secret',
      keys.flatMap(({ text, bytes }) => [text, bytes.toString('hex')]),
      keys.map(({ bytes }) => bytes),
    ),
    gathered("the proxy's login", login),
  ];
  return all.filter(
    ({ within, alone, literal, bytes }) =>
      within.size + alone.size + literal.size + bytes.length > 0,
  );
}

/** Of `whsk_…` the second half is public. */
function keyBytes(text: string): Buffer {
  const bytes = Buffer.from(text.slice(text.indexOf('_') + 1), 'base64');
  return text.startsWith(PRIVATE_KEY_PREFIX) ? bytes.subarray(0, SEED_BYTES) : bytes;
}

/** All of it, and what stands behind the scheme; of basic authentication also the password. */
function valuesInHeader(value: string): string[] {
  const [, behindScheme] = SCHEME.exec(value) ?? [];
  const [, base64] = /^basic\s+(\S+)$/i.exec(value) ?? [];
  const login = base64 === undefined ? '' : Buffer.from(base64, 'base64').toString();
  const [, password] = /:(.*)$/s.exec(login) ?? [];
  return [value, behindScheme, password].filter((one) => one !== undefined);
}

/**
 * Of the query, as it stands in the URL and as a receiver reads it; a name where it is all there is.
 * Of the path, what only its owner knows.
 */
function valuesInUrl({ search, searchParams, pathname }: URL): string[] {
  const sent = search
    .slice(1)
    .split('&')
    .map((pair) => pair.slice(pair.indexOf('=') + 1));
  const read = Array.from(searchParams, ([name, value]) => (value === '' ? name : value));
  const segments = pathname.split('/').filter((segment) => SECRET_SEGMENT.test(segment));
  return [...sent, ...read, ...segments];
}

/** Of each value all of it, and each of its parts that is more than a common word. */
function gathered(name: string, values: readonly string[], keys: readonly Buffer[] = []): Terms {
  const terms: Terms = {
    name,
    within: new Set(),
    alone: new Set(),
    literal: new Set(),
    bytes: keys.map((key) => key.subarray(0, TELLING_CHARS)),
  };
  for (const value of values) {
    if (SWITCH.test(value)) continue;
    if (isTelling(compacted(value))) note(value, terms);
    else if (UNUSUAL.test(value) && value.length >= TERM_CHARS_MIN) {
      terms.literal.add(value.toLowerCase()).add(reversed(value.toLowerCase()));
      noteEncoded(value, terms);
    }
    const parts = [...value.split(/[\s;,&=:"']+/), ...(value.match(/[a-z0-9]+/gi) ?? [])];
    for (const part of parts.filter((one) => !SWITCH.test(one) && !COMMON_WORD.test(one))) {
      if (isTelling(compacted(part))) note(part, terms);
    }
  }
  return terms;
}

function isTelling(compact: string): boolean {
  return compact.length >= (/^\d*$/.test(compact) ? NUMBER_CHARS_MIN : TERM_CHARS_MIN);
}

function note(text: string, terms: Terms): void {
  noteEncoded(text, terms);
  const compact = compacted(text);
  if (compact.length >= LONG_CHARS_MIN || !WORD.test(text)) return noteWithin(compact, terms);
  terms.alone.add(compact).add(reversed(compact));
}

function noteEncoded(text: string, terms: Terms): void {
  for (const encoded of encodingsOf(text)) noteWithin(encoded, terms);
}

function noteWithin(compact: string, { within }: Terms): void {
  for (const one of [compact, reversed(compact)]) {
    within.add(one.slice(0, TELLING_CHARS)).add(one.slice(-TELLING_CHARS));
  }
}

/**
 * In base64 from each place in a group of three bytes, without the characters that its neighbours share;
 * and in hexadecimal. For what is encoded twice, or in another case, which nothing can decode.
 */
function encodingsOf(value: string): string[] {
  const bytes = Buffer.from(value);
  const base64 = [0, 1, 2].map((at) => {
    const whole = Buffer.concat([Buffer.alloc(at), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const end = (at + bytes.length) % 3 === 0 ? whole.length : whole.length - 1;
    return compacted(whole.slice(at === 0 ? 0 : at + 1, end));
  });
  return [...base64, bytes.toString('hex')].filter(({ length }) => length >= ENCODED_CHARS_MIN);
}
