/** Checks a route's `body` against the rest of the route. Pure. */

import { NO_BODY, type Reference } from '../model/body-format.js';
import type { Json } from '../model/key-value.js';
import type { Pattern } from '../model/pattern.js';
import {
  ASKED_NAME,
  isPlaceholderName,
  NAMES_WITH_FIELDS,
  PLACEHOLDER_NAMES,
  partsOf,
  referenceText,
  textsOf,
} from '../payload/body-template.js';
import type { Complaint } from './mistakes.js';
import { asList, asMapping, type Path } from './path.js';
import { routeFields } from './schema.js';
import { findNearest } from './suggest.js';
import { kindOf, mismatch, type Wording } from './wording.js';

type RawRoute = Readonly<Record<string, unknown>>;

const FORM = 'application/x-www-form-urlencoded';

/** A name in two pairs of braces; a third pair would enclose the value. */
const DOUBLED = /(?<!\{)\{\{([^{}\s]+)\}\}(?!\})/g;

/** Checks every string that is valid by itself. */
export function checkBody(path: Path, route: RawRoute): Complaint[] {
  const at = (key: string): Path => [...path, key];
  if (route.body === undefined) {
    if (route.content_type === undefined) return [];
    const wording = mismatch('content_type only with body', { found: 'it without body' });
    return [{ path: at('content_type'), about: 'key', wording }];
  }
  const complaints: Complaint[] = [];
  if (route.format !== undefined) {
    const wording = mismatch('format or body', { found: 'both' });
    complaints.push({ path: at('body'), about: 'key', wording });
  }
  if (route.body === NO_BODY) return [...complaints, ...checkNoBody(path, route)];
  if (route.content_type === FORM) complaints.push(...checkForm(at('body'), route.body));
  const patterns = routeFields.match.safeParse(route.match).data;
  if (patterns === undefined) return complaints;
  const names = new Names(route, patterns);
  return [...complaints, ...checkNames(at('body'), route.body as Json, names)];
}

/** Reports keys that have no effect without a body. */
function checkNoBody(path: Path, route: RawRoute): Complaint[] {
  return ['content_type', 'include', 'lookup']
    .filter((key) => route[key] !== undefined)
    .map((key) => {
      const wording = mismatch(`${key} beside a body`, {
        found: 'it beside body: none',
        hint: 'remove one',
      });
      return { path: [...path, key], about: 'key', wording };
    });
}

/** A form has fields without nested values. */
function checkForm(path: Path, body: unknown): Complaint[] {
  const fields = asMapping(body);
  if (fields === null) {
    const found = kindOf(body);
    const wording = mismatch('a mapping from fields to strings, for a form', { found });
    return [{ path, about: 'value', wording }];
  }
  return Object.entries(fields)
    .filter(([, value]) => typeof value === 'object' && value !== null)
    .map(([field, value]) => {
      const wording = mismatch('a string or a number, as a form is flat', { found: kindOf(value) });
      return { path: [...path, field], about: 'value', wording };
    });
}

function checkNames(path: Path, body: Json, names: Names): Complaint[] {
  const complaints: Complaint[] = [...findUnquoted(path, body, names)];
  for (const { path: inside, text } of textsOf(body)) {
    const parts = partsOf(text);
    if (parts === null) continue;
    const ofReferences = parts.map((part) =>
      typeof part === 'string' ? null : names.wordingOf(part),
    );
    for (const wording of [...ofReferences, findDoubled(text, names)]) {
      if (wording === null) continue;
      complaints.push({ path: [...path, ...inside], about: 'value', wording });
    }
  }
  return complaints;
}

/** Other template languages write `{{id}}` for the value; here it is the literal string `{id}`. */
function findDoubled(text: string, names: Names): Wording | null {
  for (const [, inside = ''] of text.matchAll(DOUBLED)) {
    const [name = ''] = inside.split('.');
    if (!names.has(name)) continue;
    const quoting = `{${inside}} is replaced by the value; {{ ${inside} }} is literal`;
    return mismatch('single braces around a name', { quoting });
  }
  return null;
}

/** An unquoted `{id}` is a YAML mapping with the key `id` and no value. */
function* findUnquoted(path: Path, body: Json, names: Names): Generator<Complaint> {
  const entries = Object.entries(asMapping(body) ?? {});
  const [only] = entries;
  if (entries.length === 1 && only?.[1] === null && names.has(only[0])) {
    const wording = mismatch(`"{${only[0]}}" in quotes`, { found: 'no quotes' });
    yield { path, about: 'value', wording };
  }
  if (typeof body !== 'object' || body === null) return;
  for (const [step, inner] of Array.isArray(body) ? body.entries() : entries) {
    yield* findUnquoted([...path, step], inner as Json, names);
  }
}

/** The names that one route's body may refer to. */
class Names {
  readonly #patterns: readonly Pattern[];
  readonly #hasValue: boolean;
  readonly #hasLookup: boolean;
  readonly #known: ReadonlySet<string>;
  /** Suggestions are expensive: each name is looked up once. */
  readonly #wordings = new Map<string, Wording | null>();

  constructor(route: RawRoute, patterns: readonly Pattern[]) {
    this.#patterns = patterns;
    this.#hasValue = asList(route.include).includes('value');
    this.#hasLookup = route.lookup !== undefined;
    this.#known = new Set([...patterns.flatMap(({ names }) => names), ...PLACEHOLDER_NAMES]);
  }

  has(name: string): boolean {
    return this.#known.has(name);
  }

  /** The error of a reference; null when there is none. */
  wordingOf(reference: Reference): Wording | null {
    const text = referenceText(reference);
    let wording = this.#wordings.get(text);
    if (wording === undefined) {
      wording = this.#judge(reference, text);
      this.#wordings.set(text, wording);
    }
    return wording;
  }

  #judge({ name, fields }: Reference, text: string): Wording | null {
    const capturing = this.#patterns.filter(({ names }) => names.includes(name));
    if (!this.has(name)) {
      const meant = findNearest(name, this.#known);
      const all = [...this.#known].map((known) => `{${known}}`).join(', ');
      const hint = meant === null ? `known names are ${all}` : `did you mean {${meant}}?`;
      return mismatch('known names', { quoting: `${text} is unknown; ${hint}` });
    }
    if (isPlaceholderName(name) && capturing.length > 0) {
      const quoting = `${text} is also captured by a pattern: rename the capture`;
      return mismatch('unambiguous names', { quoting });
    }
    if (!isPlaceholderName(name) && capturing.length < this.#patterns.length) {
      const quoting = `${text} is not captured by every pattern`;
      return mismatch('only {name}s that every pattern captures', { quoting });
    }
    if (fields.length > 0 && !NAMES_WITH_FIELDS.some((known) => known === name)) {
      const quoting = `${text} has none`;
      return mismatch(`fields of ${NAMES_WITH_FIELDS.join(' and ')} alone`, { quoting });
    }
    const [, asked] = ASKED_NAME.exec(name) ?? [];
    if (asked === 'value' && !this.#hasValue) {
      return mismatch(`include: [value] beside {${name}}`, { found: 'none' });
    }
    if (asked === 'lookup' && !this.#hasLookup) {
      return mismatch(`lookup beside {${name}}`, { found: 'none' });
    }
    return null;
  }
}
