import type { KeyInDatabase } from './vocabulary.js';

/** A text that no other key has, for maps and sets: keys are bytes, and equal in several databases. */
export function nameOf({ database, key }: KeyInDatabase): string {
  return `${database}:${key.toString('latin1')}`;
}
