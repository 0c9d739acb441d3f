/**
 * What a mistake says, before it is known whether the found value may be shown. Nothing here but
 * `quoting` may repeat text from the file.
 */
import { printable } from '../lib/printable.js';

export type Wording =
  | {
      readonly kind: 'mismatch';
      readonly expected: string;
      /** Described without quoting it; null: the value itself is shown, where that is allowed. */
      readonly found: string | null;
      /** What to do. */
      readonly hint: string | null;
      /** May repeat parts of the found value; left out where that must not be shown. */
      readonly quoting: string | null;
    }
  | {
      /** A sentence that needs no found value. */
      readonly kind: 'statement';
      readonly text: string;
    };

/** A text understood, or what is wrong with it. */
export type Reading<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly wording: Wording };

export function mismatch(
  expected: string,
  rest: Partial<Record<'found' | 'hint' | 'quoting', string | null>> = {},
): Wording {
  return { kind: 'mismatch', expected, found: null, hint: null, quoting: null, ...rest };
}

/** With one more thing to say before what to do. */
export function withHint(wording: Wording, first: string): Wording {
  if (wording.kind === 'statement') return wording;
  return { ...wording, hint: [first, wording.hint].filter((hint) => hint !== null).join('; ') };
}

export function statement(text: string): Wording {
  return { kind: 'statement', text };
}

export function understood<T>(value: T): Reading<T> {
  return { ok: true, value };
}

export function refused(...words: Parameters<typeof mismatch>): Reading<never> {
  return { ok: false, wording: mismatch(...words) };
}

/** zod carries one string per issue; this is how a wording travels in it. */
export function toIssueText(wording: Wording): string {
  return JSON.stringify(wording);
}

/** The reverse of `toIssueText`; any other text is taken as a statement. */
export function fromIssueText(text: string): Wording {
  try {
    return JSON.parse(text) as Wording;
  } catch {
    return statement(text);
  }
}

/** What sort of value this is, without showing it. */
export function kindOf(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  switch (typeof value) {
    case 'string':
      return value === '' ? 'an empty text' : 'a text';
    case 'number':
    case 'bigint':
      return 'a number';
    case 'boolean':
      return 'true or false';
    default:
      return 'a mapping';
  }
}

/** Enough to recognise a value by. */
const FOUND_CHARS_MAX = 80;

/** A secret that strayed to where none belongs: `whsec_…`, `//user:password@`, `Bearer …`. */
const CONFIDENTIAL = /whs(?:ec|k)_|\/\/[^/\s]*@|\b(?:bearer|basic)\s/i;

export const NOT_SHOWN = 'a value that is not shown, as it may be a secret';

export function isConfidential(text: string): boolean {
  return CONFIDENTIAL.test(text);
}

/**
 * What stands before the first `:` or `=` of a key: in `{password:hunter2}` the blank after the
 * colon was forgotten, and the secret has become part of the key.
 */
export function keyHead(key: string): string {
  return /^[^:=]*/.exec(key)?.[0] ?? '';
}

/** What was probably forgotten in a key; null when nothing was. */
export function keyHint(key: string): string | null {
  return /^[^:=]*:\S/.test(key) ? 'a blank is missing after the colon' : null;
}

/** A key from the file, safe to print. */
export function shownKey(key: string): string {
  const head = keyHead(key);
  if (head === key || isConfidential(key)) return shown(key);
  return `"${printable(head, FOUND_CHARS_MAX).replace(/…$/, '')}…"`;
}

/** A value from the file, safe to print. For a key there is `shownKey`. */
export function shown(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string' || value === '') return kindOf(value);
  return isConfidential(value) ? NOT_SHOWN : `"${printable(value, FOUND_CHARS_MAX)}"`;
}

/** Longer paths are rare, and their end is what tells. */
export const FILE_CHARS_SHOWN_MAX = 256;

/** `secrets/shop-key.2`: words with a separator between them. */
const RELATIVE_FILE = /^(?:\.{1,2}\/)*[a-z]{1,20}\d{0,3}(?:[-_./]+[a-z]{1,20}\d{0,3})+$/;
const ABSOLUTE_FILE = /^\/[\w.@~/ -]+$/;
/** In no path that a person writes; a token has little else. */
const LONG_RUN = /[A-Za-z0-9]{24}/;

/** The path of a file, as written; not what looks like a secret that was put in its place. */
export function shownFile(file: string): string {
  const isPath = RELATIVE_FILE.test(file) || (ABSOLUTE_FILE.test(file) && !LONG_RUN.test(file));
  if (!isPath || isConfidential(file)) return NOT_SHOWN;
  return `"${printable(file, FILE_CHARS_SHOWN_MAX)}"`;
}
