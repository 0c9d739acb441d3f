// cspell:ignore abfnrtv
/**
 * Withholds response text that repeats a credential of its endpoint, as debug pages do: as sent, in another case,
 * escaped, encoded or reversed. Pure.
 */
import { printable } from '../lib/printable.js';
import type { Endpoint } from '../model/endpoint.js';
import { alphanumerics, reverse, TERM_CHARS_MIN, type Terms, termsOf } from './credential-terms.js';

/** The number of characters shown. */
const SHOWN_CHARS_MAX = 200;

/** The number of characters searched: more than shown, since a credential may be cut at the limit. */
const SEARCHED_CHARS_MAX = 2 * SHOWN_CHARS_MAX;

/** `text`, printable and truncated, or the reason why it is withheld. */
export function redact(text: string, endpoint: Endpoint): string {
  const name = repeatedCredential(text, endpoint);
  if (name !== null) return `[withheld: it repeats ${name} of this endpoint]`;
  return printable(text, SHOWN_CHARS_MAX);
}

/** The name of the credential that the shown part of `text` repeats; null: none. */
export function repeatedCredential(text: string, endpoint: Endpoint): string | null {
  const terms = termsOf(endpoint);
  if (text === '' || terms.length === 0) return null;
  const searched = text.slice(0, SEARCHED_CHARS_MAX);
  const plain = decodeEscapes(searched);
  const texts = plain === searched ? [plain] : [searched, plain];
  const decoded = texts.flatMap((one) => [...decodings(one), ...decodings(reverse(one))]);
  const hidden = decoded.map(String).flatMap((one) => [one, decodeEscapes(one)]);
  const found = terms.find(
    (some) =>
      texts.some((view) => isRepeatedIn(view, some)) ||
      hidden.some((view) => isHiddenIn(view, some)) ||
      some.bytes.some((key) => decoded.some((bytes) => bytes.includes(key))),
  );
  return found?.name ?? null;
}

function isRepeatedIn(text: string, { within, alone, literal }: Terms): boolean {
  const lower = text.toLowerCase();
  const runs = alone.size === 0 ? [] : (lower.match(RUNS) ?? []);
  return (
    includesAny(alphanumerics(lower), within) ||
    runs.some((run) => alone.has(run)) ||
    includesAny(lower, literal)
  );
}

/** Searches decoded text: a word does not occur there by chance. */
function isHiddenIn(text: string, { within, alone, literal }: Terms): boolean {
  const compact = alphanumerics(text);
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

/** How many nested escapes are decoded. */
const NESTED_MAX = 3;

const NUMERIC_ESCAPE =
  /[\\%]u([0-9a-f]{4})|\\u\{([0-9a-f]{1,6})\}|\\x([0-9a-f]{2})|&#x([0-9a-f]{1,6});?/gi;

/** Decodes percent-encoding and the escapes of JSON, programming languages and HTML. */
function decodeEscapes(text: string): string {
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
 * The bytes that a text may encode in base64, in hexadecimal or as a list of numbers. Separators and line breaks are
 * ignored. The start of an encoding is unknown, so each offset in a group is tried.
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
