/**
 * The Redis that holds what must survive: a connection that comes back by itself, and is looked at
 * each time. What is wrong with it is waited out, and said: in the log, a metric and `/readyz`.
 */
import type { Redis } from 'ioredis';
import { type Clock, untilAborted } from '../clock.js';
import { StateUnavailableError } from '../errors.js';
import { addressOf, disconnect, openLasting, stateError } from '../redis-client.js';
import type { RedisAddress, StateOperation } from '../vocabulary.js';
import { type HealthEvents, StateHealth } from './health.js';
import { evictionPolicy, verifyFormat } from './verify.js';

/** How often a state that cannot be used is looked at again, on a connection that stands. */
const VERIFY_AGAIN_MS = 5_000;

export interface StateEvents extends HealthEvents {
  /** This policy lets Redis throw away keys of ours when its memory is full. */
  evictable(address: string, policy: string): void;
}

export interface RedisStateParts {
  readonly redis: RedisAddress;
  /** The logical database's number. */
  readonly database: number;
  /** What every key begins with, in braces: `state.prefix`. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly events: StateEvents;
}

export class RedisState {
  readonly redis: Redis;
  readonly prefix: string;
  readonly #parts: RedisStateParts;
  readonly #health: StateHealth;
  readonly #closing = new AbortController();
  /** Why nothing may be read or written: the first look has not succeeded yet. */
  #unfit: string | null = 'its keys have not been looked at yet';
  #onFit: () => void = () => undefined;

  constructor(parts: RedisStateParts) {
    this.#parts = parts;
    this.prefix = parts.prefix;
    this.#health = new StateHealth(parts.clock, parts.events);
    this.redis = openLasting(parts.redis, parts.database, (error) =>
      this.#health.failed('connect', this.#translated(error)),
    );
    this.redis.on('ready', () => void this.#look());
  }

  /** What is wrong with it; null when it can be used. */
  get problem(): string | null {
    if (this.#health.problem !== null) return this.#health.problem;
    if (this.redis.status === 'ready') return this.#unfit;
    return `the state Redis at ${addressOf(this.#parts.redis)} is not connected`;
  }

  /** Resolves when it can be used for the first time, or when `stop` aborts. */
  async usable(stop: AbortSignal): Promise<void> {
    if (this.#unfit === null) return;
    const fit = new Promise<void>((resolve) => {
      this.#onFit = resolve;
    });
    await Promise.race([fit, untilAborted(stop)]);
  }

  /**
   * Gives a command and resolves with its reply. Rejects with StateUnavailableError, whatever is
   * wrong: it may be better later, and nothing is said about what was stored.
   */
  async run<Reply>(operation: StateOperation, command: () => Promise<Reply>): Promise<Reply> {
    try {
      if (this.#unfit !== null) throw new Error(this.#unfit);
      const reply = await command();
      this.#health.succeeded(operation);
      return reply;
    } catch (error) {
      const translated = this.#translated(error);
      this.#health.failed(operation, translated);
      throw translated;
    }
  }

  close(): void {
    this.#closing.abort();
    disconnect(this.redis);
  }

  #translated(error: unknown): StateUnavailableError {
    return new StateUnavailableError(stateError(error, this.#parts.redis).message);
  }

  /** A new connection may lead to another server: after a failover, or a restart without its data. */
  async #look(): Promise<void> {
    const { clock, events, redis: address, prefix } = this.#parts;
    const { signal } = this.#closing;
    this.#health.succeeded('connect');
    while (this.redis.status === 'ready' && !signal.aborted) {
      try {
        await verifyFormat(this.redis, prefix);
        this.#unfit = null;
        this.#health.succeeded('verify');
        this.#onFit();
        break;
      } catch (error) {
        const translated = this.#translated(error);
        this.#unfit = translated.message;
        this.#health.failed('verify', translated);
        await clock.sleep(VERIFY_AGAIN_MS, signal);
      }
    }
    const policy = await evictionPolicy(this.redis);
    if (policy !== null) events.evictable(addressOf(address), policy);
  }
}
