/** What checks of several parts of the file need: parts that are right by themselves. Pure. */
import type { z } from 'zod';
import type { Complaint } from './mistakes.js';
import type { Path } from './path.js';
import type { Wording } from './wording.js';

/** A mapping of the file, of which nothing else is known. */
export type Section = Readonly<Record<string, unknown>>;

/** The value as its schema understands it; undefined when it is absent or wrong by itself. */
export function understoodBy<Schema extends z.ZodType>(
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
