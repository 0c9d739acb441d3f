/** A route's `path` and `lookup` with their `{name}`s, and how a key's params get into them. Pure. */

import type { Params } from '../model/pattern.js';
export const PLACEHOLDER = /\{([^{}]+)\}/g;

/** Each byte as it stands in a path: RFC 3986's unreserved ones themselves, the others as %XX. */
const PERCENT_ENCODED: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte);
  if (/[A-Za-z0-9._~-]/.test(char)) return char;
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
});

/** The names in a path's `{name}`s, in the order in which they stand. */
export function placeholdersOf(path: string): string[] {
  return Array.from(path.matchAll(PLACEHOLDER), ([, name]) => name ?? '');
}

/**
 * The path with every `{name}` filled in and percent-encoded. A segment that would come out as `.`
 * or `..` has its dots encoded, so that no client on the way takes it for a step up.
 */
export function fillPath(template: string, params: Params): string {
  const filled = template.replace(PLACEHOLDER, (_, name: string) => {
    const bytes = params[name];
    return Array.from(bytes ?? [], (byte) => PERCENT_ENCODED[byte]).join('');
  });
  const [path = '', ...query] = filled.split('?');
  const safe = path
    .split('/')
    .map((segment) => (/^\.{1,2}$/.test(segment) ? segment.replaceAll('.', '%2E') : segment))
    .join('/');
  return [safe, ...query].join('?');
}

/** The key with every `{name}` filled in, byte for byte. */
export function fillKey(template: string, params: Params): Buffer {
  const parts = template.split(PLACEHOLDER);
  // The names are what stands between the other parts.
  return Buffer.concat(
    parts.map((part, at) => (at % 2 === 0 ? Buffer.from(part) : (params[part] ?? Buffer.alloc(0)))),
  );
}
