/**
 * Scans the watched keys and reads their deadlines, many in one round trip. Reading a key after its deadline makes the
 * primary expire it at once and publish that: the nudge.
 */

import type { ChainableCommander, Redis } from 'ioredis';
import { DEADLINE_MS_MAX } from '../model/deadline.js';
import { batchesByDatabase } from '../model/key-id.js';
import type { KeyInDatabase, KeyReading } from '../model/vocabulary.js';
import type { Command } from '../redis/command.js';
import { isAway, isElsewhere, isReply, isUnknownCommand } from '../redis/refusal.js';
import type { ServerClock } from '../redis/server-clock.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { CommandRunner } from './connection.js';
import { isExact, timeLeftCommands, timeLeftOf } from './time-left.js';

/** A few milliseconds' work for Redis, and bounded memory in the relay. */
const BATCH = 500;

/** Replies of PEXPIRETIME and PTTL for a missing key, and for one without a deadline. */
const MISSING = -2;
const PERSISTENT = -1;

/** Substitutes for a reply: another node of the cluster has the slot (MOVED), or is receiving it (ASK). */
const MOVED = -3;
const MOVING = -4;

/** The reply of ASKING, which concerns the next command. No command here has the same one. */
const ASKED = 'OK';

/** A reading before the server was confirmed as the primary; `moved`: another node has the slot. */
type Unproved = Omit<KeyReading, 'ttl'> & { readonly ttl: KeyReading['ttl'] | 'moved' };

const TTLS: ReadonlyMap<number, Unproved['ttl']> = new Map([
  [MISSING, 'missing'],
  [PERSISTENT, 'persistent'],
  [MOVED, 'moved'],
  [MOVING, 'elsewhere'],
]);

/** About one in a thousand readings of PTTL spans two milliseconds, and is repeated. */
const EXACT_TRIES_MAX = 10;

export interface Scanned {
  /** The next cursor; '0': the end. */
  readonly next: string;
  readonly keys: readonly Buffer[];
}

interface Replies {
  /** The first error; null: none. */
  readonly refusal: Error | null;
  /** The replies, in the order of the commands. */
  readonly answers: readonly unknown[];
}

export class Keyspace {
  readonly #connection: CommandRunner;
  readonly #serverClock: ServerClock;
  readonly #isPrimary: () => Promise<void>;
  /** The connection used last. */
  #redis: Redis | null = null;
  /** The connection's selected database; null: unknown. */
  #selected: number | null = null;
  #selections = 0;
  /** False for Redis 6.2, which has no PEXPIRETIME. */
  #knowsDeadlines = true;
  /** Whether EXISTS with several keys is allowed. */
  #mayCount: boolean;
  readonly #isOneOfSeveral: boolean;
  /** Whether TIME is allowed. */
  #mayAskTime = true;

  /**
   * `connection` is one whose database no other code selects; `isPrimary` rejects unless the server is the session's
   * primary. `isOneOfSeveral`: the relay also listens to the other primaries of the cluster.
   */
  constructor(
    connection: CommandRunner,
    serverClock: ServerClock,
    isPrimary: () => Promise<void>,
    isOneOfSeveral = false,
  ) {
    this.#isOneOfSeveral = isOneOfSeveral;
    this.#mayCount = !isOneOfSeveral;
    this.#connection = connection;
    this.#serverClock = serverClock;
    this.#isPrimary = isPrimary;
  }

  /**
   * Reads deadlines, in the order of the keys. Rejects when the connection fails, and when a key seems to be missing on
   * a server that is not the primary any more.
   */
  async read(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]> {
    const readings = await this.#readAll(keys);
    if (readings.some(({ ttl }) => ttl === 'missing' || ttl === 'moved')) await this.#isPrimary();
    // A relay of one node does not watch keys in the slots of other nodes.
    const moved = this.#isOneOfSeveral ? 'elsewhere' : 'persistent';
    return readings.map((one) => resolveMoved(one, moved));
  }

  /**
   * As `read`, also of keys in slots that the node is receiving (ASKING); all others are `elsewhere`. A migrating slot
   * has its keys at two nodes, and the one that has the slot answers ASK for those that it has not.
   */
  async readAsking(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]> {
    const readings = await this.#readAll(keys, true);
    if (readings.some(({ ttl }) => ttl === 'missing')) await this.#isPrimary();
    return readings.map((one) => resolveMoved(one, 'elsewhere'));
  }

  /** Reads deadlines without checking that the server is still the primary. */
  async #readAll(keys: readonly KeyInDatabase[], isAsking = false): Promise<Unproved[]> {
    const readings = new Map<KeyInDatabase, Unproved>();
    for (const [database, batch] of batchesByDatabase(keys, BATCH)) {
      const read = await this.#readBatch(database, batch, isAsking);
      for (const [at, reading] of read.entries()) readings.set(batch[at] ?? reading, reading);
    }
    return keys.flatMap((key) => readings.get(key) ?? []);
  }

  /**
   * Reads keys that are due. Most of them are missing, which one EXISTS shows for all. If EXISTS is not allowed, or a
   * cluster rejects it, each key is read separately.
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
    return readings.map((one) => resolveMoved(one, 'elsewhere'));
  }

  /** One step of SCAN through a database, from '0' to '0'; rejects when the connection fails. */
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

  async #readBatch(
    database: number,
    keys: readonly KeyInDatabase[],
    isAsking: boolean,
  ): Promise<Unproved[]> {
    // A concurrent reading may find out meanwhile that the server lacks PEXPIRETIME.
    const knowsDeadlines = this.#knowsDeadlines;
    if (!knowsDeadlines && this.#mayAskTime) return this.#readTimeLeft(database, keys, isAsking);
    const { refusal, answers, readAtMs } = await this.#readAt(database, (pipeline) => {
      for (const { key } of keys) {
        if (isAsking) pipeline.asking();
        if (knowsDeadlines) pipeline.pexpiretime(key);
        else pipeline.pttl(key);
      }
    });
    if (refusal !== null) {
      if (!knowsDeadlines || !isUnknownCommand(refusal)) throw refusal;
      this.#knowsDeadlines = false;
      return this.#readBatch(database, keys, isAsking);
    }
    return keys.map((key, at) => {
      const answer = Number(answers[at]);
      const deadlineMs = knowsDeadlines ? answer : Math.round(readAtMs + answer);
      return readingOf(key, answer, deadlineMs, readAtMs);
    });
  }

  /** Computes exact deadlines: readings that span two milliseconds are repeated. */
  async #readTimeLeft(
    database: number,
    keys: readonly KeyInDatabase[],
    isAsking: boolean,
  ): Promise<Unproved[]> {
    const readings: Unproved[] = [];
    let wanted = [...keys.keys()];
    for (let tries = 1; wanted.length > 0 && tries <= EXACT_TRIES_MAX; tries += 1) {
      const names = wanted.flatMap((at) => keys[at]?.key ?? []);
      const { refusal, answers, readAtMs } = await this.#readAt(database, (pipeline) => {
        for (const [name, ...words] of timeLeftCommands(names)) {
          if (isAsking && name !== 'TIME') pipeline.asking();
          pipeline.callBuffer(name, ...words);
        }
      });
      if (!this.#mayAskTime) return this.#readBatch(database, keys, isAsking);
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
   * Runs any commands in a database. A reply that is an Error is Redis's. Strings are Buffers. Rejects when the
   * connection fails, and when the database cannot be selected.
   */
  async runCommands(database: number, commands: readonly Command[]): Promise<readonly unknown[]> {
    const replies = await this.#exec(database, (pipeline) => {
      for (const [name, ...words] of commands) pipeline.callBuffer(name, ...words);
    });
    return replies.map(([error, answer]) => error ?? answer);
  }

  /** The maximum difference between two readings of the same deadline, in milliseconds. */
  get deadlineSlackMs(): number {
    return this.#knowsDeadlines || this.#mayAskTime ? 0 : CLOCK_SLACK_MS;
  }

  /** The time by the server's clock. */
  nowMs(): number {
    return this.#serverClock.nowMs();
  }

  /**
   * Adds the server's time after the commands. The known offset of its clock may be outdated, and a key that is missing
   * before its deadline was deleted, not expired.
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
    return { ...this.#repliesOf(replies.slice(0, -1)), readAtMs };
  }

  async #pipeline(
    database: number,
    give: (pipeline: ChainableCommander) => unknown,
  ): Promise<Replies> {
    return this.#repliesOf(await this.#exec(database, give));
  }

  #repliesOf(replies: readonly (readonly [Error | null, unknown])[]): Replies {
    return repliesOf(replies, this.#isOneOfSeveral ? isAway : isElsewhere);
  }

  /** Runs commands in a database, which is selected first if necessary. */
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
        // Every concurrent call selects as well, until this one has succeeded.
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

/** `answer` is the reply of PEXPIRETIME or PTTL. */
function readingOf(
  { database, key }: KeyInDatabase,
  answer: number,
  deadlineMs: number,
  readAtMs: number,
): Unproved {
  const ttl = TTLS.get(answer) ?? (deadlineMs > DEADLINE_MS_MAX ? 'persistent' : 'volatile');
  return { database, key, ttl, deadlineMs: ttl === 'volatile' ? deadlineMs : 0, readAtMs };
}

function repliesOf(
  replies: readonly (readonly [Error | null, unknown])[],
  isOfOtherNode: (refusal: Error) => boolean,
): Replies {
  const refusals = replies.flatMap(([error]) => error ?? []);
  const refusal = refusals.find((error) => !isOfOtherNode(error)) ?? null;
  const answers = replies.map(([error, answer]) => {
    if (error === null) return answer;
    return error.message.startsWith('MOVED') ? MOVED : MOVING;
  });
  return { refusal, answers: answers.filter((answer) => answer !== ASKED) };
}

/** Resolves `moved`: the meaning depends on whether the server is still the primary. */
function resolveMoved(reading: Unproved, moved: 'persistent' | 'elsewhere'): KeyReading {
  const { ttl } = reading;
  return { ...reading, ttl: ttl === 'moved' ? moved : ttl };
}
