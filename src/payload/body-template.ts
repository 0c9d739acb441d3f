/**
 * A route's `body`: a structure whose texts may hold `{name}`s. Compiled once, into pieces of which
 * most are text already; to fill it is to walk along them. There is no code in it, and nothing that
 * is put in is read again. Pure.
 */
import { stringify } from 'safe-stable-stringify';
import type {
  Reference,
  TemplateContentType,
  TemplatePiece,
  Writing,
} from '../model/body-format.js';
import type { Json } from '../model/key-value.js';

/** What every body can tell; a route's captures come beside them. */
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
  return PLACEHOLDER_NAMES.some((told) => told === name);
}

/** Those that may be followed by a way into their value. */
export const NAMES_WITH_FIELDS: readonly PlaceholderName[] = ['value', 'lookup'];

/** What a route has to ask for, by what the names of it begin with. */
export const ASKED_NAME = /^(value|lookup)(?:_|$)/;

/** A brace that is doubled, a `{…}`, or a brace that is neither. */
const BRACES = /\{\{|\}\}|\{([^{}]*)\}|[{}]/g;
const REFERENCE = /^([A-Za-z_][A-Za-z0-9_]{0,63})((?:\.[^.]+)*)$/;
const LIST_PLACE = /^(?:0|[1-9]\d{0,9})$/;

/** What a text of a template holds, in its order; null when a brace belongs to nothing. */
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

/** As it stands in the file. */
export function referenceText({ name, fields }: Reference): string {
  return `{${[name, ...fields].join('.')}}`;
}

/** Each text of a template, and where it is. */
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

/** A mapping is a form's fields, in its order; as JSON its keys are sorted. Every text must be right. */
export function compileTemplate(
  template: Json,
  contentType: TemplateContentType,
): readonly TemplatePiece[] {
  switch (contentType) {
    case 'application/json':
      return joined(jsonPieces(template));
    case 'application/x-www-form-urlencoded':
      return joined(formPieces(template));
  }
}

/** Null when it would have more than `charsMax` characters. */
export function fillTemplate(
  pieces: readonly TemplatePiece[],
  standsFor: (reference: Reference) => Json,
  charsMax: number,
): string | null {
  const filled: string[] = [];
  let chars = 0;
  for (const piece of pieces) {
    const text =
      typeof piece === 'string' ? piece : written(standsFor(piece.reference), piece.writing);
    chars += text.length;
    if (chars > charsMax) return null;
    filled.push(text);
  }
  return filled.join('');
}

/**
 * What lies there inside a value; null when nothing does. A text that holds a JSON object or list has
 * the fields of that.
 */
export function valueIn(value: Json, fields: readonly string[]): Json {
  let found = typeof value === 'string' && fields.length > 0 ? parsed(value) : value;
  for (const field of fields) {
    if (typeof found !== 'object' || found === null) return null;
    if (isList(found)) found = LIST_PLACE.test(field) ? (found[Number(field)] ?? null) : null;
    else found = Object.hasOwn(found, field) ? (found[field] ?? null) : null;
  }
  return found;
}

/** Null when it is no JSON, or a number in it is larger than JSON can tell exactly here. */
function parsed(text: string): Json {
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

/** A text that is nothing but one reference keeps the type of what that stands for. */
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
  return typeof part === 'string' ? written(part, writing) : { reference: part, writing };
}

/** The same pieces, with no two texts side by side. */
function joined(pieces: readonly TemplatePiece[]): TemplatePiece[] {
  const fewer: TemplatePiece[] = [];
  for (const piece of pieces) {
    const last = fewer.at(-1);
    if (typeof piece === 'string' && typeof last === 'string')
      fewer[fewer.length - 1] = last + piece;
    else fewer.push(piece);
  }
  return fewer;
}

/** Fit for its place, whatever it is: no character of it can end the text or field around it. */
function written(value: Json, writing: Writing): string {
  switch (writing) {
    case 'json_value':
      return jsonOf(value);
    case 'json_text':
      return JSON.stringify(insertedText(value)).slice(1, -1);
    case 'form_field':
      return formField(insertedText(value));
  }
}

/** What is put into a text: nothing for null, lists and mappings as JSON. */
function insertedText(value: Json): string {
  if (value === null) return '';
  return typeof value === 'object' ? jsonOf(value) : String(value);
}

function jsonOf(value: Json): string {
  return stringify(value) ?? 'null';
}

/** As browsers encode it (the URL standard's application/x-www-form-urlencoded). */
function formField(text: string): string {
  return new URLSearchParams([['', text]]).toString().slice(1);
}
