/**
 * An application that sets keys and changes them. It connects to Redis directly, and records
 * the replies of Redis: a reply shows whether the key still existed. It follows the redirects of a cluster.
 */

import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { FATES, type Fate, lifeMsOf, momentOf, WrittenLife } from './life.js';
import type { Random } from './random.js';
import type { Command } from './records.js';

const TICK_MS = 10;

/** Sometimes many keys are set at once, with one deadline. */
const BURST_CHANCE = 0.004;
const BURST_KEYS = 40;

/** How often a key is reused. */
const AGAIN_CHANCE = 0.3;

/** Keys are spread over so many slots of a cluster: enough of them are in a slot that moves. */
export const TAGS = 200;

const REDIRECTS_MAX = 5;

export interface WriterParts {
  /** The port of the server that has a key now, on 127.0.0.1. */
  readonly portOf: (key: string) => number;
  /** Whether keys are on several servers; if not, the application leaves a server as soon as another one has them. */
  readonly isCluster: boolean;
  readonly random: Random;
  readonly keysPerS: number;
  readonly lifeMsMax: number;
}

/** The result of a command. `unsent`: it had no effect. */
type Given<Value> =
  | { readonly kind: 'replied'; readonly value: Value; readonly at: Command }
  | { readonly kind: 'unsent' }
  | { readonly kind: 'unknown'; readonly at: Command };

export class Writer {
  readonly lives: WrittenLife[] = [];
  readonly #parts: WriterParts;
  /** By port; only one if all keys are on one server. */
  readonly #connections = new Map<number, Redis>();
  readonly #busy = new Set<Promise<void>>();
  readonly #steps: Record<Fate, (life: WrittenLife, random: Random) => Promise<void>>;
  #writing: Promise<void> = Promise.resolve();
  #stopped = false;
  #keys = 0;

  constructor(parts: WriterParts) {
    this.#parts = parts;
    this.#steps = {
      expire: async () => undefined,
      delete: (life, random) => this.#delete(life, random),
      extend: (life, random) => this.#extend(life, random),
      shorten: (life, random) => this.#shorten(life, random),
      persist: (life, random) => this.#persist(life, random),
      overwrite: (life) => this.#overwrite(life),
      rename: (life, random) => this.#rename(life, random),
      replace: (life, random) => this.#replace(life, random),
      recreate: (life, random) => this.#recreate(life, random),
      'delete and recreate': (life, random) => this.#deleteAndRecreate(life, random),
    };
  }

  /** Whether it is connected to the server at a port. */
  isConnectedTo(port: number): boolean {
    const all = [...this.#connections.values()];
    return all.some(
      ({ status, stream }) => status === 'ready' && (stream as Socket).remotePort === port,
    );
  }

  start(): void {
    this.#writing = this.#write();
  }

  /** Begins no more lives, and resolves when no key will be changed any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#writing;
    while (this.#busy.size > 0) await Promise.all(this.#busy);
    for (const redis of this.#connections.values()) redis.disconnect();
  }

  async #write(): Promise<void> {
    const { random, keysPerS, lifeMsMax } = this.#parts;
    const beganAtMs = performance.now();
    let due = 0;
    for (; !this.#stopped; await sleep(TICK_MS)) {
      if (!this.#parts.isCluster) this.#connectionTo(this.#parts.portOf(''));
      due = Math.max(due, ((performance.now() - beganAtMs) * keysPerS) / 1_000);
      for (let behind = due - this.#keys; behind >= 1; behind -= 1) {
        const its = random.fork(`key ${this.#keys}`);
        const lifeMs = lifeMsOf(its, lifeMsMax);
        const count = its.chance(BURST_CHANCE) ? BURST_KEYS : 1;
        const deadlineMs = Date.now() + lifeMs;
        for (let n = 0; n < count; n += 1) this.#keep(this.#live(deadlineMs));
        due += count - 1;
      }
    }
  }

  /** Like an application with Sentinel, it has one connection, which follows the primary. */
  #connectionTo(port: number): Redis {
    const known = this.#connections.get(this.#parts.isCluster ? port : 0);
    if (known === undefined) return this.#connect(port);
    if (known.options.port === port) return known;
    known.options.port = port;
    if (known.status !== 'reconnecting') known.disconnect(true);
    return known;
  }

  #connect(port: number): Redis {
    const redis = new Redis({
      host: '127.0.0.1',
      port,
      protocol: 2,
      enableOfflineQueue: false,
      // A command that was in progress is never repeated: the time of its effect would be unknown.
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => 20,
      // A server that hangs does not close its side.
      disconnectTimeout: 100,
    });
    redis.on('error', () => undefined);
    this.#connections.set(this.#parts.isCluster ? port : 0, redis);
    return redis;
  }

  #keep(doing: Promise<void>): void {
    const kept = doing.finally(() => this.#busy.delete(kept));
    this.#busy.add(kept);
  }

  async #live(deadlineMs: number): Promise<void> {
    const n = this.#keys;
    this.#keys += 1;
    const random = this.#parts.random.fork(`fate ${n}`);
    const life = await this.#begin(`order:{${n % TAGS}}:${n}`, deadlineMs);
    if (life !== null) await this.#deal(life, random);
  }

  /** Null if the key was certainly not set, or if that is unknown. */
  async #begin(key: string, deadlineMs: number): Promise<WrittenLife | null> {
    const given = await this.#give(key, (redis) => redis.set(key, 'x', 'PXAT', deadlineMs));
    return given.kind === 'unsent' ? null : this.#noted(given, key, deadlineMs);
  }

  #noted(
    { kind, at }: Exclude<Given<unknown>, { kind: 'unsent' }>,
    key: string,
    deadlineMs: number,
    origin: WrittenLife | null = null,
  ): WrittenLife | null {
    const life = new WrittenLife(key, { deadlineMs, since: at }, origin);
    this.lives.push(life);
    if (kind === 'unknown') life.unknown();
    return life.ending.kind === 'unknown' ? null : life;
  }

  async #deal(life: WrittenLife, random: Random): Promise<void> {
    const fate = random.weighted(FATES);
    if (fate === 'recreate') return this.#steps[fate](life, random);
    const momentMs = momentOf(random, Date.now(), life.deadlineMs);
    if (momentMs === null || fate === 'expire') return;
    await sleep(Math.max(0, momentMs - Date.now()));
    await this.#steps[fate](life, random);
  }

  async #dealAgain(life: WrittenLife, random: Random): Promise<void> {
    if (!this.#stopped && random.chance(AGAIN_CHANCE)) await this.#deal(life, random);
  }

  async #delete(life: WrittenLife, random: Random): Promise<void> {
    const { key } = life;
    const how = random.pick<(redis: Redis) => Promise<unknown>>([
      (redis) => redis.del(key),
      (redis) => redis.unlink(key),
      (redis) => redis.getdel(key),
      (redis) => redis.pexpireat(key, Date.now() - 1_000),
    ]);
    this.#end(life, 'deleted', await this.#give(key, how));
  }

  /** A reply of 0 or nil means that the key had expired already. */
  #end(
    life: WrittenLife,
    kind: Parameters<WrittenLife['ended']>[0],
    given: Given<unknown>,
  ): boolean {
    if (given.kind === 'unknown') life.unknown();
    if (given.kind !== 'replied' || !given.value) return false;
    life.ended(kind, given.at);
    return true;
  }

  async #extend(life: WrittenLife, random: Random): Promise<void> {
    const { key } = life;
    const deadlineMs = life.deadlineMs + random.between(300, this.#parts.lifeMsMax / 3);
    const how = random.pick<(redis: Redis) => Promise<unknown>>([
      (redis) => redis.pexpireat(key, deadlineMs),
      (redis) => redis.getex(key, 'PXAT', deadlineMs),
      (redis) => redis.set(key, 'y', 'PXAT', deadlineMs, 'XX'),
    ]);
    await this.#change(life, deadlineMs, await this.#give(key, how), random);
  }

  async #shorten(life: WrittenLife, random: Random): Promise<void> {
    const deadlineMs = Math.min(Date.now() + random.between(50, 500), life.deadlineMs - 1);
    const given = await this.#give(life.key, (redis) => redis.pexpireat(life.key, deadlineMs));
    await this.#change(life, deadlineMs, given, random);
  }

  async #change(
    life: WrittenLife,
    deadlineMs: number,
    given: Given<unknown>,
    random: Random,
  ): Promise<void> {
    if (given.kind === 'unsent' || (given.kind === 'replied' && !given.value)) return;
    life.got(deadlineMs, given.at);
    if (given.kind === 'unknown') life.unknown();
    if (life.ending.kind !== 'unknown') await this.#dealAgain(life, random);
  }

  async #persist(life: WrittenLife, random: Random): Promise<void> {
    const { key } = life;
    const how = random.pick<(redis: Redis) => Promise<unknown>>([
      (redis) => redis.persist(key),
      (redis) => redis.getex(key, 'PERSIST'),
    ]);
    this.#end(life, 'persisted', await this.#give(key, how));
  }

  async #overwrite(life: WrittenLife): Promise<void> {
    const given = await this.#give(life.key, (redis) => redis.set(life.key, 'z', 'XX'));
    this.#end(life, 'overwritten', given);
  }

  async #rename(life: WrittenLife, random: Random): Promise<void> {
    const key = `${life.key}:renamed`;
    const given = await this.#give(life.key, async (redis) => {
      // Replies "no such key" when it has expired.
      const replies = await redis.multi().rename(life.key, key).exec();
      return replies?.[0]?.[0] === null;
    });
    await this.#renamed(life, key, given, random);
  }

  async #renamed(
    life: WrittenLife,
    key: string,
    given: Given<boolean>,
    random: Random,
  ): Promise<void> {
    if (given.kind === 'unsent' || (given.kind === 'replied' && !given.value)) return;
    this.#end(life, 'renamed', given);
    const renamed = this.#noted(given, key, life.deadlineMs, life);
    if (renamed !== null) await this.#dealAgain(renamed, random);
  }

  /** Renames the key to the name of another one, which may just have expired. */
  async #replace(life: WrittenLife, random: Random): Promise<void> {
    const lifeMs = random.between(100, 2_000);
    const other = await this.#begin(`${life.key}:other`, Date.now() + lifeMs);
    if (other === null) return;
    await sleep(random.between(0, 100));
    const given = await this.#give(life.key, async (redis) => {
      const replies = await redis.multi().exists(other.key).rename(life.key, other.key).exec();
      return { hadOther: replies?.[0]?.[1] === 1, isRenamed: replies?.[1]?.[0] === null };
    });
    if (given.kind === 'replied') {
      const { at, value } = given;
      if (value.isRenamed && value.hadOther) other.ended('replaced', at);
      await this.#renamed(life, other.key, { ...given, value: value.isRenamed }, random);
    } else if (given.kind === 'unknown') {
      other.unknown();
      await this.#renamed(life, other.key, given, random);
    }
  }

  /** Sets it again as soon as it has expired: that may be what makes Redis expire it. */
  async #recreate(life: WrittenLife, random: Random): Promise<void> {
    const afterMs = random.chance(0.7) ? random.between(1, 30) : random.between(30, 500);
    await sleep(Math.max(0, life.deadlineMs + afterMs - Date.now()));
    const deadlineMs = Date.now() + lifeMsOf(random, this.#parts.lifeMsMax);
    const { key } = life;
    const given = await this.#give(key, (redis) => redis.set(key, 'x', 'PXAT', deadlineMs, 'GET'));
    if (given.kind === 'unsent') return;
    // Timers may be slightly early: then the key still exists.
    if (given.kind === 'replied' && given.value !== null) return life.got(deadlineMs, given.at);
    const next = this.#noted(given, key, deadlineMs);
    if (next !== null) await this.#dealAgain(next, random);
  }

  async #deleteAndRecreate(life: WrittenLife, random: Random): Promise<void> {
    const { key } = life;
    const given = await this.#give(key, (redis) => redis.del(key));
    if (!this.#end(life, 'deleted', given)) return;
    await sleep(random.between(0, 20));
    const deadlineMs = Date.now() + lifeMsOf(random, this.#parts.lifeMsMax);
    const next = await this.#begin(key, deadlineMs);
    if (next !== null) await this.#dealAgain(next, random);
  }

  /** A refused command counts as unsent: Redis refuses commands while it loads its data. */
  async #give<Value>(
    key: string,
    command: (redis: Redis) => Promise<Value>,
  ): Promise<Given<Value>> {
    let port = this.#parts.portOf(key);
    let isAsked = false;
    for (let redirects = 0; redirects < REDIRECTS_MAX; redirects += 1) {
      const redis = this.#connectionTo(port);
      if (redis.status !== 'ready') return { kind: 'unsent' };
      const fromMs = Date.now();
      try {
        // Both are sent at once: no other command can come between them.
        if (isAsked) redis.asking().catch(() => undefined);
        const value = await command(redis);
        return { kind: 'replied', value, at: { fromMs, toMs: Date.now(), port } };
      } catch (error) {
        const isReply = error instanceof Error && error.name === 'ReplyError';
        if (!isReply) return { kind: 'unknown', at: { fromMs, toMs: Date.now(), port } };
        const [, kind, to] = /^(MOVED|ASK) \d+ \S*:(\d+)$/.exec(error.message) ?? [];
        if (to === undefined) return { kind: 'unsent' };
        port = Number(to);
        isAsked = kind === 'ASK';
      }
    }
    return { kind: 'unsent' };
  }
}
