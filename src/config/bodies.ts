/** A route's `body` in the configuration: any structure whose strings have balanced braces. Pure. */
import { z } from 'zod';
import { NO_BODY } from '../model/body-format.js';
import type { Json } from '../model/key-value.js';
import { partsOf } from '../payload/body-template.js';
import { asMapping, type Path } from './path.js';
import { mismatch, toIssueText, type Wording } from './wording.js';

/** Existing endpoints need a few dozen values. */
export const BODY_VALUES_MAX = 1000;

/** A JSON object or list that was quoted as a whole. */
const LIKE_JSON = /^\s*(?:\{\s*"|\[\s*[{["])/;

const EXPECTED = 'a structure such as {order: "{id}"}, or none';

/** Variants of the word none. */
const LIKE_NONE = /^\s*none\s*$/i;

interface Misplaced {
  readonly path: Path;
  readonly wording: Wording;
}

/** Collects the errors in a body, and counts its values. */
class BodyReader {
  readonly misplaced: Misplaced[] = [];
  values = 0;

  read(value: unknown, path: Path): void {
    this.values += 1;
    const entries = Array.isArray(value) ? value.entries() : Object.entries(asMapping(value) ?? {});
    for (const [step, inner] of entries) this.read(inner, [...path, step]);
    const wording = wordingOf(value, path);
    if (wording !== null) this.misplaced.push({ path, wording });
  }
}

/** The error of a single value; null when there is none. */
function wordingOf(value: unknown, path: Path): Wording | null {
  switch (typeof value) {
    case 'string':
      if (path.length === 0 && value !== NO_BODY && LIKE_NONE.test(value)) {
        return mismatch(EXPECTED, { hint: 'write none exactly to send no body' });
      }
      if (partsOf(value) !== null) return null;
      // A nested string may hold JSON that a receiver expects.
      if (path.length === 0 && LIKE_JSON.test(value)) {
        const hint = 'write it as YAML, without the quotes around it';
        return mismatch(EXPECTED, { found: 'a string that looks like JSON', hint });
      }
      return mismatch('a string such as "order {id}"', {
        hint: 'each { needs a name and a }; {{ and }} stand for braces',
      });
    case 'number':
      if (Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))) {
        return null;
      }
      return mismatch('a number that JSON represents exactly', { hint: 'put it in quotes' });
    case 'boolean':
    case 'object':
      return null;
    default:
      return mismatch('a JSON value');
  }
}

/** Passes the body on unchanged; its placeholders are checked together with the route. */
export const bodyTemplate = z.unknown().transform((found, context): Json => {
  const complain = (path: Path, wording: Wording) =>
    context.addIssue({ code: 'custom', path: [...path], message: toIssueText(wording) });
  if (found === null) complain([], mismatch(EXPECTED));
  const reader = new BodyReader();
  reader.read(found, []);
  if (reader.values > BODY_VALUES_MAX) {
    complain([], mismatch(`at most ${BODY_VALUES_MAX} values`, { found: String(reader.values) }));
    return z.NEVER;
  }
  for (const { path, wording } of reader.misplaced) complain(path, wording);
  return found as Json;
});
