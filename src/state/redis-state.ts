/**
 * The Redis that holds what must survive: a connection that comes back by itself, and is looked at
 * each time. What is wrong with it is waited out, and said: in the log, a metric and `/readyz`.
 */
import type { Redis } from 'ioredis';
import { type Clock, untilAborted } from '../lib/clock.js';
import {
  FencedError,
  messageOf,
  RedisNotReadyError,
  RedisSlotError,
  RelayError,
  StateUnavailableError,
} from '../model/errors.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf, needsNewConnection, stateError } from '../redis/client.js';
import { openLasting } from '../redis/lasting.js';
import { isOtherType, isReply } from '../redis/refusal.js';
import { refuseSentinel } from '../redis/sentinel.js';
import type { ServerFinding } from '../server/finding.js';
import { judgeStateServer } from '../server/judge.js';
import { PropertyReader } from '../server/properties.js';
import { endpointsKey } from './format.js';
import { type HealthEvents, StateHealth, type StateOperation } from './health.js';
import { Quarantine, type Suspect } from './quarantine.js';
import { NAME } from './stored.js';
import { refuseStateReplica, verifyDatabase, verifyFormat, verifyScripts } from './verify.js';

/** How often a state is looked at again on a connection that stands, whether it can be used or not. */
const VERIFY_AGAIN_MS = 5_000;

/** The same where it only has to load its data: nothing can be captured before that. */
const LOADED_AGAIN_MS = 250;

/** A Redis that is silent for so long when the relay stops is not waited for. */
const SILENCE_AT_STOP_MS = 1_000;

export interface StateEvents extends HealthEvents {
  /** One pass of a loop has met an error that nobody foresaw. */
  internalError(loop: string, error: unknown): void;
  /** The files with its password or certificates cannot be used; their last valid content is. */
  credentialsUnusable(problem: string): void;
  /** What is known of the server, at each connection. */
  server(address: string, findings: readonly ServerFinding[]): void;
  /** It was used before, and its keys are gone. */
  dataLost(address: string): void;
}

export interface RedisStateParts {
  readonly redis: RedisAddress;
  /** The logical database's number. */
  readonly database: number;
  /** The part of the file that says how to reach it. */
  readonly section: 'redis' | 'state';
  /** What every key begins with, in braces: `state.prefix`. */
  readonly prefix: string;
  /** Those that are watched, and the endpoints of this replica's file: they have keys in the state. */
  readonly databases: readonly number[];
  readonly endpoints: readonly string[];
  readonly clock: Clock;
  readonly events: StateEvents;
}

/** Whether the state may be read and written. */
type Condition =
  /** The first questions to it are under way. */
  | { readonly kind: 'verifying' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'unusable'; readonly problem: string };

/** A connection, from the moment at which commands can be given. */
interface Connection {
  /** Aborts when it ends. */
  readonly end: AbortController;
  isVerified: boolean;
  /** Whether its end is this relay's doing, for a reason that has been reported. */
  isLeft: boolean;
}

/** Until the state can be used for the first time, or waiting for that cannot help. */
interface Start {
  readonly succeed: () => void;
  readonly fail: (error: RelayError) => void;
}

/** Why the state may not be read or written; null when it may. */
function problemOf(condition: Condition): string | null {
  switch (condition.kind) {
    case 'verifying':
      return 'its keys have not been looked at yet';
    case 'ready':
      return null;
    case 'unusable':
      return condition.problem;
  }
}

export class RedisState {
  readonly redis: Redis;
  readonly prefix: string;
  readonly quarantine: Quarantine;
  readonly #parts: RedisStateParts;
  readonly #health: StateHealth;
  readonly #closing = new AbortController();
  #connections = 0;
  /** Null before the first. */
  #connection: Connection | null = null;
  #condition: Condition = { kind: 'verifying' };
  #wasReady = false;
  /** Null once the start is over. */
  #start: Start | null = null;
  /** Settles with the start. */
  readonly #started: Promise<void>;

  constructor(parts: RedisStateParts) {
    this.#parts = parts;
    this.prefix = parts.prefix;
    this.#health = new StateHealth(parts.clock, parts.events);
    const { redis: address, database, section, clock, events } = parts;
    this.#started = new Promise<void>((resolve, reject) => {
      this.#start = { succeed: resolve, fail: reject };
    });
    // A rejection is handled where the start is waited for, which may be later.
    this.#started.catch(() => undefined);
    this.redis = openLasting({
      address,
      database,
      section,
      clock,
      closing: this.#closing.signal,
      onEnded: (why, end) => this.#ended(why, end),
      onStale: (problem) => events.credentialsUnusable(problem),
    });
    this.quarantine = new Quarantine(this.redis, parts.prefix);
    this.redis.on('ready', () => {
      this.#connections += 1;
      this.#connection = { end: new AbortController(), isVerified: false, isLeft: false };
      void this.#verify(this.#connection);
    });
    this.redis.on('close', () => this.#connection?.end.abort());
  }

  /** How many connections there have been; each may have led to another server, or to older data. */
  get connections(): number {
    return this.#connections;
  }

  /** What is wrong with it; null when it can be used. */
  get problem(): string | null {
    if (this.#health.problem !== null) return this.#health.problem;
    if (this.redis.status === 'ready') return problemOf(this.#condition);
    return `the state Redis at ${addressOf(this.#parts.redis)} is not connected`;
  }

  /** Whether the first questions to it are under way. */
  get isVerifying(): boolean {
    return this.redis.status === 'ready' && this.#condition.kind === 'verifying';
  }

  /**
   * Resolves when it can be used for the first time, or when `stop` aborts. Rejects when waiting
   * cannot help: a wrong password, a certificate that does not verify, no Redis at all.
   */
  async usable(stop: AbortSignal): Promise<void> {
    await Promise.race([this.#started, untilAborted(stop)]);
    this.#start = null;
  }

  /**
   * Gives a command and resolves with its reply. Rejects with StateUnavailableError, whatever is
   * wrong: it may be better later, and nothing is said about what was stored. `endpoint` is the one
   * whose part of the state it is about: what is wrong with one is not taken for mended by another.
   */
  async run<Reply>(
    operation: StateOperation,
    command: () => Promise<Reply>,
    endpoint: string | null = null,
  ): Promise<Reply> {
    const problem = problemOf(this.#condition);
    if (problem !== null) throw new StateUnavailableError(problem);
    try {
      const reply = await this.#orRename(command, endpoint);
      this.#health.succeeded(operation, endpoint);
      return reply;
    } catch (error) {
      // From a script, or from the caller before it asks: this replica does not hold the lease.
      if (error instanceof FencedError) throw error;
      if (/\bFENCED\b/.test(messageOf(error))) throw new FencedError('another replica watches');
      const failure = this.#failed(operation, error, endpoint);
      if (failure instanceof RedisSlotError) this.#leave();
      throw new StateUnavailableError(failure.message);
    }
  }

  /** Where a key of the state is of another type, that is renamed, and the command is given once more. */
  async #orRename<Reply>(command: () => Promise<Reply>, endpoint: string | null): Promise<Reply> {
    try {
      return await command();
    } catch (error) {
      if (!isOtherType(error)) throw error;
      const { databases, endpoints } = this.#parts;
      const stored = await this.redis.zrange(endpointsKey(this.prefix), 0, '-1').catch(() => []);
      const all = new Set([...endpoints, ...stored.filter((name) => NAME.test(name))]);
      if (endpoint !== null) all.add(endpoint);
      // Another command may have had it renamed by now.
      await this.quarantine.renameWrongTypes(databases, [...all]);
      return await command();
    }
  }

  /** Moves invalid entries to the quarantine; rejects as `run` does. */
  async setAside(operation: StateOperation, suspects: readonly Suspect[]): Promise<void> {
    if (suspects.length === 0) return;
    await this.run(operation, () => this.quarantine.move(suspects));
  }

  /**
   * One pass of a loop. What is wrong with the state is said by the state itself; an error that nobody foresaw is
   * logged, and neither ends the loop.
   */
  async pass(loop: string, step: () => Promise<unknown>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof StateUnavailableError)) this.#parts.events.internalError(loop, error);
    }
  }

  /** Reports that the data is gone: a flush closes no connection. */
  emptied(): void {
    this.#parts.events.dataLost(addressOf(this.#parts.redis));
  }

  /** This replica does not watch: errors that only the watching replica can meet are cleared. */
  standsBy(): void {
    this.#health.standsBy();
  }

  /** At a stop nobody waits for a Redis that does not answer. */
  async closeIfSilent(): Promise<void> {
    const { clock } = this.#parts;
    const answered = new AbortController();
    const answer = () => answered.abort();
    this.redis.ping().then(answer, answer);
    await clock.sleep(SILENCE_AT_STOP_MS, answered.signal);
    if (!answered.signal.aborted) this.close();
  }

  close(): void {
    this.#closing.abort();
    this.#connection?.end.abort();
    this.#health.close();
  }

  #failed(operation: StateOperation, thrown: unknown, endpoint: string | null = null): RelayError {
    const { redis, section } = this.#parts;
    const error = stateError(thrown, redis, section);
    if (!error.retryable && this.#start !== null) this.#start.fail(error);
    else this.#health.failed(operation, endpoint, error);
    return error;
  }

  /** A server may close a connection that it has served; commands under way say so themselves. */
  #ended(why: RelayError, end: 'closed' | 'failed'): void {
    const connection = this.#connection;
    this.#connection = null;
    const isExpected = connection !== null && (connection.isVerified || connection.isLeft);
    if (end === 'closed' && isExpected) return;
    this.#failed('connect', why);
  }

  /** This server is not the one: its name may lead to that by the next connection. */
  #leave(): void {
    if (this.redis.status !== 'ready' || this.#connection === null) return;
    this.#connection.isLeft = true;
    this.redis.disconnect(true);
  }

  /**
   * A new connection may lead to another server: after a failover, or a restart without its data. A server
   * may become a replica, or be set to evict, while the connection stands: it is looked at again and again.
   */
  async #verify(connection: Connection): Promise<void> {
    const { signal } = connection.end;
    const { clock, events, redis: address, database, prefix, section } = this.#parts;
    const properties = new PropertyReader(this.redis);
    const read = async () => {
      const found = await properties.read();
      if (found.isSentinel) await refuseSentinel(this.redis, address, section);
      refuseStateReplica(found, address, section);
      return judgeStateServer(found, section);
    };
    while (!signal.aborted) {
      try {
        const findings = await read();
        await verifyDatabase(this.redis, address, database, section);
        await verifyScripts(this.redis);
        const isNew = await verifyFormat(this.redis, prefix);
        if (isNew && this.#wasReady) this.emptied();
        this.#wasReady = true;
        this.#condition = { kind: 'ready' };
        connection.isVerified = true;
        this.#health.anew();
        this.#start?.succeed();
        this.#start = null;
        for (let next = findings; ; next = await read()) {
          events.server(addressOf(address), next);
          await clock.sleep(VERIFY_AGAIN_MS, signal);
          if (signal.aborted) return;
        }
      } catch (error) {
        // The connection has ended, or is about to, and its end says why.
        if (signal.aborted || !(error instanceof RelayError || isReply(error))) return;
        const failure = this.#failed('verify', error);
        this.#condition = { kind: 'unusable', problem: failure.message };
        const isLoading = failure instanceof RedisNotReadyError;
        await clock.sleep(isLoading ? LOADED_AGAIN_MS : VERIFY_AGAIN_MS, signal);
        if (needsNewConnection(failure) && !signal.aborted) this.#leave();
      }
    }
  }
}
