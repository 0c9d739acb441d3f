/**
 * The keys of others: finds them, and reads when they expire, many in one round trip. Reading a key
 * whose deadline has passed makes its primary expire it at once, and say so: that is the nudge.
 */

import type { ChainableCommander, Redis } from 'ioredis';
import { DEADLINE_MS_MAX } from '../model/deadline.js';
import { batchesByDatabase } from '../model/key-id.js';
import type { KeyInDatabase, KeyReading } from '../model/vocabulary.js';
import type { Command } from '../redis/command.js';
import { isElsewhere, isReply, isUnknownCommand } from '../redis/refusal.js';
import type { ServerClock } from '../redis/server-clock.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { CommandRunner } from './connection.js';
import { isExact, timeLeftCommands, timeLeftOf } from './time-left.js';

/** A few milliseconds' work for Redis, and bounded memory here. */
const BATCH = 500;

/** What PEXPIRETIME and PTTL answer for a key that is not there, and for one without a deadline. */
const MISSING = -2;
const PERSISTENT = -1;

/** In place of an answer: another node of the cluster has the slot, or is getting it (MOVED, ASK). */
const MOVED = -3;
const MOVING = -4;

/** A reading before the server was confirmed as the primary; `moved`: another node has the slot. */
type Unproved = Omit<KeyReading, 'ttl'> & { readonly ttl: KeyReading['ttl'] | 'moved' };

const TTLS: ReadonlyMap<number, Unproved['ttl']> = new Map([
  [MISSING, 'missing'],
  [PERSISTENT, 'persistent'],
  [MOVED, 'moved'],
  [MOVING, 'elsewhere'],
]);

/** About one in a thousand readings of PTTL falls on the border of two milliseconds, and is repeated. */
const EXACT_TRIES_MAX = 10;

export interface Scanned {
  /** Where to go on; '0' at the end. */
  readonly next: string;
  readonly keys: readonly Buffer[];
}

interface Replies {
  /** The first of the commands that were refused says so. */
  readonly refusal: Error | null;
  /** In the order of the commands. */
  readonly answers: readonly unknown[];
}

export class Keyspace {
  readonly #connection: CommandRunner;
  readonly #serverClock: ServerClock;
  readonly #isPrimary: () => Promise<void>;
  /** The connection that was used last. */
  #redis: Redis | null = null;
  /** What it has selected; null: not known for sure. */
  #selected: number | null = null;
  #selections = 0;
  /** Redis 6.2 knows only how long a key has left. */
  #knowsDeadlines = true;
  /** Whether it may be asked how many of several keys there are. */
  #mayCount = true;
  /** Whether the server tells its time. */
  #mayAskTime = true;

  /**
   * `connection` is one whose database nobody else selects; `isPrimary` rejects unless the server is
   * the primary that the session began with.
   */
  constructor(connection: CommandRunner, serverClock: ServerClock, isPrimary: () => Promise<void>) {
    this.#connection = connection;
    this.#serverClock = serverClock;
    this.#isPrimary = isPrimary;
  }

  /**
   * In the order of the keys; rejects when the connection does, and when a key seems to have gone on a
   * server that is the primary no longer.
   */
  async read(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]> {
    const readings = await this.#readAll(keys);
    if (readings.some(({ ttl }) => ttl === 'missing' || ttl === 'moved')) await this.#isPrimary();
    // Of a primary, another one has that slot: its keys are that one's to watch.
    return readings.map((one) => proved(one, 'persistent'));
  }

  /** Does not check whether the server is still the primary. */
  async #readAll(keys: readonly KeyInDatabase[]): Promise<Unproved[]> {
    const readings = new Map<KeyInDatabase, Unproved>();
    for (const [database, batch] of batchesByDatabase(keys, BATCH)) {
      const read = await this.#readBatch(database, batch);
      for (const [at, reading] of read.entries()) readings.set(batch[at] ?? reading, reading);
    }
    return keys.flatMap((key) => readings.get(key) ?? []);
  }

  /**
   * The same for keys that are due: most of them are gone, and one command tells that of all. Where
   * it may not be given, or a cluster refuses it, each key is read by itself.
   */
  async nudge(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]> {
    const [first] = keys;
    if (first === undefined || keys.length === 1 || !this.#mayCount) return this.#nudgeEach(keys);
    const { database } = first;
    if (keys.some((key) => key.database !== database)) return this.#nudgeEach(keys);
    const { refusal, answers, readAtMs } = await this.#readAt(database, (pipeline) =>
      pipeline.exists(...keys.map(({ key }) => key)),
    );
    if (refusal !== null) this.#mayCount = false;
    if (answers[0] !== 0) return this.#nudgeEach(keys);
    return keys.map(({ key }) => ({ database, key, ttl: 'missing', deadlineMs: 0, readAtMs }));
  }

  async #nudgeEach(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]> {
    const readings = await this.#readAll(keys);
    return readings.map((one) => proved(one, 'elsewhere'));
  }

  /** One step through the keys of a database, from '0' to '0'; rejects when the connection does. */
  async scan(
    database: number,
    cursor: string,
    glob: string | null,
    count: number,
  ): Promise<Scanned> {
    const match = glob === null ? [] : (['MATCH', glob] as const);
    const { refusal, answers } = await this.#pipeline(database, (pipeline) =>
      pipeline.callBuffer('SCAN', cursor, ...match, 'COUNT', count),
    );
    if (refusal !== null) throw refusal;
    const [next, keys] = answers[0] as [Buffer, Buffer[]];
    return { next: next.toString(), keys };
  }

  async #readBatch(database: number, keys: readonly KeyInDatabase[]): Promise<Unproved[]> {
    // Another reading under way may find out meanwhile that the server does not know them.
    const knowsDeadlines = this.#knowsDeadlines;
    if (!knowsDeadlines && this.#mayAskTime) return this.#readTimeLeft(database, keys);
    const { refusal, answers, readAtMs } = await this.#readAt(database, (pipeline) => {
      for (const { key } of keys) {
        if (knowsDeadlines) pipeline.pexpiretime(key);
        else pipeline.pttl(key);
      }
    });
    if (refusal !== null) {
      if (!knowsDeadlines || !isUnknownCommand(refusal)) throw refusal;
      this.#knowsDeadlines = false;
      return this.#readBatch(database, keys);
    }
    return keys.map((key, at) => {
      const answer = Number(answers[at]);
      const deadlineMs = knowsDeadlines ? answer : Math.round(readAtMs + answer);
      return readingOf(key, answer, deadlineMs, readAtMs);
    });
  }

  /** Exact: what was read on the border of two milliseconds is read again. */
  async #readTimeLeft(database: number, keys: readonly KeyInDatabase[]): Promise<Unproved[]> {
    const readings: Unproved[] = [];
    let wanted = [...keys.keys()];
    for (let tries = 1; wanted.length > 0 && tries <= EXACT_TRIES_MAX; tries += 1) {
      const names = wanted.flatMap((at) => keys[at]?.key ?? []);
      const { refusal, answers, readAtMs } = await this.#readAt(database, (pipeline) => {
        for (const [name, ...words] of timeLeftCommands(names)) pipeline.callBuffer(name, ...words);
      });
      if (!this.#mayAskTime) return this.#readBatch(database, keys);
      if (refusal !== null) throw refusal;
      const inexact: number[] = [];
      for (const [n, left] of timeLeftOf(answers).entries()) {
        const at = wanted[n] as number;
        const key = keys[at] as KeyInDatabase;
        readings[at] = readingOf(key, left.leftMs, left.beforeMs + left.leftMs, readAtMs);
        if (!isExact(left)) inexact.push(at);
      }
      wanted = inexact;
    }
    return readings;
  }

  /**
   * Any commands in a database; an answer that is an Error is what Redis refused. Strings are Buffers.
   * Rejects when the connection does, and when the database cannot be selected.
   */
  async runCommands(database: number, commands: readonly Command[]): Promise<readonly unknown[]> {
    const replies = await this.#exec(database, (pipeline) => {
      for (const [name, ...words] of commands) pipeline.callBuffer(name, ...words);
    });
    return replies.map(([error, answer]) => error ?? answer);
  }

  /** How far two readings of the same deadline may be apart, in milliseconds. */
  get deadlineSlackMs(): number {
    return this.#knowsDeadlines || this.#mayAskTime ? 0 : CLOCK_SLACK_MS;
  }

  /** The time by the clock of the server. */
  nowMs(): number {
    return this.#serverClock.nowMs();
  }

  /**
   * The same with the server's time at the end of the commands: what is known of its clock may be out
   * of date, and a key that is gone before its deadline was not expired but deleted.
   */
  async #readAt(
    database: number,
    give: (pipeline: ChainableCommander) => unknown,
  ): Promise<Replies & { readonly readAtMs: number }> {
    if (!this.#mayAskTime) {
      const replies = await this.#pipeline(database, give);
      return { ...replies, readAtMs: this.#serverClock.nowMs() };
    }
    const tell = this.#serverClock.question();
    const replies = await this.#exec(database, (pipeline) => {
      give(pipeline);
      pipeline.time();
    });
    const [refusal, time] = replies.at(-1) ?? [null, []];
    if (refusal !== null) this.#mayAskTime = false;
    const readAtMs = refusal === null ? tell(time as string[]) : this.#serverClock.nowMs();
    return { ...repliesOf(replies.slice(0, -1)), readAtMs };
  }

  async #pipeline(
    database: number,
    give: (pipeline: ChainableCommander) => unknown,
  ): Promise<Replies> {
    return repliesOf(await this.#exec(database, give));
  }

  /** Gives commands in a database, which is selected before if it may be another. */
  #exec(
    database: number,
    give: (pipeline: ChainableCommander) => unknown,
  ): Promise<readonly (readonly [Error | null, unknown])[]> {
    return this.#connection.run(async (redis) => {
      if (redis !== this.#redis) {
        this.#redis = redis;
        this.#selected = null;
      }
      const pipeline = redis.pipeline();
      const isSelected = this.#selected === database;
      if (!isSelected) {
        pipeline.select(database);
        // Until it is carried out, every later call selects as well.
        this.#selected = null;
        this.#selections += 1;
      }
      const selections = this.#selections;
      give(pipeline);
      const replies = (await pipeline.exec()) ?? [];
      const broken = replies.find(([error]) => error !== null && !isReply(error));
      if (broken?.[0]) throw broken[0];
      if (isSelected) return replies;
      const [[refusal] = [null], ...others] = replies;
      if (refusal !== null) throw refusal;
      if (selections === this.#selections && redis === this.#redis) this.#selected = database;
      return others;
    });
  }
}

/** `answer` is that of PEXPIRETIME or PTTL. */
function readingOf(
  { database, key }: KeyInDatabase,
  answer: number,
  deadlineMs: number,
  readAtMs: number,
): Unproved {
  const ttl = TTLS.get(answer) ?? (deadlineMs > DEADLINE_MS_MAX ? 'persistent' : 'volatile');
  return { database, key, ttl, deadlineMs: ttl === 'volatile' ? deadlineMs : 0, readAtMs };
}

function repliesOf(replies: readonly (readonly [Error | null, unknown])[]): Replies {
  const refusals = replies.flatMap(([error]) => error ?? []);
  const refusal = refusals.find((error) => !isElsewhere(error)) ?? null;
  const answers = replies.map(([error, answer]) => {
    if (error === null) return answer;
    return error.message.startsWith('MOVED') ? MOVED : MOVING;
  });
  return { refusal, answers };
}

/** What a key is whose slot another node has depends on whether this one is still the primary. */
function proved(reading: Unproved, moved: 'persistent' | 'elsewhere'): KeyReading {
  const { ttl } = reading;
  return { ...reading, ttl: ttl === 'moved' ? moved : ttl };
}
