/**
 * The message of an error, before it is known whether the value may be shown. Only `quoting` may repeat text from
 * the configuration.
 */
import { printable } from '../lib/printable.js';

export type Wording =
  | {
      readonly kind: 'mismatch';
      readonly expected: string;
      /** Describes the value without quoting it; null: show the value itself where that is allowed. */
      readonly found: string | null;
      /** Advice. */
      readonly hint: string | null;
      /** May quote parts of the value; omitted where the value must not be shown. */
      readonly quoting: string | null;
    }
  | {
      /** A sentence that needs no value. */
      readonly kind: 'statement';
      readonly text: string;
    };

/** A parsed string, or its error. */
export type Reading<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly wording: Wording };

export function mismatch(
  expected: string,
  rest: Partial<Record<'found' | 'hint' | 'quoting', string | null>> = {},
): Wording {
  return { kind: 'mismatch', expected, found: null, hint: null, quoting: null, ...rest };
}

/** Adds a hint before the existing advice. */
export function withHint(wording: Wording, first: string): Wording {
  if (wording.kind === 'statement') return wording;
  return { ...wording, hint: [first, wording.hint].filter((hint) => hint !== null).join('; ') };
}

export function statement(text: string): Wording {
  return { kind: 'statement', text };
}

export function accept<T>(value: T): Reading<T> {
  return { ok: true, value };
}

export function reject(...words: Parameters<typeof mismatch>): Reading<never> {
  return { ok: false, wording: mismatch(...words) };
}

/** Serializes a wording into the one string that zod carries per issue. */
export function toIssueText(wording: Wording): string {
  return JSON.stringify(wording);
}

/** The reverse of `toIssueText`; other strings become statements. */
export function fromIssueText(text: string): Wording {
  try {
    return JSON.parse(text) as Wording;
  } catch {
    return statement(text);
  }
}

/** The kind of a value, without showing the value. */
export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  switch (typeof value) {
    case 'string':
      return value === '' ? 'an empty string' : 'a string';
    case 'number':
    case 'bigint':
      return 'a number';
    case 'boolean':
      return 'true or false';
    default:
      return 'a mapping';
  }
}

/** Enough to recognize a value. */
const FOUND_CHARS_MAX = 80;

/** A misplaced secret: `whsec_…`, `//user:password@`, `Bearer …`. */
const CONFIDENTIAL = /whs(?:ec|k)_|\/\/[^/\s]*@|\b(?:bearer|basic)\s/i;

export const NOT_SHOWN = 'a hidden value, as it may be a secret';

export function isConfidential(text: string): boolean {
  return CONFIDENTIAL.test(text);
}

/**
 * The part of a key before the first `:` or `=`: in `{password:hunter2}` the space after the colon is missing, so
 * the secret is part of the key.
 */
export function keyHead(key: string): string {
  return /^[^:=]*/.exec(key)?.[0] ?? '';
}

/** A hint about a probable omission in a key; null when there is none. */
export function keyHint(key: string): string | null {
  return /^[^:=]*:\S/.test(key) ? 'a space is missing after the colon' : null;
}

/** A configuration key, safe to print. */
export function showKey(key: string): string {
  const head = keyHead(key);
  if (head === key || isConfidential(key)) return showValue(key);
  return `"${printable(head, FOUND_CHARS_MAX).replace(/…$/, '')}…"`;
}

/** A configuration value, safe to print. Use `showKey` for keys. */
export function showValue(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string' || value === '') return kindOf(value);
  return isConfidential(value) ? NOT_SHOWN : `"${printable(value, FOUND_CHARS_MAX)}"`;
}

/** Longer paths are rare; the end of a path identifies it. */
export const FILE_CHARS_SHOWN_MAX = 256;

/** `secrets/shop-key.2`: words with separators. */
const RELATIVE_FILE = /^(?:\.{1,2}\/)*[a-z]{1,20}\d{0,3}(?:[-_./]+[a-z]{1,20}\d{0,3})+$/;
const ABSOLUTE_FILE = /^\/[\w.@~/ -]+$/;
/** Occurs in no hand-written path; tokens consist of little else. */
const LONG_RUN = /[A-Za-z0-9]{24}/;

/** A file path as written; hidden when it looks like a misplaced secret. */
export function showFile(file: string): string {
  const isPath = RELATIVE_FILE.test(file) || (ABSOLUTE_FILE.test(file) && !LONG_RUN.test(file));
  if (!isPath || isConfidential(file)) return NOT_SHOWN;
  return `"${printable(file, FILE_CHARS_SHOWN_MAX)}"`;
}
