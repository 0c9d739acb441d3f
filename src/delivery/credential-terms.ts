/** The strings that reveal a credential of an endpoint when a response contains them. Pure. */
import type { Endpoint } from '../model/endpoint.js';
import { PRIVATE_KEY_PREFIX, SEED_BYTES } from '../signing/key-pair.js';

/** Shorter strings are switches or versions, such as `on`. */
export const TERM_CHARS_MIN = 4;

/** Numbers of fewer digits are ports, years or counts. */
const NUMBER_CHARS_MIN = 6;

/** A word or number of this length reveals a credential even inside a longer one. */
const LONG_CHARS_MIN = 8;

/** Shorter parts of an encoding may occur anywhere by chance. */
const ENCODED_CHARS_MIN = 6;

/** Strings spelled like words and numbers, which may occur inside a longer one by chance. */
const WORD = /^(?:[a-z]+|[A-Z][a-z]+|[A-Z]+|\d+)$/;

/** Characters that occur in neither words nor versions nor paths. */
const UNUSUAL = /[^\w\s.:/-]/;

/** The beginning or end of a term, of this length, reveals it: a response may truncate the term. */
const TELLING_CHARS = 16;

/** Authentication schemes and switches: never a credential. */
const SWITCH = /^(?:bearer|basic|token|true|false)$/i;
const SCHEME = /^(?:bearer|basic|token|digest|apikey)\s+(.+)$/is;

/** Words that are common in responses. A credential may contain them, but is more than one of them. */
const COMMON_WORD =
  /^(?:access|account|apikey|auth|authorization|client|error|hook|http|https|invalid|json|live|null|password|prod|production|secret|session|staging|test|user|webhook|webhooks)$/i;

/** Headers that describe the client's capabilities. */
const PUBLIC_HEADER = /^(?:accept(?:-.+)?|cache-control|pragma)$/;

/** A segment of a URL's path that is itself a credential: a long one of letters and digits. */
const SECRET_SEGMENT = /^(?=.*\d)(?=.*[a-z])[\w.~%-]{16,}$/i;

/** The search terms, in lower case and reduced to ASCII letters and digits, except for `literal`. */
export interface Terms {
  /** The credential's name for the operator. */
  readonly name: string;
  readonly within: Set<string>;
  /** Terms that count only between characters other than letters and digits. */
  readonly alone: Set<string>;
  /** Credentials with hardly any ASCII letters and digits. */
  readonly literal: Set<string>;
  /** The bytes of signing keys. */
  readonly bytes: readonly Buffer[];
}

/** The letters and digits of a string: no character encoding and no escape changes them. */
export function alphanumerics(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, '');
}

export function reverse(text: string): string {
  return Array.from(text).reverse().join('');
}

/** The terms of each endpoint, computed once: every response needs them. */
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
    collect('a header or the query', [...sent, ...valuesInUrl(url)]),
    collect(
      'a signing secret',
      keys.flatMap(({ text, bytes }) => [text, bytes.toString('hex')]),
      keys.map(({ bytes }) => bytes),
    ),
    collect("the proxy's login", login),
  ];
  return all.filter(
    ({ within, alone, literal, bytes }) =>
      within.size + alone.size + literal.size + bytes.length > 0,
  );
}

/** The bytes of a key without its public part: the second half of `whsk_…`. */
function keyBytes(text: string): Buffer {
  const bytes = Buffer.from(text.slice(text.indexOf('_') + 1), 'base64');
  return text.startsWith(PRIVATE_KEY_PREFIX) ? bytes.subarray(0, SEED_BYTES) : bytes;
}

/** The whole value, the part after the scheme, and for basic authentication the password. */
function valuesInHeader(value: string): string[] {
  const [, behindScheme] = SCHEME.exec(value) ?? [];
  const [, base64] = /^basic\s+(\S+)$/i.exec(value) ?? [];
  const login = base64 === undefined ? '' : Buffer.from(base64, 'base64').toString();
  const [, password] = /:(.*)$/s.exec(login) ?? [];
  return [value, behindScheme, password].filter((one) => one !== undefined);
}

/**
 * Query values as written in the URL and as a receiver decodes them; the name of a parameter without a value; path
 * segments that look like credentials.
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

/** The terms of each whole value and of each of its parts that is more than a common word. */
function collect(name: string, values: readonly string[], keys: readonly Buffer[] = []): Terms {
  const terms: Terms = {
    name,
    within: new Set(),
    alone: new Set(),
    literal: new Set(),
    bytes: keys.map((key) => key.subarray(0, TELLING_CHARS)),
  };
  for (const value of values) {
    if (SWITCH.test(value)) continue;
    if (isTelling(alphanumerics(value))) note(value, terms);
    else if (UNUSUAL.test(value) && value.length >= TERM_CHARS_MIN) {
      terms.literal.add(value.toLowerCase()).add(reverse(value.toLowerCase()));
      noteEncoded(value, terms);
    }
    const parts = [...value.split(/[\s;,&=:"']+/), ...(value.match(/[a-z0-9]+/gi) ?? [])];
    for (const part of parts.filter((one) => !SWITCH.test(one) && !COMMON_WORD.test(one))) {
      if (isTelling(alphanumerics(part))) note(part, terms);
    }
  }
  return terms;
}

function isTelling(compact: string): boolean {
  return compact.length >= (/^\d*$/.test(compact) ? NUMBER_CHARS_MIN : TERM_CHARS_MIN);
}

function note(text: string, terms: Terms): void {
  noteEncoded(text, terms);
  const compact = alphanumerics(text);
  if (compact.length >= LONG_CHARS_MIN || !WORD.test(text)) return noteWithin(compact, terms);
  terms.alone.add(compact).add(reverse(compact));
}

function noteEncoded(text: string, terms: Terms): void {
  for (const encoded of encodingsOf(text)) noteWithin(encoded, terms);
}

function noteWithin(compact: string, { within }: Terms): void {
  for (const one of [compact, reverse(compact)]) {
    within.add(one.slice(0, TELLING_CHARS)).add(one.slice(-TELLING_CHARS));
  }
}

/**
 * Base64 at each offset in a group of three bytes, without the characters that neighboring bytes share, and
 * hexadecimal. These terms find values that are encoded twice or in another case, which cannot be decoded.
 */
function encodingsOf(value: string): string[] {
  const bytes = Buffer.from(value);
  const base64 = [0, 1, 2].map((at) => {
    const whole = Buffer.concat([Buffer.alloc(at), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const end = (at + bytes.length) % 3 === 0 ? whole.length : whole.length - 1;
    return alphanumerics(whole.slice(at === 0 ? 0 : at + 1, end));
  });
  return [...base64, bytes.toString('hex')].filter(({ length }) => length >= ENCODED_CHARS_MIN);
}
