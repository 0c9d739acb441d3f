/**
 * Withholds what a receiver says where it repeats a credential of its endpoint, as debug pages do: as it
 * was sent, in another case, escaped, encoded or reversed. Pure.
 */
import type { Endpoint } from '../endpoint.js';
import { printable } from '../printable.js';
import { PRIVATE_KEY_PREFIX, SEED_BYTES } from './key-pair.js';

/** What is shown of a text. */
const SHOWN_CHARS_MAX = 200;

/** What is searched: beyond what is shown, since a credential may begin there and end behind it. */
const SEARCHED_CHARS_MAX = 2 * SHOWN_CHARS_MAX;

/** Less is a switch or a version, such as `on`. */
const TERM_CHARS_MIN = 4;

/** A number of fewer digits is a port, a year or a count. */
const NUMBER_CHARS_MIN = 6;

/** A word or number of so many characters gives a credential away also inside a longer one. */
const LONG_CHARS_MIN = 8;

/** So much of the beginning or end of a term gives it away: the answer may cut it. */
const TELLING_CHARS = 16;

/** Authentication schemes and switches: never a credential. */
const SWITCH = /^(?:bearer|basic|token|true|false)$/;
const SCHEME = /^(?:bearer|basic|token|digest|apikey)\s+(.+)$/is;

/** Common in answers; a credential may hold them, and is more than one of them. */
const COMMON_WORD =
  /^(?:access|account|apikey|auth|authorization|client|error|hook|http|https|invalid|json|live|null|password|prod|production|secret|session|staging|test|user|webhook|webhooks)$/;

/** Headers that say what a client understands. */
const PUBLIC_HEADER = /^(?:accept(?:-.+)?|cache-control|pragma)$/;

/** A segment of a URL's path that is a credential itself: a long one of letters and digits. */
const SECRET_SEGMENT = /^(?=.*\d)(?=.*[a-z])[\w.~%-]{16,}$/i;

/** What is searched for, in lower case; the letters and digits of ASCII alone, except for `literal`. */
interface Terms {
  /** As the operator knows them. */
  readonly name: string;
  readonly within: ReadonlySet<string>;
  /** Only between characters that are neither letters nor digits. */
  readonly alone: ReadonlySet<string>;
  /** Of credentials that have hardly any letters and digits of ASCII. */
  readonly literal: ReadonlySet<string>;
  /** Of signing keys. */
  readonly bytes: readonly Buffer[];
}

/** `text` made safe to print and cut, or why it is withheld. */
export function shown(text: string, endpoint: Endpoint): string {
  const name = repeatedBy(text, endpoint);
  if (name !== null) return `[withheld: it repeats ${name} of this endpoint]`;
  return printable(text, SHOWN_CHARS_MAX);
}

/** Which credential is repeated in what would be shown of a text; null when none is. */
export function repeatedBy(text: string, endpoint: Endpoint): string | null {
  const terms = termsOf(endpoint);
  if (text === '' || terms.length === 0) return null;
  const searched = text.slice(0, SEARCHED_CHARS_MAX);
  const plain = unescaped(searched);
  const texts = plain === searched ? [plain] : [searched, plain];
  const decoded = texts.flatMap((one) => [...decodings(one), ...decodings(reversed(one))]);
  const hidden = decoded.map((bytes) => unescaped(bytes.toString()));
  const found = terms.find(
    (some) =>
      texts.some((view) => isSaidIn(view, some)) ||
      hidden.some((view) => isHiddenIn(view, some)) ||
      some.bytes.some((key) => decoded.some((bytes) => bytes.includes(key))),
  );
  return found?.name ?? null;
}

function isSaidIn(text: string, { within, alone, literal }: Terms): boolean {
  const lower = text.toLowerCase();
  const runs = alone.size === 0 ? [] : (lower.match(RUNS) ?? []);
  return (
    includesAny(compacted(lower), within) ||
    runs.some((run) => alone.has(run)) ||
    includesAny(lower, literal)
  );
}

/** In what was decoded: no word stands there by chance. */
function isHiddenIn(text: string, { within, alone, literal }: Terms): boolean {
  const compact = compacted(text);
  return (
    includesAny(compact, within) ||
    includesAny(compact, alone) ||
    (literal.size > 0 && includesAny(text.toLowerCase(), literal))
  );
}

function includesAny(text: string, terms: ReadonlySet<string>): boolean {
  for (const term of terms) if (text.includes(term)) return true;
  return false;
}

const RUNS = /[a-z0-9]+/g;

/** What no encoding of characters and no escape changes. */
function compacted(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, '');
}

function reversed(text: string): string {
  return Array.from(text).reverse().join('');
}

/** How often one escape may stand in another. */
const NESTED_MAX = 3;

const NUMERIC_ESCAPE =
  /[\\%]u([0-9a-f]{4})|\\u\{([0-9a-f]{1,6})\}|\\x([0-9a-f]{2})|&#x([0-9a-f]{1,6});?/gi;

/** Percent-encoding, and the escapes of JSON, programming languages and HTML. */
function unescaped(text: string): string {
  let before = text;
  for (let round = 0; round < NESTED_MAX && /[%\\&]/.test(before); round += 1) {
    const after = before
      .replace(/(?:%[0-9a-f]{2})+/gi, (bytes) =>
        Buffer.from(bytes.replaceAll('%', ''), 'hex').toString(),
      )
      .replace(NUMERIC_ESCAPE, (_, ...groups: (string | undefined)[]) =>
        characterOf(Number.parseInt(groups.slice(0, 4).find(Boolean) ?? '', 16)),
      )
      .replace(/&#(\d{1,7});?/g, (_, digits: string) => characterOf(Number(digits)))
      .replace(/\\([0-3][0-7]{2})/g, (_, digits: string) => characterOf(Number.parseInt(digits, 8)))
      .replaceAll('&amp;', '&')
      .replace(/&[a-z]{2,6};|\\[abfnrtv]/gi, ' ');
    if (after === before) break;
    before = after;
  }
  return before;
}

function characterOf(code: number): string {
  return code <= 0x10_ffff ? String.fromCodePoint(code) : '';
}

/**
 * The bytes that a text may stand for in base64, in hexadecimal and as a list of numbers. Whatever
 * separates or breaks the lines is left out. Thus nobody knows where an encoding begins, and each place
 * in a group is tried.
 */
function decodings(text: string): Buffer[] {
  const base64 = text.replace(/[^\w+/-]+/g, '');
  const hex = text.replace(/0x|[^0-9a-f]+/gi, '');
  const numbers = text.match(/\b\d{1,3}\b/g) ?? [];
  return [
    ...[0, 1, 2, 3].map((at) => Buffer.from(base64.slice(at), 'base64')),
    ...[0, 1].map((at) => Buffer.from(hex.slice(at), 'hex')),
    Buffer.from(numbers.map(Number)),
  ].filter(({ length }) => length >= TERM_CHARS_MIN);
}

/** Made once for each endpoint as it is: every answer needs them. */
const made = new WeakMap<Endpoint, readonly Terms[]>();

function termsOf(endpoint: Endpoint): readonly Terms[] {
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
  const terms = {
    within: new Set<string>(),
    alone: new Set<string>(),
    literal: new Set<string>(),
  };
  for (const value of values.map((one) => one.toLowerCase())) {
    const compact = compacted(value);
    if (SWITCH.test(compact)) continue;
    if (isTelling(compact)) note(compact, terms);
    else if (value.length >= TERM_CHARS_MIN && compact.length < value.length / 2) {
      terms.literal.add(value);
    }
    const parts = [...value.split(/[\s;,&=:"']+/).map(compacted), ...(value.match(RUNS) ?? [])];
    for (const part of parts) {
      if (isTelling(part) && !SWITCH.test(part) && !COMMON_WORD.test(part)) note(part, terms);
    }
  }
  const bytes = keys.map((key) => key.subarray(0, TELLING_CHARS));
  return { name, ...terms, bytes };
}

function isTelling(compact: string): boolean {
  return compact.length >= (/^\d*$/.test(compact) ? NUMBER_CHARS_MIN : TERM_CHARS_MIN);
}

function note(
  term: string,
  { within, alone }: { readonly within: Set<string>; readonly alone: Set<string> },
): void {
  const isLong = term.length >= LONG_CHARS_MIN || (/\d/.test(term) && /[a-z]/.test(term));
  for (const one of [term, reversed(term)]) {
    if (!isLong) alone.add(one);
    else {
      within.add(one.slice(0, TELLING_CHARS));
      within.add(one.slice(-TELLING_CHARS));
    }
  }
}
