/** Kept values in Redis, shared by all replicas: see state/format.ts. */

import { messageOf } from '../model/errors.js';
import { batchesByDatabase } from '../model/key-id.js';
import type { Json, ValueOmission } from '../model/key-value.js';
import type { Deadline, KeyInDatabase } from '../model/vocabulary.js';
import { defineScripts, type Scripts } from '../redis/scripts.js';
import { deadlineKeys, leaseKey, quarantineKey, valueKeys } from '../state/format.js';
import { type Lease, tokenOf } from '../state/lease.js';
import type { Suspect } from '../state/quarantine.js';
import type { RedisState } from '../state/redis-state.js';
import { isTime, isWhole, readObject } from '../state/stored.js';
import { VALUE_SCRIPTS } from './scripts.js';
import type { KeptValue, Values, ValueToForget, ValueToKeep } from './values.js';

/** Values written at a time: except for large ones, Redis is busy for less than a millisecond. */
const AT_ONCE = 100;

/** The stored form of a value. */
interface StoredValue {
  readonly deadline_ms: number;
  readonly bytes: number;
  readonly read_at_ms: number | null;
  readonly value: Json;
  readonly base64: Json;
  readonly omitted: ValueOmission | null;
}

function pack({
  deadlineMs,
  bytes,
  value: { value, base64, omitted, readAtMs },
}: KeptValue): string {
  const stored: StoredValue = {
    deadline_ms: deadlineMs,
    bytes,
    read_at_ms: readAtMs,
    value,
    base64,
    omitted,
  };
  return JSON.stringify(stored);
}

/** Deeper than any value of Redis; serializing JSON is recursive. */
const DEPTH_MAX = 256;

const OMISSIONS: Readonly<Record<ValueOmission, true>> = {
  too_large: true,
  gone: true,
  unsupported: true,
  forbidden: true,
  unavailable: true,
};

/** Throws an UnreadableError for foreign data (written by no relay). */
function unpack(text: Buffer): KeptValue {
  const stored = readObject(text);
  const isOmission = (value: unknown): value is ValueOmission | null =>
    value === null || Object.hasOwn(OMISSIONS, String(value));
  const isTimeOrNull = (value: unknown): value is number | null => value === null || isTime(value);
  const isJson = (value: unknown): value is Json => value !== undefined && !isDeep(value);
  return {
    deadlineMs: stored.get('deadline_ms', isTime, 'a time'),
    bytes: stored.get('bytes', isWhole, 'a whole number'),
    value: {
      value: stored.get('value', isJson, `JSON of at most ${DEPTH_MAX} levels`),
      base64: stored.get('base64', isJson, `JSON of at most ${DEPTH_MAX} levels`),
      omitted: stored.get('omitted', isOmission, 'the reason of an omission'),
      readAtMs: stored.get('read_at_ms', isTimeOrNull, 'a time or null'),
    },
  };
}

function isDeep(json: unknown): boolean {
  let level = [json];
  for (let depth = 0; depth < DEPTH_MAX; depth += 1) {
    level = level.flatMap((one) =>
      typeof one === 'object' && one !== null ? Object.values(one) : [],
    );
    if (level.length === 0) return false;
  }
  return true;
}

export class RedisValues implements Values {
  readonly #state: RedisState;
  readonly #lease: Pick<Lease, 'token'>;
  readonly #scripts: Scripts<typeof VALUE_SCRIPTS>;

  /** Only the holder of the lease writes. */
  constructor(state: RedisState, lease: Pick<Lease, 'token'>) {
    this.#state = state;
    this.#lease = lease;
    this.#scripts = defineScripts(state.redis, VALUE_SCRIPTS);
  }

  async keep(values: readonly ValueToKeep[]): Promise<void> {
    for (const [database, batch] of batchesByDatabase(values, AT_ONCE)) {
      await this.#run(
        'valuesKeep',
        this.#ownKeys(database),
        batch.flatMap((one) => [one.deadlineMs, one.key, pack(one)]),
      );
    }
  }

  async findMissing(deadlines: readonly Deadline[]): Promise<readonly Deadline[]> {
    const lacking: Deadline[] = [];
    for (const [database, batch] of batchesByDatabase(deadlines, AT_ONCE)) {
      const { redis, prefix } = this.#state;
      const keys = batch.map(({ key }) => key);
      const scores = await this.#state.run('track', () =>
        redis.zmscore(valueKeys(prefix, database).deadlines, ...keys),
      );
      const lacks = batch.filter(
        ({ deadlineMs }, at) => Number(scores[at] ?? Number.NaN) !== deadlineMs,
      );
      lacking.push(...lacks);
    }
    return lacking;
  }

  async read(keys: readonly KeyInDatabase[]): Promise<readonly (KeptValue | null)[]> {
    const kept = new Map<KeyInDatabase, KeptValue>();
    const suspects: Suspect[] = [];
    for (const [database, batch] of batchesByDatabase(keys, AT_ONCE)) {
      const { redis, prefix } = this.#state;
      const { read, deadlines: scores } = valueKeys(prefix, database);
      const texts = await this.#state.run('track', () =>
        redis.hmgetBuffer(read, ...batch.map(({ key }) => key)),
      );
      for (const [at, key] of batch.entries()) {
        const text = texts[at] ?? null;
        if (text === null) continue;
        try {
          kept.set(key, unpack(text));
        } catch (error) {
          const reason = messageOf(error);
          const related = { key: scores, kind: 'member', name: key.key } as const;
          suspects.push({ key: read, kind: 'field', name: key.key, value: text, reason, related });
        }
      }
    }
    await this.#state.setAside('track', suspects);
    return keys.map((key) => kept.get(key) ?? null);
  }

  async forget(keys: readonly ValueToForget[]): Promise<void> {
    for (const [database, batch] of batchesByDatabase(keys, AT_ONCE)) {
      await this.#run(
        'valuesForget',
        this.#ownKeys(database),
        batch.flatMap(({ deadlineMs, key }) => [deadlineMs ?? '', key]),
      );
    }
  }

  async forgetAll(database: number): Promise<void> {
    const { redis, prefix } = this.#state;
    const { read, deadlines } = valueKeys(prefix, database);
    await this.#state.run('track', () => redis.unlink(read, deadlines));
  }

  async prune(database: number, untilMs: number): Promise<void> {
    const { tracked, overdue } = deadlineKeys(this.#state.prefix, database);
    const own = this.#ownKeys(database);
    const keys = [...own, tracked, overdue, quarantineKey(this.#state.prefix)];
    for (let wanted = 0, looked = AT_ONCE; looked === AT_ONCE; ) {
      const args = [untilMs, wanted, wanted + AT_ONCE - 1];
      const [more = 0, count = 0] = (await this.#run('valuesPrune', keys, args)) as number[];
      wanted += more;
      looked = count;
    }
  }

  async #run(
    script: keyof typeof VALUE_SCRIPTS,
    keys: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown> {
    const token = tokenOf(this.#lease);
    return this.#state.run('track', () =>
      this.#scripts[script]([leaseKey(this.#state.prefix), ...keys], [token, ...args]),
    );
  }

  #ownKeys(database: number): string[] {
    const { read, deadlines } = valueKeys(this.#state.prefix, database);
    return [read, deadlines];
  }
}
