/**
 * A route's `body`: a structure whose strings may contain `{name}`s. Compiled once into pieces, most of them
 * literal text; filling a template concatenates the pieces. Templates contain no code, and inserted values are not
 * parsed again. Pure.
 */
import { stringify } from 'safe-stable-stringify';
import type {
  Reference,
  TemplateContentType,
  TemplatePiece,
  Writing,
} from '../model/body-format.js';
import type { Json } from '../model/key-value.js';

/** Names available in every body, in addition to a route's captures. */
export const PLACEHOLDER_NAMES = [
  'key',
  'database',
  'expired_at',
  'detected_at',
  'detected_by',
  'timestamp',
  'route',
  'type',
  'webhook_id',
  'value',
  'value_base64',
  'value_omitted',
  'value_read_at',
  'lookup',
  'lookup_base64',
  'lookup_omitted',
  'lookup_read_at',
] as const;
export type PlaceholderName = (typeof PLACEHOLDER_NAMES)[number];

export function isPlaceholderName(name: string): name is PlaceholderName {
  return PLACEHOLDER_NAMES.some((known) => known === name);
}

/** Names that may be followed by a path into their value. */
export const NAMES_WITH_FIELDS: readonly PlaceholderName[] = ['value', 'lookup'];

/** Prefixes of names that a route must request. */
export const ASKED_NAME = /^(value|lookup)(?:_|$)/;

/** A doubled brace, a `{…}`, or an unmatched brace. */
const BRACES = /\{\{|\}\}|\{([^{}]*)\}|[{}]/g;
const REFERENCE = /^([A-Za-z_][A-Za-z0-9_]{0,63})((?:\.[^.]+)*)$/;
const LIST_PLACE = /^(?:0|[1-9]\d{0,9})$/;

/** The literals and references of a template string, in order; null when a brace is unmatched. */
export function partsOf(text: string): readonly (string | Reference)[] | null {
  const parts: (string | Reference)[] = [];
  let end = 0;
  for (const { 0: found, 1: inside, index } of text.matchAll(BRACES)) {
    parts.push(text.slice(end, index));
    end = index + found.length;
    const part = found === '{{' || found === '}}' ? found.slice(1) : referenceOf(inside);
    if (part === null) return null;
    parts.push(part);
  }
  return [...parts, text.slice(end)].filter((part) => part !== '');
}

function referenceOf(inside: string | undefined): Reference | null {
  const [, name, way = ''] = REFERENCE.exec(inside ?? '') ?? [];
  return name === undefined ? null : { name, fields: way.split('.').slice(1) };
}

/** The reference as written in the configuration. */
export function referenceText({ name, fields }: Reference): string {
  return `{${[name, ...fields].join('.')}}`;
}

/** Each string of a template with its path. */
export function* textsOf(
  template: Json,
  path: readonly (string | number)[] = [],
): Generator<{ readonly path: readonly (string | number)[]; readonly text: string }> {
  if (typeof template === 'string') yield { path, text: template };
  if (typeof template !== 'object' || template === null) return;
  const entries: Iterable<readonly [string | number, Json]> = isList(template)
    ? template.entries()
    : Object.entries(template);
  for (const [step, inner] of entries) yield* textsOf(inner, [...path, step]);
}

/** A form keeps the mapping's order; JSON keys are sorted. Every string must be valid. */
export function compileTemplate(
  template: Json,
  contentType: TemplateContentType,
): readonly TemplatePiece[] {
  switch (contentType) {
    case 'application/json':
      return mergeTexts(jsonPieces(template));
    case 'application/x-www-form-urlencoded':
      return mergeTexts(formPieces(template));
  }
}

/** Null when the result would exceed `charsMax` characters. */
export function fillTemplate(
  pieces: readonly TemplatePiece[],
  standsFor: (reference: Reference) => Json,
  charsMax: number,
): string | null {
  const filled: string[] = [];
  let chars = 0;
  for (const piece of pieces) {
    const text =
      typeof piece === 'string' ? piece : encode(standsFor(piece.reference), piece.writing);
    chars += text.length;
    if (chars > charsMax) return null;
    filled.push(text);
  }
  return filled.join('');
}

/**
 * The value at a path inside a value; null when it does not exist. The path may lead into a string that holds a
 * JSON object or list.
 */
export function valueIn(value: Json, fields: readonly string[]): Json {
  let found = typeof value === 'string' && fields.length > 0 ? parseJson(value) : value;
  for (const field of fields) {
    if (typeof found !== 'object' || found === null) return null;
    if (isList(found)) found = LIST_PLACE.test(field) ? (found[Number(field)] ?? null) : null;
    else found = Object.hasOwn(found, field) ? (found[field] ?? null) : null;
  }
  return found;
}

/** Null for invalid JSON, or when a number is too large to be exact. */
function parseJson(text: string): Json {
  try {
    return JSON.parse(text, (_, found: Json) => {
      const isInexact = Number.isInteger(found) && !Number.isSafeInteger(found);
      return isInexact ? null : found;
    });
  } catch {
    return null;
  }
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function jsonPieces(template: Json): TemplatePiece[] {
  if (typeof template === 'string') return jsonTextPieces(template);
  if (typeof template !== 'object' || template === null) return [JSON.stringify(template)];
  if (isList(template)) {
    const items = template.map(jsonPieces);
    return ['[', ...items.flatMap((item, at) => (at === 0 ? item : [',', ...item])), ']'];
  }
  const entries = Object.entries(template).sort(([one], [other]) => (one < other ? -1 : 1));
  const fields = entries.flatMap(([name, inner], at) => [
    `${at === 0 ? '' : ','}${JSON.stringify(name)}:`,
    ...jsonPieces(inner),
  ]);
  return ['{', ...fields, '}'];
}

/** A string that is a single reference keeps the type of the referenced value. */
function jsonTextPieces(text: string): TemplatePiece[] {
  const parts = partsOf(text) ?? [];
  const [first] = parts;
  if (parts.length === 1 && typeof first === 'object') {
    return [{ reference: first, writing: 'json_value' }];
  }
  return ['"', ...parts.map((part) => pieceOf(part, 'json_text')), '"'];
}

function formPieces(template: Json): TemplatePiece[] {
  return Object.entries(template ?? {}).flatMap(([name, value]: [string, Json], at) => {
    const parts = typeof value === 'string' ? (partsOf(value) ?? []) : [insertedText(value)];
    const separator = at === 0 ? '' : '&';
    return [`${separator}${formField(name)}=`, ...parts.map((part) => pieceOf(part, 'form_field'))];
  });
}

function pieceOf(part: string | Reference, writing: Writing): TemplatePiece {
  return typeof part === 'string' ? encode(part, writing) : { reference: part, writing };
}

/** Merges adjacent literal strings. */
function mergeTexts(pieces: readonly TemplatePiece[]): TemplatePiece[] {
  const fewer: TemplatePiece[] = [];
  for (const piece of pieces) {
    const last = fewer.at(-1);
    if (typeof piece === 'string' && typeof last === 'string')
      fewer[fewer.length - 1] = last + piece;
    else fewer.push(piece);
  }
  return fewer;
}

/** Encodes a value for its place: no character can end the surrounding string or field. */
function encode(value: Json, writing: Writing): string {
  switch (writing) {
    case 'json_value':
      return jsonOf(value);
    case 'json_text':
      return JSON.stringify(insertedText(value)).slice(1, -1);
    case 'form_field':
      return formField(insertedText(value));
  }
}

/** The text of a value inside a string: empty for null, JSON for lists and mappings. */
function insertedText(value: Json): string {
  if (value === null) return '';
  return typeof value === 'object' ? jsonOf(value) : String(value);
}

function jsonOf(value: Json): string {
  return stringify(value) ?? 'null';
}

/** Encodes like browsers (the URL standard's application/x-www-form-urlencoded). */
function formField(text: string): string {
  return new URLSearchParams([['', text]]).toString().slice(1);
}
