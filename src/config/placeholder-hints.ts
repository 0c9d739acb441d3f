/** `${id}` where `{id}` was meant: a route's names are written without the dollar. Pure. */
import { PLACEHOLDER_NAMES, partsOf } from '../payload/body-template.js';
import type { Interpolated } from './interpolate.js';
import { type Path, valueAt } from './path.js';
import { routeFields } from './schema.js';
import { understoodBy } from './sections.js';
import type { Wording } from './wording.js';

/** The names that may stand at a place of the file; none outside of a route's texts. */
function namesAt(root: unknown, [section, index, field]: Path): readonly string[] {
  if (section !== 'routes' || index === undefined || field === undefined) return [];
  if (!['path', 'lookup', 'body'].includes(String(field))) return [];
  const patterns = understoodBy(routeFields.match, valueAt(root, [section, index, 'match'])) ?? [];
  const captured = patterns.flatMap(({ names }) => names);
  return field === 'body' ? [...captured, ...PLACEHOLDER_NAMES] : captured;
}

/** What could not be put in for a `${…}`, with the hint where a name was meant. */
export function hintAtNames(
  root: unknown,
  { path, wording, inside }: Interpolated['complaints'][number],
): { readonly path: Path; readonly wording: Wording } {
  const [part] = partsOf(`{${inside}}`) ?? [];
  const isName = typeof part === 'object' && namesAt(root, path).includes(part.name);
  if (!isName || wording.kind === 'statement') return { path, wording };
  return { path, wording: { ...wording, hint: `did you mean {${inside}}?` } };
}
