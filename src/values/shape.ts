/**
 * How the value of each type of Redis's is read, no more of it than a webhook may carry, and what it
 * is in JSON. Pure. Shapes: string → text; hash → object; list, set → array of texts; sorted set →
 * array of {member, score}; stream → array of {id, fields}; JSON → itself.
 */

import { isUtf8 } from 'node:buffer';
import { textOf } from '../lib/printable.js';
import type { Json, KeyValue, ValueOmission } from '../model/key-value.js';
import type { Command } from '../redis/command.js';

/** Of a hash, list, set, sorted set or stream: what has more belongs into the receiver's own store. */
export const ELEMENTS_MAX = 1_000;

/** What an element costs Redis beside its own bytes, at most; for an estimate. */
const ELEMENT_OVERHEAD_BYTES = 200;

/** How much more memory than its bytes a value may take before it is not read at all. */
const MEMORY_FACTOR = 4;

/** What Redis answers, with Buffers in the place of strings. */
type Reply = Buffer | number | null | readonly Reply[];

/** How the bytes of a text are put into JSON. */
type Say = (bytes: Buffer) => string;

interface Shape {
  /** Whether a key of this type may hold nothing, and still be there. */
  readonly mayBeEmpty: boolean;
  /** Reads one byte or element more than there may be. */
  readonly command: (key: Buffer, bytesMax: number) => Command;
  readonly countOf: (reply: readonly Reply[]) => number;
  readonly jsonOf: (reply: Reply, say: Say) => Json;
}

/** A value that was read, and the bytes of all its texts together; 0 when it is omitted. */
export interface SizedValue {
  readonly value: KeyValue;
  readonly bytes: number;
}

function listOf(reply: Reply): readonly Reply[] {
  return Array.isArray(reply) ? (reply as readonly Reply[]) : [];
}

function bytesOf(reply: Reply | undefined): Buffer {
  return Buffer.isBuffer(reply) ? reply : Buffer.from(String(reply ?? ''));
}

/** From name, value, name, value… */
function pairsOf(reply: Reply): (readonly [Buffer, Buffer])[] {
  const flat = listOf(reply);
  return Array.from({ length: flat.length / 2 }, (_, n) => [
    bytesOf(flat[2 * n]),
    bytesOf(flat[2 * n + 1]),
  ]);
}

function objectOf(reply: Reply, say: Say): Json {
  return Object.fromEntries(pairsOf(reply).map(([name, value]) => [say(name), say(value)]));
}

/** JSON has no infinity. */
function scoreOf(text: Buffer): Json {
  const score = Number(text.toString());
  return Number.isFinite(score) ? score : text.toString();
}

const one = () => 1;
const each = (reply: readonly Reply[]) => reply.length;
const eachPair = (reply: readonly Reply[]) => reply.length / 2;

/** By what TYPE answers. */
const SHAPES: Readonly<Record<string, Shape>> = {
  string: {
    mayBeEmpty: true,
    command: (key, bytesMax) => ['GETRANGE', key, 0, bytesMax],
    countOf: one,
    jsonOf: (reply, say) => say(bytesOf(reply)),
  },
  hash: {
    mayBeEmpty: false,
    command: (key) => ['HRANDFIELD', key, ELEMENTS_MAX + 1, 'WITHVALUES'],
    countOf: eachPair,
    jsonOf: objectOf,
  },
  list: {
    mayBeEmpty: false,
    command: (key) => ['LRANGE', key, 0, ELEMENTS_MAX],
    countOf: each,
    jsonOf: (reply, say) => listOf(reply).map((item) => say(bytesOf(item))),
  },
  set: {
    mayBeEmpty: false,
    command: (key) => ['SRANDMEMBER', key, ELEMENTS_MAX + 1],
    countOf: each,
    jsonOf: (reply, say) =>
      listOf(reply)
        .map(bytesOf)
        .sort(Buffer.compare)
        .map((member) => say(member)),
  },
  zset: {
    mayBeEmpty: false,
    command: (key) => ['ZRANGE', key, 0, ELEMENTS_MAX, 'WITHSCORES'],
    countOf: eachPair,
    jsonOf: (reply, say) =>
      pairsOf(reply).map(([member, score]) => ({ member: say(member), score: scoreOf(score) })),
  },
  stream: {
    mayBeEmpty: true,
    command: (key) => ['XRANGE', key, '-', '+', 'COUNT', ELEMENTS_MAX + 1],
    countOf: each,
    jsonOf: (reply, say) =>
      listOf(reply).map((entry) => {
        const [id, fields] = listOf(entry);
        return { id: bytesOf(id).toString(), fields: objectOf(fields ?? null, say) };
      }),
  },
  // What the JSON module, a part of Redis from 8 on, calls its type.
  'ReJSON-RL': {
    mayBeEmpty: true,
    command: (key) => ['JSON.GET', key],
    countOf: one,
    jsonOf: (reply, say) => JSON.parse(say(bytesOf(reply))) as Json,
  },
};

function shapeOf(type: string): Shape | null {
  return Object.hasOwn(SHAPES, type) ? (SHAPES[type] ?? null) : null;
}

export function omitted(why: ValueOmission, readAtMs: number | null): SizedValue {
  return { value: { value: null, base64: null, omitted: why, readAtMs }, bytes: 0 };
}

/**
 * How a value of this type is read; or why it is not. `memoryBytes`: what it takes in Redis, null when
 * the relay may not ask.
 */
export function commandFor(
  { key, bytesMax }: { readonly key: Buffer; readonly bytesMax: number },
  type: string,
  memoryBytes: number | null,
): Command | ValueOmission {
  if (type === 'none') return 'gone';
  const shape = shapeOf(type);
  if (shape === null) return 'unsupported';
  const memoryMax = MEMORY_FACTOR * bytesMax + ELEMENTS_MAX * ELEMENT_OVERHEAD_BYTES;
  // A string is never read beyond the limit, whatever it takes; of the others a few may be huge.
  if (type !== 'string' && memoryBytes === null) return 'forbidden';
  if (type !== 'string' && (memoryBytes ?? 0) > memoryMax) return 'too_large';
  return shape.command(key, bytesMax);
}

/** What was answered to the command for a value of this type. */
export function valueFrom(
  reply: unknown,
  type: string,
  bytesMax: number,
  readAtMs: number,
): SizedValue {
  const shape = shapeOf(type);
  if (shape === null) return omitted('unsupported', readAtMs);
  const answer = reply as Reply;
  const isEmpty = !Buffer.isBuffer(answer) && listOf(answer).length === 0;
  // The key went between the two questions.
  if (answer === null || (isEmpty && !shape.mayBeEmpty)) return omitted('gone', readAtMs);
  if (shape.countOf(listOf(answer)) > ELEMENTS_MAX) return omitted('too_large', readAtMs);
  let bytes = 0;
  let isExact = true;
  const value = shape.jsonOf(answer, (text) => {
    bytes += text.length;
    isExact &&= isUtf8(text);
    return textOf(text);
  });
  if (bytes > bytesMax) return omitted('too_large', readAtMs);
  const base64 = isExact ? null : shape.jsonOf(answer, (text) => text.toString('base64'));
  return { value: { value, base64, omitted: null, readAtMs }, bytes };
}
