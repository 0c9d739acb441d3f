/**
 * The command that reads a value of each Redis type, limited to the size that a webhook may carry, and its form in
 * JSON. Pure. Shapes: string → string; hash → object; list, set → array of strings; sorted set → array of {member,
 * score}; stream → array of {id, fields}; JSON → itself.
 */

import { isUtf8 } from 'node:buffer';
import { textOf } from '../lib/printable.js';
import type { Json, KeyValue, ValueOmission } from '../model/key-value.js';
import type { Command } from '../redis/command.js';

/** The maximum for a hash, list, set, sorted set or stream; larger ones belong in the receiver's own store. */
export const ELEMENTS_MAX = 1_000;

/** An upper estimate of the memory that Redis uses per element beyond its bytes. */
const ELEMENT_OVERHEAD_BYTES = 200;

/** A value that uses this many times its size limit in memory is not read at all. */
const MEMORY_FACTOR = 4;

/** A reply from Redis, with Buffers instead of strings. */
type Reply = Buffer | number | null | readonly Reply[];

/** Converts bytes to a JSON string. */
type Decode = (bytes: Buffer) => string;

interface Shape {
  /** Whether a key of this type may exist without elements. */
  readonly mayBeEmpty: boolean;
  /** Reads one byte or element more than the limit. */
  readonly command: (key: Buffer, bytesMax: number) => Command;
  readonly countOf: (reply: readonly Reply[]) => number;
  readonly jsonOf: (reply: Reply, say: Decode) => Json;
}

/** A value that was read, and the total size of its strings; 0: omitted. */
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

/** Parses name, value, name, value… */
function pairsOf(reply: Reply): (readonly [Buffer, Buffer])[] {
  const flat = listOf(reply);
  return Array.from({ length: flat.length / 2 }, (_, n) => [
    bytesOf(flat[2 * n]),
    bytesOf(flat[2 * n + 1]),
  ]);
}

function objectOf(reply: Reply, say: Decode): Json {
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

/** Shapes by the reply of TYPE. */
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
  // The type name of the JSON module, which is part of Redis from 8 on.
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

export function omitted(reason: ValueOmission, readAtMs: number | null): SizedValue {
  return { value: { value: null, base64: null, omitted: reason, readAtMs }, bytes: 0 };
}

/**
 * The command that reads a value of this type; or why the value is omitted. `memoryBytes`: its size in Redis; null:
 * MEMORY USAGE is not allowed.
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
  // A string is never read beyond the limit, whatever its size. A few elements of the other types may be huge.
  if (type !== 'string' && memoryBytes === null) return 'forbidden';
  if (type !== 'string' && (memoryBytes ?? 0) > memoryMax) return 'too_large';
  return shape.command(key, bytesMax);
}

/** Converts the reply to the command for a value of this type. */
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
  // The key was removed between the two commands.
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
