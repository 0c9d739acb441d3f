/** What a relay can have written, and how stored JSON and scores are read. Pure. */

import { DEADLINE_MS_MAX } from '../model/deadline.js';
import { NAME_PATTERN, PATH_PATTERN } from '../model/names.js';

/** Of an endpoint or a route. */
export const NAME = NAME_PATTERN;

/** A route's path, filled in and percent-encoded. */
export const FILLED_PATH = PATH_PATTERN;

/** The id of a delivery: a header carries it. */
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

/** Stored bytes that no relay has written; the message says what is wrong with them. */
export class UnreadableError extends Error {}

/** One JSON object of the state. */
export class StoredObject {
  readonly #fields: ReadonlyMap<string, unknown>;

  constructor(fields: object) {
    this.#fields = new Map(Object.entries(fields));
  }

  /** The field, or `absent` where there is none; throws an UnreadableError for any other value. */
  get<Value>(
    name: string,
    is: (value: unknown) => value is Value,
    expected: string,
    absent?: Value,
  ): Value {
    const value = this.#fields.has(name) ? this.#fields.get(name) : absent;
    if (is(value)) return value;
    throw new UnreadableError(`"${name}" is not ${expected}`);
  }
}

/** Throws an UnreadableError unless it is a JSON object. */
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

/** A score as Redis writes it; infinite ones are inf and -inf. */
export function scoreOf(text: string | Buffer): number {
  const score = text.toString();
  return score.endsWith('inf') ? Number(score.replace('inf', 'Infinity')) : Number(score);
}

/** A member of a sorted set, and its score as Redis writes it. */
export interface StoredEntry {
  readonly member: Buffer;
  readonly score: string;
}

/** From member, score, member, score… */
export function entriesOf(reply: readonly Buffer[]): StoredEntry[] {
  const entries: StoredEntry[] = [];
  for (let at = 0; at + 1 < reply.length; at += 2) {
    const [member, score] = reply.slice(at, at + 2) as [Buffer, Buffer];
    entries.push({ member, score: score.toString() });
  }
  return entries;
}
