/** Helpers for checks across sections, which only use parts that are valid by themselves. Pure. */
import type { z } from 'zod';
import type { Complaint } from './mistakes.js';
import type { Path } from './path.js';
import type { Wording } from './wording.js';

/** A mapping of the configuration with unknown content. */
export type Section = Readonly<Record<string, unknown>>;

/** The value parsed by its schema; undefined when absent or invalid. */
export function parseIfValid<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
): z.output<Schema> | undefined {
  return value === undefined ? undefined : schema.safeParse(value).data;
}

export function complain(
  path: Path,
  wording: Wording,
  about: Complaint['about'] = 'value',
): Complaint {
  return { path, about, wording };
}

export function isGiven(section: Section, key: string): boolean {
  return section[key] !== undefined;
}
