/** A route's `path` and `lookup` with `{name}`s, and the insertion of a key's params. Pure. */

import type { Params } from '../model/pattern.js';
export const PLACEHOLDER = /\{([^{}]+)\}/g;

/** The form of each byte in a path: RFC 3986's unreserved bytes unchanged, the others as %XX. */
const PERCENT_ENCODED: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const char = String.fromCharCode(byte);
  if (/[A-Za-z0-9._~-]/.test(char)) return char;
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
});

/** The names in a path's `{name}`s, in order. */
export function placeholdersOf(path: string): string[] {
  return Array.from(path.matchAll(PLACEHOLDER), ([, name]) => name ?? '');
}

/**
 * Fills in and percent-encodes every `{name}`. A resulting segment `.` or `..` has its dots encoded, so that no
 * HTTP client or proxy resolves it as a relative path.
 */
export function fillPath(template: string, params: Params): string {
  if (template === '') return '';
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

/** Fills in every `{name}`, byte for byte. */
export function fillKey(template: string, params: Params): Buffer {
  const parts = template.split(PLACEHOLDER);
  // Splitting alternates literals and names.
  return Buffer.concat(
    parts.map((part, at) => (at % 2 === 0 ? Buffer.from(part) : (params[part] ?? Buffer.alloc(0)))),
  );
}
