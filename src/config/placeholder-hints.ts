/** Detects `${id}` where `{id}` was meant: a route's placeholders have no dollar sign. Pure. */
import { PLACEHOLDER_NAMES, partsOf } from '../payload/body-template.js';
import type { Interpolated } from './interpolate.js';
import { type Path, valueAt } from './path.js';
import { routeFields } from './schema.js';
import { parseIfValid } from './sections.js';
import { statement, type Wording } from './wording.js';

/** The placeholders that are valid at a path; none outside a route's strings. */
function namesAt(root: unknown, [section, index, field]: Path): readonly string[] {
  if (section !== 'routes' || index === undefined || field === undefined) return [];
  if (!['path', 'lookup', 'body'].includes(String(field))) return [];
  const patterns = parseIfValid(routeFields.match, valueAt(root, [section, index, 'match'])) ?? [];
  const captured = patterns.flatMap(({ names }) => names);
  return field === 'body' ? [...captured, ...PLACEHOLDER_NAMES] : captured;
}

/** The error for an unset variable, with a hint where a placeholder was meant. */
export function hintAtNames(
  root: unknown,
  { path, wording, inside }: Interpolated['complaints'][number],
): { readonly path: Path; readonly wording: Wording } {
  const [part] = partsOf(`{${inside}}`) ?? [];
  const isName = typeof part === 'object' && namesAt(root, path).includes(part.name);
  if (!isName) return { path, wording };
  const hint = `did you mean {${inside}}?`;
  if (wording.kind === 'statement') return { path, wording: statement(`${wording.text}; ${hint}`) };
  return { path, wording: { ...wording, hint } };
}
