/** Reads the values of keys, in two round trips per batch: their types first, then their values. */

import { batchesByDatabase } from '../model/key-id.js';
import type { Json, ValueOmission } from '../model/key-value.js';
import type { KeyInDatabase } from '../model/vocabulary.js';
import type { Command } from '../redis/command.js';
import { isForbidden } from '../redis/refusal.js';
import type { Keyspace } from '../source/keyspace.js';
import { commandFor, ELEMENTS_MAX, omitted, type SizedValue, valueFrom } from './shape.js';

/** A key whose value is needed. */
export interface WantedValue extends KeyInDatabase {
  /** Larger values are omitted. */
  readonly bytesMax: number;
}

/** The bytes requested at a time: commands behind them on the connection wait some milliseconds. */
const BYTES_AT_ONCE_MAX = 1024 * 1024;

/** Keys read at a time: Redis is busy for less than a millisecond. */
const KEYS_AT_ONCE_MAX = 100;

/** How many values of this size may be in memory at a time. */
export function countAtOnce(bytesMax: number): number {
  return Math.max(1, Math.min(KEYS_AT_ONCE_MAX, Math.floor(BYTES_AT_ONCE_MAX / bytesMax)));
}

/**
 * Reads values, in the order of the keys. `onRefused` receives each error of a command that Redis does not allow.
 * Rejects when the connection fails.
 */
export async function readValues(
  keyspace: Pick<Keyspace, 'runCommands' | 'nowMs'>,
  wanted: readonly WantedValue[],
  onRefused: (refusal: Error) => void,
): Promise<readonly SizedValue[]> {
  const values = new Map<WantedValue, SizedValue>();
  const atOnce = countAtOnce(Math.max(1, ...wanted.map(({ bytesMax }) => bytesMax)));
  for (const [database, batch] of batchesByDatabase(wanted, atOnce)) {
    const read = await readBatch(keyspace, database, batch, onRefused);
    for (const [at, one] of batch.entries()) values.set(one, read[at] ?? omitted('gone', null));
  }
  return wanted.map((one) => values.get(one) ?? omitted('gone', null));
}

async function readBatch(
  keyspace: Pick<Keyspace, 'runCommands' | 'nowMs'>,
  database: number,
  wanted: readonly WantedValue[],
  onRefused: (refusal: Error) => void,
): Promise<SizedValue[]> {
  const questions = wanted.flatMap(({ key }): Command[] => [
    ['TYPE', key],
    // The estimate need not be exact for keys with more elements than are sent.
    ['MEMORY', 'USAGE', key, 'SAMPLES', ELEMENTS_MAX + 1],
  ]);
  const answers = await keyspace.runCommands(database, questions);
  const steps = wanted.map((one, at) => {
    const [type, memory] = answers.slice(2 * at);
    for (const answer of [type, memory]) if (answer instanceof Error) onRefused(answer);
    const memoryBytes = typeof memory === 'number' ? memory : null;
    const command: Command | ValueOmission =
      type instanceof Error ? refusedAs(type) : commandFor(one, String(type), memoryBytes);
    return { type: String(type), bytesMax: one.bytesMax, command };
  });
  const commands = steps.flatMap(({ command }) => (typeof command === 'string' ? [] : [command]));
  const replies =
    commands.length === 0 ? [] : [...(await keyspace.runCommands(database, commands))];
  const readAtMs = Math.round(keyspace.nowMs());
  const values = steps.map(({ type, bytesMax, command }): SizedValue => {
    if (typeof command === 'string') return omitted(command, readAtMs);
    const reply = replies.shift();
    if (!(reply instanceof Error)) return valueFrom(reply, type, bytesMax, readAtMs);
    onRefused(reply);
    return omitted(refusedAs(reply), readAtMs);
  });
  return omitGone(keyspace, database, wanted, values);
}

/** A key whose type has changed meanwhile counts as one that cannot be read. */
function refusedAs(refusal: Error): ValueOmission {
  return isForbidden(refusal) ? 'forbidden' : 'unsupported';
}

function isEmpty(value: Json | undefined): boolean {
  return value === '' || (Array.isArray(value) && value.length === 0);
}

/** A missing string or stream reads as empty: EXISTS distinguishes it from an empty one. */
async function omitGone(
  keyspace: Pick<Keyspace, 'runCommands'>,
  database: number,
  wanted: readonly WantedValue[],
  values: readonly SizedValue[],
): Promise<SizedValue[]> {
  const empty = wanted.filter((_, at) => isEmpty(values[at]?.value.value));
  if (empty.length === 0) return [...values];
  const there = await keyspace.runCommands(
    database,
    empty.map(({ key }): Command => ['EXISTS', key]),
  );
  const gone = new Set(empty.filter((_, at) => there[at] === 0));
  return wanted.map((one, at) => {
    const read = values[at] ?? omitted('gone', null);
    return gone.has(one) ? omitted('gone', read.value.readAtMs) : read;
  });
}
