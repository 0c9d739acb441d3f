/**
 * The index of deadlines in Redis, shared by all replicas. state/format.ts describes its keys. This process keeps only
 * the deadlines that will be needed in a moment (tracker.ts).
 */
import { batchesByDatabase, keyId } from '../model/key-id.js';
import type { Deadline, KeyInDatabase, KeyReading } from '../model/vocabulary.js';
import { defineScripts, type Scripts } from '../redis/scripts.js';
import {
  capturedKey,
  capturedMember,
  claimedKey,
  claimedMember,
  deadlineKeys,
  leaseKey,
  quarantineKey,
  unroutedKey,
  watermarkKey,
} from '../state/format.js';
import { type Lease, tokenOf } from '../state/lease.js';
import type { RedisState } from '../state/redis-state.js';
import { entriesOf, scoreOf } from '../state/stored.js';
import type { CapturedName, Deadlines, ExpirationName } from './deadlines.js';
import { DEADLINE_SCRIPTS } from './scripts.js';
import {
  deadlinesOf,
  foundOf,
  type OnInvalid,
  SCAN_COUNT,
  StoredEntries,
  scanEntries,
} from './stored-entries.js';

/** Keys that are looked up together; a take-over looks up as many as 100,000. */
const ASK_BATCH = 1_000;

/** Entries that are written together: other clients of this Redis wait for less than a millisecond. */
const PUT_BATCH = 250;

/** A mark, and the number of a configuration; relays of version 0.1 stored a time. */
const WATERMARK = /^(?:((?:[0-9a-f]{0,8}\.\d{1,16}\.\d{1,16},?){1,1000}) (\d{1,15})|\d{1,15})$/;

export class RedisDeadlines implements Deadlines {
  readonly #state: RedisState;
  readonly #lease: Pick<Lease, 'token' | 'number'>;
  readonly #scripts: Scripts<typeof DEADLINE_SCRIPTS>;
  readonly #databases: readonly number[];
  readonly #stored: StoredEntries;

  /**
   * Only the holder of the lease writes. `databases` are the watched databases. `onInvalid` is called with keys whose
   * entries were not deadlines.
   */
  constructor(
    state: RedisState,
    lease: Pick<Lease, 'token' | 'number'>,
    databases: readonly number[],
    onInvalid: OnInvalid,
  ) {
    this.#state = state;
    this.#lease = lease;
    this.#scripts = defineScripts(state.redis, DEADLINE_SCRIPTS);
    this.#databases = databases;
    this.#stored = new StoredEntries(state, onInvalid);
  }

  async put(readings: readonly KeyReading[]): Promise<void> {
    const batches = [...batchesByDatabase(readings, PUT_BATCH)];
    // All batches are sent before any later event is handled: the event may remove these entries.
    await Promise.all(batches.map(([database, batch]) => this.#put(database, batch)));
  }

  async #put(database: number, readings: readonly KeyReading[]): Promise<void> {
    const { tracked, overdue } = this.#keys(database);
    const of = (ttl: KeyReading['ttl']) => readings.filter((reading) => reading.ttl === ttl);
    const [volatile, persistent, missing] = [of('volatile'), of('persistent'), of('missing')];
    await this.#state.run('track', () =>
      this.#scripts.deadlinesPut(
        [leaseKey(this.#state.prefix), tracked, overdue],
        [
          tokenOf(this.#lease),
          volatile.length,
          persistent.length,
          ...volatile.flatMap(({ deadlineMs, key }) => [deadlineMs, key]),
          ...persistent.map(({ key }) => key),
          ...missing.flatMap(({ readAtMs, key }) => [readAtMs, key]),
        ],
      ),
    );
  }

  async remove(removed: readonly KeyInDatabase[]): Promise<void> {
    if (removed.length === 0) return;
    const { keys, placeOf } = this.#keysOf(removed);
    const args = removed.flatMap(({ database, key }) => [placeOf(database), key]);
    await this.#state.run('track', () =>
      this.#scripts.deadlinesRemove(keys, [tokenOf(this.#lease), ...args]),
    );
  }

  async take(database: number, untilMs: number, countMax: number): Promise<readonly Deadline[]> {
    const { prefix } = this.#state;
    const { tracked, overdue } = this.#keys(database);
    const keys = [leaseKey(prefix), tracked, overdue, quarantineKey(prefix)];
    const token = tokenOf(this.#lease);
    const taken: Deadline[] = [];
    let invalid = 1;
    while (invalid > 0 && taken.length < countMax) {
      const args = [token, untilMs, countMax - taken.length];
      const reply = await this.#state.run('track', () => this.#scripts.deadlinesTake(keys, args));
      const [due, others] = reply as [Buffer[], Buffer[]];
      invalid = others.length;
      this.#stored.invalid(others.map((key) => ({ database, key })));
      taken.push(...deadlinesOf(database, entriesOf(due)));
    }
    return taken;
  }

  async overdue(
    database: number,
    untilMs: number,
    countMax: number,
    skipped = 0,
  ): Promise<readonly Deadline[]> {
    const { redis } = this.#state;
    const { overdue } = this.#keys(database);
    const reply = await this.#state.run('track', () =>
      redis.zrangebyscoreBuffer(overdue, '-inf', untilMs, 'WITHSCORES', 'LIMIT', skipped, countMax),
    );
    return this.#stored.deadlines(database, overdue, entriesOf(reply));
  }

  async find(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]> {
    const { redis } = this.#state;
    const deadlines = new Map<string, number>();
    for (const [database, its] of batchesByDatabase(keys, ASK_BATCH)) {
      const { tracked, overdue } = this.#keys(database);
      const names = its.map(({ key }) => key);
      const [taken, waiting] = await this.#state.run('track', () =>
        Promise.all([redis.zmscore(overdue, ...names), redis.zmscore(tracked, ...names)]),
      );
      // An overdue entry takes precedence over a tracked one.
      for (const [part, scores] of [
        [tracked, waiting],
        [overdue, taken],
      ] as const) {
        const found = await this.#stored.deadlines(database, part, foundOf(names, scores));
        for (const deadline of found) deadlines.set(keyId(deadline), deadline.deadlineMs);
      }
    }
    return keys.map((key) => deadlines.get(keyId(key)) ?? null);
  }

  async *recentlyCaptured(): AsyncGenerator<readonly CapturedName[]> {
    const part = capturedKey(this.#state.prefix);
    for await (const entries of scanEntries(this.#state, part)) {
      yield await this.#stored.captured(part, entries);
    }
  }

  async areCaptured(names: readonly ExpirationName[]): Promise<readonly boolean[]> {
    const members = names.map((one) => capturedMember(one, one.name));
    const scores = await this.#scores(capturedKey(this.#state.prefix), members);
    return scores.map((score) => score !== null);
  }

  async capturedByOlder(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]> {
    const { redis, prefix } = this.#state;
    const part = claimedKey(prefix);
    const recorded = await this.#state.run('track', () => redis.zcard(part));
    if (recorded === 0) return keys.map(() => null);
    const scores = await this.#scores(part, keys.map(claimedMember));
    return scores.map((score) => (score === null ? null : Number(score)));
  }

  async #scores(part: string, members: readonly Buffer[]): Promise<readonly (string | null)[]> {
    const { redis } = this.#state;
    const scores: (string | null)[] = [];
    for (let from = 0; from < members.length; from += ASK_BATCH) {
      const some = members.slice(from, from + ASK_BATCH);
      scores.push(...(await this.#state.run('track', () => redis.zmscore(part, ...some))));
    }
    return scores;
  }

  async advanceWatermark(marks: readonly string[]): Promise<void> {
    const { prefix } = this.#state;
    const keys = [leaseKey(prefix), watermarkKey(prefix), claimedKey(prefix)];
    // Before a reloaded configuration has its number, the watermark is of no configuration.
    const number = this.#lease.number ?? 0;
    const args = [tokenOf(this.#lease), `${marks.join()} ${number}`];
    await this.#state.run('track', () => this.#scripts.deadlinesAdvanceWatermark(keys, args));
  }

  async watermark(): Promise<readonly string[]> {
    const { redis, prefix } = this.#state;
    const key = watermarkKey(prefix);
    const text = await this.#state.run('track', () => redis.get(key));
    const found = await this.#stored.text(key, text, WATERMARK);
    const [, marks = '', number] = found ?? [];
    // A watermark of another configuration does not count: its replica had other routes.
    return Number(number) === this.#lease.number ? marks.split(',') : [];
  }

  scan(database: number): AsyncIterable<readonly KeyInDatabase[]> {
    return this.#scan(database, this.#keys(database).tracked);
  }

  async *#scan(database: number, part: string): AsyncGenerator<readonly KeyInDatabase[]> {
    for await (const entries of scanEntries(this.#state, part)) {
      yield await this.#stored.deadlines(database, part, entries);
    }
  }

  async earliestMs(database: number): Promise<number | null> {
    const { redis } = this.#state;
    const { tracked } = this.#keys(database);
    const [, score] = await this.#state.run('track', () =>
      redis.zrangeBuffer(tracked, 0, '0', 'WITHSCORES'),
    );
    return score === undefined ? null : scoreOf(score);
  }

  async count(): Promise<number> {
    const { redis } = this.#state;
    const counts = await this.#state.run('depth', () =>
      Promise.all(
        this.#databases.flatMap((database) => {
          const { tracked, overdue } = this.#keys(database);
          return [redis.zcard(tracked), redis.zcard(overdue)];
        }),
      ),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async setAside(keys: readonly KeyInDatabase[]): Promise<void> {
    for (const [database, batch] of batchesByDatabase(keys, PUT_BATCH)) {
      await this.#state.run('track', () =>
        this.#scripts.deadlinesSetAside(this.#unroutedKeys(database), [
          tokenOf(this.#lease),
          ...batch.map(({ key }) => key),
        ]),
      );
    }
  }

  async bringBack(database: number, isRouted: (key: Buffer) => boolean): Promise<void> {
    const keys = this.#unroutedKeys(database);
    for await (const found of this.#scan(database, unroutedKey(this.#state.prefix, database))) {
      const routed = found.flatMap(({ key }) => (isRouted(key) ? [key] : []));
      for (let from = 0; from < routed.length; from += PUT_BATCH) {
        const args = [tokenOf(this.#lease), ...routed.slice(from, from + PUT_BATCH)];
        await this.#state.run('track', () => this.#scripts.deadlinesBringBack(keys, args));
      }
    }
  }

  async forgetAside(database: number, untilMs: number): Promise<void> {
    const keys = [leaseKey(this.#state.prefix), unroutedKey(this.#state.prefix, database)];
    let forgotten: unknown;
    do {
      const args = [tokenOf(this.#lease), untilMs, SCAN_COUNT];
      forgotten = await this.#state.run('track', () =>
        this.#scripts.deadlinesForgetAside(keys, args),
      );
    } while (forgotten === SCAN_COUNT);
  }

  async forget(database: number): Promise<number> {
    const { tracked, overdue } = this.#keys(database);
    const keys = [tracked, overdue, unroutedKey(this.#state.prefix, database)];
    return Number(await this.#state.run('track', () => this.#scripts.deadlinesForget(keys, [])));
  }

  #keys(database: number) {
    return deadlineKeys(this.#state.prefix, database);
  }

  #unroutedKeys(database: number): readonly string[] {
    const { prefix } = this.#state;
    const { tracked, overdue } = this.#keys(database);
    return [leaseKey(prefix), tracked, overdue, unroutedKey(prefix, database)];
  }

  /** Returns the lease's key, the index's keys for the databases of the entries, and each database's place (from 1). */
  #keysOf(entries: readonly KeyInDatabase[]) {
    const databases = [...new Set(entries.map(({ database }) => database))];
    const keys = databases.flatMap((database) => {
      const { tracked, overdue } = this.#keys(database);
      return [tracked, overdue];
    });
    return {
      keys: [leaseKey(this.#state.prefix), ...keys],
      placeOf: (database: number) => databases.indexOf(database) + 1,
    };
  }
}
