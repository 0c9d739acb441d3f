/** Patterns and parsers for stored JSON and scores that a relay can have written. Pure. */

import { DEADLINE_MS_MAX } from '../model/deadline.js';
import { NAME_PATTERN, PATH_PATTERN } from '../model/names.js';

/** The name of an endpoint or a route. */
export const NAME = NAME_PATTERN;

/** A route's path with its placeholders filled in, percent-encoded. */
export const FILLED_PATH = PATH_PATTERN;

/** The id of a delivery, as allowed in a header. */
export const ID = /^[A-Za-z0-9_-]{1,128}$/;

/** The name of a replica. */
export const REPLICA = /^[A-Za-z0-9_-]{1,128}$/;

export function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= DEADLINE_MS_MAX;
}

export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export const isOneOf =
  <const Value>(values: readonly Value[]) =>
  (value: unknown): value is Value =>
    values.includes(value as Value);

/** Stored bytes that no relay has written; the message describes the problem. */
export class UnreadableError extends Error {}

/** A JSON object of the state. */
export class StoredObject {
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(fields: object) {
    this.#fields = fields as Record<string, unknown>;
  }

  /** The field, or `absent` if it is missing; throws an UnreadableError for an invalid value. */
  get<Value>(
    name: string,
    is: (value: unknown) => value is Value,
    expected: string,
    absent?: Value,
  ): Value {
    const value = Object.hasOwn(this.#fields, name) ? this.#fields[name] : absent;
    if (is(value)) return value;
    throw new UnreadableError(`"${name}" is not ${expected}`);
  }
}

/** Throws an UnreadableError unless the text is a JSON object. */
export function readObject(text: Buffer): StoredObject {
  let found: unknown;
  try {
    found = JSON.parse(text.toString());
  } catch {
    throw new UnreadableError('not JSON');
  }
  if (typeof found !== 'object' || found === null || Array.isArray(found)) {
    throw new UnreadableError('not a JSON object');
  }
  return new StoredObject(found);
}

/** Parses a score from Redis; infinite scores are inf and -inf. */
export function scoreOf(text: string | Buffer): number {
  const score = text.toString();
  return score.endsWith('inf') ? Number(score.replace('inf', 'Infinity')) : Number(score);
}

/** A member of a sorted set, and its score as a string from Redis. */
export interface StoredEntry {
  readonly member: Buffer;
  readonly score: string;
}

/** Parses member, score, member, score… */
export function entriesOf(reply: readonly Buffer[]): StoredEntry[] {
  const entries: StoredEntry[] = [];
  for (let at = 0; at + 1 < reply.length; at += 2) {
    const [member, score] = reply.slice(at, at + 2) as [Buffer, Buffer];
    entries.push({ member, score: score.toString() });
  }
  return entries;
}
