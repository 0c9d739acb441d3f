/**
 * The keys of others: finds them, and reads when they expire, many in one round trip. Reading a key
 * whose deadline has passed makes its primary expire it at once, and say so: that is the nudge.
 */
import type { ChainableCommander, Redis } from 'ioredis';
import { CLOCK_SLACK_MS } from '../deadlines/deadlines.js';
import { messageOf } from '../errors.js';
import { batchesByDatabase } from '../key-name.js';
import { isElsewhere } from '../refusal.js';
import type { Command } from '../values/shape.js';
import type { KeyInDatabase, KeyReading } from '../vocabulary.js';
import type { ServerClock } from './server-clock.js';

/** A few milliseconds' work for Redis, and bounded memory here. */
const BATCH = 500;

/** What PEXPIRETIME and PTTL answer for a key that is not there, and for one without a deadline. */
const GONE = -2;
const ENDLESS = -1;

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
  readonly #redis: Redis;
  readonly #serverClock: ServerClock;
  /** What the connection has selected; null: not known for sure. */
  #selected: number | null = null;
  #selections = 0;
  /** Redis 6.2 knows only how long a key has left. */
  #knowsDeadlines = true;
  /** Whether it may be asked how many of several keys there are. */
  #mayCount = true;

  /** `redis` is a connection whose database nobody else selects. */
  constructor(redis: Redis, serverClock: ServerClock) {
    this.#redis = redis;
    this.#serverClock = serverClock;
  }

  /** In the order of the keys; rejects when the connection does. */
  async read(keys: readonly KeyInDatabase[]): Promise<KeyReading[]> {
    const readings = new Map<KeyInDatabase, KeyReading>();
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
    if (first === undefined || keys.length === 1 || !this.#mayCount) return this.read(keys);
    const { database } = first;
    if (keys.some((key) => key.database !== database)) return this.read(keys);
    const { refusal, answers } = await this.#run(database, (pipeline) =>
      pipeline.exists(...keys.map(({ key }) => key)),
    );
    if (refusal !== null) this.#mayCount = false;
    if (answers[0] !== 0) return this.read(keys);
    const readAtMs = this.#serverClock.nowMs();
    return keys.map(({ key }) => ({ database, key, life: 'gone', deadlineMs: 0, readAtMs }));
  }

  /** One step through the keys of a database, from '0' to '0'; rejects when the connection does. */
  async scan(
    database: number,
    cursor: string,
    glob: string | null,
    count: number,
  ): Promise<Scanned> {
    const match = glob === null ? [] : (['MATCH', glob] as const);
    const { refusal, answers } = await this.#run(database, (pipeline) =>
      pipeline.callBuffer('SCAN', cursor, ...match, 'COUNT', count),
    );
    if (refusal !== null) throw refusal;
    const [next, keys] = answers[0] as [Buffer, Buffer[]];
    return { next: next.toString(), keys };
  }

  async #readBatch(database: number, keys: readonly KeyInDatabase[]): Promise<KeyReading[]> {
    const { refusal, answers } = await this.#run(database, (pipeline) => {
      for (const { key } of keys) {
        if (this.#knowsDeadlines) pipeline.pexpiretime(key);
        else pipeline.pttl(key);
      }
    });
    if (refusal !== null) {
      if (!this.#knowsDeadlines || !/unknown command/i.test(messageOf(refusal))) throw refusal;
      this.#knowsDeadlines = false;
      return this.#readBatch(database, keys);
    }
    const readAtMs = this.#serverClock.nowMs();
    return keys.map(({ key }, at) => {
      const answer = Number(answers[at]);
      const life = answer === GONE ? 'gone' : answer === ENDLESS ? 'endless' : 'until';
      const deadlineMs = this.#knowsDeadlines ? answer : Math.round(readAtMs + answer);
      return { database, key, life, deadlineMs: life === 'until' ? deadlineMs : 0, readAtMs };
    });
  }

  /**
   * Any commands in a database; an answer that is an Error is what Redis refused. Strings are Buffers.
   * Rejects when the connection does, and when the database cannot be selected.
   */
  async ask(database: number, commands: readonly Command[]): Promise<readonly unknown[]> {
    const replies = await this.#give(database, (pipeline) => {
      for (const [name, ...words] of commands) pipeline.callBuffer(name, ...words);
    });
    const broken = replies.find(([error]) => error !== null && error.name !== 'ReplyError');
    if (broken?.[0]) throw broken[0];
    return replies.map(([error, answer]) => error ?? answer);
  }

  /** How far two readings of the same deadline may be apart, in milliseconds. */
  get deadlineSlackMs(): number {
    return this.#knowsDeadlines ? 0 : CLOCK_SLACK_MS;
  }

  /** The time by the clock of the server. */
  nowMs(): number {
    return this.#serverClock.nowMs();
  }

  async #run(database: number, give: (pipeline: ChainableCommander) => unknown): Promise<Replies> {
    const replies = await this.#give(database, give);
    const refusals = replies.flatMap(([error]) => error ?? []);
    const refusal = refusals.find((error) => !isElsewhere(error)) ?? null;
    // A key that is elsewhere may live on there, and is not ours to watch: as one without a deadline.
    const answers = replies.map(([error, answer]) => (error === null ? answer : ENDLESS));
    return { refusal, answers };
  }

  /** Gives commands in a database, which is selected before if it may be another. */
  async #give(
    database: number,
    give: (pipeline: ChainableCommander) => unknown,
  ): Promise<readonly (readonly [Error | null, unknown])[]> {
    const pipeline = this.#redis.pipeline();
    const isSelected = this.#selected === database;
    if (!isSelected) {
      pipeline.select(database);
      // Until it is carried out, whoever comes behind it selects as well.
      this.#selected = null;
      this.#selections += 1;
    }
    const selections = this.#selections;
    give(pipeline);
    const replies = (await pipeline.exec()) ?? [];
    if (isSelected) return replies;
    const [[refusal] = [null], ...others] = replies;
    if (refusal !== null) throw refusal;
    if (selections === this.#selections) this.#selected = database;
    return others;
  }
}
