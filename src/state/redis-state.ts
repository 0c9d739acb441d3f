/**
 * The state Redis: a connection that reconnects by itself and is verified each time. Problems are waited out and
 * reported in the log, a metric and `/readyz`.
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
import { isElsewhere, type Locator } from '../redis/locator.js';
import { isOtherType, isReply } from '../redis/refusal.js';
import { refuseSentinel } from '../redis/sentinels/sentinel-port.js';
import type { ServerFinding } from '../server/finding.js';
import { judgeStateServer } from '../server/judge.js';
import { PropertyReader } from '../server/properties.js';
import { endpointsKey } from './format.js';
import { type HealthEvents, StateHealth, type StateOperation } from './health.js';
import { Quarantine, type Suspect } from './quarantine.js';
import { NAME } from './stored.js';
import { refuseStateReplica, verifyDatabase, verifyFormat, verifyScripts } from './verify.js';

/** How often an open connection is verified, whether the state is usable or not. */
const VERIFY_AGAIN_MS = 5_000;

/** How often it is verified while the server loads its data: nothing can be captured before that. */
const LOADED_AGAIN_MS = 250;

/** How long a stop waits for a reply from Redis. */
const SILENCE_AT_STOP_MS = 1_000;

export interface StateEvents extends HealthEvents {
  /** One pass of a loop has failed with an unexpected error. */
  internalError(loop: string, error: unknown): void;
  /** The password or certificate files are invalid; their last valid contents are in use. */
  credentialsUnusable(problem: string): void;
  /** The server's properties, at each verification. */
  server(address: string, findings: readonly ServerFinding[]): void;
  /** The state was used before, and its keys are gone. */
  dataLost(address: string): void;
}

export interface RedisStateParts {
  readonly locator: Locator;
  /** The number of the logical database. */
  readonly database: number;
  /** The section of the configuration with this server's address. */
  readonly section: 'redis' | 'state';
  /** The key prefix, in braces: `state.prefix`. */
  readonly prefix: string;
  /** The watched databases, which have keys in the state. */
  readonly databases: readonly number[];
  /** Returns the endpoints of this replica's current configuration, which have keys in the state. */
  readonly endpoints: () => readonly string[];
  readonly clock: Clock;
  readonly events: StateEvents;
}

/** Whether the state can be used. */
type Condition =
  /** The connection is not verified yet. */
  | { readonly kind: 'verifying' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'unusable'; readonly problem: string };

/** A connection, from the moment at which commands can be sent. */
interface Connection {
  /** Aborts when the connection ends. */
  readonly end: AbortController;
  isVerified: boolean;
  /** Whether this relay closed the connection, for a reason that was reported. */
  isLeft: boolean;
}

/** Settles the start: the state is usable, or waiting cannot help. */
interface Start {
  readonly succeed: () => void;
  readonly fail: (error: RelayError) => void;
}

/** Why the state cannot be used; null: it can. */
function problemOf(condition: Condition): string | null {
  switch (condition.kind) {
    case 'verifying':
      return 'not verified yet';
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
  /** Null before the first connection. */
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
    const { locator, database, section, clock, events } = parts;
    this.#started = new Promise<void>((resolve, reject) => {
      this.#start = { succeed: resolve, fail: reject };
    });
    // Prevents an unhandled rejection: the start may be awaited later.
    this.#started.catch(() => undefined);
    this.redis = openLasting({
      locator,
      database,
      section,
      clock,
      closing: this.#closing.signal,
      onEnded: (reason, end) => this.#onEnded(reason, end),
      onStale: (problem) => events.credentialsUnusable(problem),
    });
    this.quarantine = new Quarantine(this.redis, parts.prefix);
    this.redis.on('ready', () => {
      this.#connections += 1;
      this.#connection = { end: new AbortController(), isVerified: false, isLeft: false };
      void this.#verify(this.#connection);
    });
    this.redis.on('close', () => this.#connection?.end.abort());
    const stopFollowing = locator.onMoved(() => {
      this.#condition = { kind: 'verifying' };
    });
    this.#closing.signal.addEventListener('abort', stopFollowing, { once: true });
  }

  get #address(): RedisAddress {
    return this.#parts.locator.address;
  }

  /** The number of connections so far; each may lead to another server, or to older data. */
  get connections(): number {
    return this.#connections;
  }

  /** The current problem; null: the state can be used. */
  get problem(): string | null {
    if (this.#health.problem !== null) return this.#health.problem;
    if (this.redis.status === 'ready') return problemOf(this.#condition);
    return `not connected to the state Redis at ${addressOf(this.#address)}`;
  }

  /** Whether an open connection is being verified. */
  get isVerifying(): boolean {
    return this.redis.status === 'ready' && this.#condition.kind === 'verifying';
  }

  /**
   * Resolves when the state is usable for the first time, or when `stop` aborts. Rejects when waiting cannot help: a
   * wrong password, an invalid certificate, not a Redis server.
   */
  async ready(stop: AbortSignal): Promise<void> {
    await Promise.race([this.#started, untilAborted(stop)]);
    this.#start = null;
  }

  /**
   * Sends a command and resolves with its reply. Rejects with StateUnavailableError for any problem: it may be
   * temporary, and the command may have been carried out. `endpoint` is the one whose data the command is about:
   * success at one endpoint does not clear an error of another.
   */
  async run<Reply>(
    operation: StateOperation,
    command: () => Promise<Reply>,
    endpoint: string | null = null,
  ): Promise<Reply> {
    const problem = problemOf(this.#condition);
    if (problem !== null) throw new StateUnavailableError(problem);
    try {
      const reply = await this.#retryRenamed(command, endpoint);
      this.#health.recordSuccess(operation, endpoint);
      return reply;
    } catch (error) {
      // Thrown by a script, or by the caller before the command: this replica does not hold the lease.
      if (error instanceof FencedError) throw error;
      if (/\bFENCED\b/.test(messageOf(error)))
        throw new FencedError('another replica holds the lease');
      const failure = this.#recordFailure(operation, error, endpoint);
      if (failure instanceof RedisSlotError) this.#reconnect();
      throw new StateUnavailableError(failure.message);
    }
  }

  /** If a key of the state has the wrong type, renames it and repeats the command. */
  async #retryRenamed<Reply>(
    command: () => Promise<Reply>,
    endpoint: string | null,
  ): Promise<Reply> {
    try {
      return await command();
    } catch (error) {
      if (!isOtherType(error)) throw error;
      const { databases, endpoints } = this.#parts;
      const stored = await this.redis.zrange(endpointsKey(this.prefix), 0, '-1').catch(() => []);
      const all = new Set([...endpoints(), ...stored.filter((name) => NAME.test(name))]);
      if (endpoint !== null) all.add(endpoint);
      // Another command may have had the key renamed by now.
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
   * Runs one pass of a loop, which no error ends. The state itself reports its problems; other errors are logged.
   * Resolves with whether the pass succeeded.
   */
  async pass(loop: string, step: () => Promise<unknown>): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (error) {
      if (!(error instanceof StateUnavailableError)) this.#parts.events.internalError(loop, error);
      return false;
    }
  }

  /** Reports lost data. A flush does not close the connection, so the caller must notice it. */
  reportDataLoss(): void {
    this.#parts.events.dataLost(addressOf(this.#address));
  }

  /** Clears errors that only the lease holder can meet: this replica is a standby. */
  clearLeaseErrors(): void {
    this.#health.clearLeaseErrors();
  }

  /** At a stop, closes the connection if Redis does not respond in time. */
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

  #recordFailure(
    operation: StateOperation,
    thrown: unknown,
    endpoint: string | null = null,
  ): RelayError {
    const error = stateError(thrown, this.#address, this.#parts.section);
    if (!error.retryable && this.#start !== null) this.#start.fail(error);
    else this.#health.recordFailure(operation, endpoint, error);
    return error;
  }

  /** A server may close a connection that it has served; interrupted commands report that themselves. */
  #onEnded(reason: RelayError, end: 'closed' | 'failed'): void {
    const connection = this.#connection;
    this.#connection = null;
    const isExpected = connection !== null && (connection.isVerified || connection.isLeft);
    if (end === 'closed' && isExpected) return;
    this.#recordFailure('connect', reason);
  }

  /** Reconnects: this server is the wrong one, and its name may lead to the right one by now. */
  #reconnect(): void {
    if (this.redis.status !== 'ready' || this.#connection === null) return;
    this.#connection.isLeft = true;
    this.redis.disconnect(true);
  }

  /**
   * Verifies a connection, and repeats that while it is open. A new connection may lead to another server (a failover),
   * or to one that lost its data. A server may become a replica, or be configured to evict keys, at any time.
   */
  async #verify(connection: Connection): Promise<void> {
    const { signal } = connection.end;
    const { clock, events, locator, database, prefix, section } = this.#parts;
    const { address } = locator;
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
        // The connection is being closed: what was verified is the former server.
        if (isElsewhere(locator, address)) return;
        if (isNew && this.#wasReady) this.reportDataLoss();
        this.#wasReady = true;
        this.#condition = { kind: 'ready' };
        connection.isVerified = true;
        this.#health.reset();
        this.#start?.succeed();
        this.#start = null;
        for (let next = findings; ; next = await read()) {
          events.server(addressOf(address), next);
          await clock.sleep(VERIFY_AGAIN_MS, signal);
          if (signal.aborted) return;
        }
      } catch (error) {
        // The connection has ended, or is about to; its end reports the reason.
        if (signal.aborted || !(error instanceof RelayError || isReply(error))) return;
        const failure = this.#recordFailure('verify', error);
        this.#condition = { kind: 'unusable', problem: failure.message };
        const isLoading = failure instanceof RedisNotReadyError;
        await clock.sleep(isLoading ? LOADED_AGAIN_MS : VERIFY_AGAIN_MS, signal);
        if (needsNewConnection(failure) && !signal.aborted) this.#reconnect();
      }
    }
  }
}
