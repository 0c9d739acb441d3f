/**
 * Periodic maintenance of the outbox in Redis, by whichever replica comes first. Expires old dead letters. Restores
 * missing index entries. Deletes circuit breakers of older relays. Reports deliveries for an endpoint that no running
 * replica has (replicas may have different configurations for a while), and dead-letters them after a grace period.
 */
import type { Clock } from '../lib/clock.js';
import { PeriodicLoop } from '../lib/periodic-loop.js';
import {
  breakerKey,
  DEAD_AFTER_MS,
  endpointKeys,
  endpointsKey,
  quarantineKey,
} from '../state/format.js';
import { scoresByName } from '../state/names.js';
import type { RedisState } from '../state/redis-state.js';
import { NAME } from '../state/stored.js';
import { Unchanged } from '../state/unchanged.js';
import type { RedisOutbox } from './redis-outbox.js';
import { LOOK_BATCH, type OutboxScripts } from './scripts/scripts.js';

const UPKEEP_EVERY_MS = 10_000;

/** Deliveries that one script dead-letters: a few milliseconds' work for Redis. */
export const DEAD_LETTER_BATCH = 50;

export interface MaintenanceParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  readonly outbox: RedisOutbox;
  readonly clock: Clock;
  /** Returns the limits of the current configuration. */
  readonly limits: () => MaintenanceLimits;
  /** Whether the clock of the state Redis, which determines the age of dead letters, was not set recently. */
  readonly isClockSteady: () => boolean;
  readonly events: MaintenanceEvents;
}

export interface MaintenanceLimits {
  /** The retention of dead letters. */
  readonly keepMs: number;
  /** How long this replica must see an endpoint unknown before its deliveries are dead-lettered. */
  readonly graceMs: number;
}

export interface MaintenanceEvents {
  /** `pending` deliveries wait for an endpoint that no running replica has; 0: none any more. */
  unknownEndpoint(endpoint: string, pending: number, graceLeftMs: number): void;
  /** `count` deliveries of an unknown endpoint became dead letters. */
  unknownEndpointDeadLettered(endpoint: string, count: number): void;
  deadLettersExpired(endpoint: string, count: number): void;
  /** Deliveries and dead letters without an index entry got one again. */
  indexRestored(endpoint: string, deliveries: number, deadLetters: number): void;
}

export class Maintenance {
  readonly #parts: MaintenanceParts;
  readonly #loop: PeriodicLoop;
  /** When running replicas last had each endpoint, as written by them. */
  readonly #had = new Unchanged();
  /** The endpoints that no running replica has, and since when. */
  #unknown: ReadonlyMap<string, number> = new Map();

  constructor(parts: MaintenanceParts) {
    this.#parts = parts;
    this.#loop = new PeriodicLoop(parts.clock, async () => {
      // The next round makes up for a failure.
      await parts.state.pass('maintenance', () => this.runOnce());
      return UPKEEP_EVERY_MS;
    });
  }

  start(): void {
    // The other replicas of a deployment start at the same time: wait for them to register.
    this.#loop.start(UPKEEP_EVERY_MS);
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  /** One round; rejects when the state cannot be used. */
  async runOnce(): Promise<void> {
    try {
      const stored = await this.#parts.outbox.dead.endpoints();
      const some = await this.#withWork(stored);
      await this.#expireDeadLetters(some);
      for (const endpoint of some) await this.#restoreIndex(endpoint);
      await this.#forgetBreakers(stored);
      await this.#lookForUnknown();
    } catch (error) {
      // No replica could send a heartbeat, either: the grace period starts again.
      this.#had.renew(this.#parts.clock.monotonicMs());
      throw error;
    }
  }

  /** The endpoints with dead letters to expire, or index entries to restore. */
  async #withWork(endpoints: readonly string[]): Promise<readonly string[]> {
    const { state, scripts, limits } = this.#parts;
    const { keepMs } = limits();
    const found: string[] = [];
    for (let from = 0; from < endpoints.length; from += LOOK_BATCH) {
      const some = endpoints.slice(from, from + LOOK_BATCH);
      const keys = some.flatMap((endpoint) => {
        const its = endpointKeys(state.prefix, endpoint);
        return [its.ready, its.deliveries, its.waiting, its.dead, its.deadOrder, its.attempts];
      });
      const places = await state.run('maintenance', () => scripts.upkeepLook(keys, [keepMs]));
      found.push(...(places as number[]).flatMap((at) => some[at] ?? []));
    }
    return found;
  }

  async #expireDeadLetters(endpoints: readonly string[]): Promise<void> {
    const { outbox, limits, isClockSteady, events } = this.#parts;
    if (!isClockSteady()) return;
    const { keepMs } = limits();
    for (const endpoint of endpoints) {
      const count = await outbox.dead.expire(endpoint, keepMs);
      if (count > 0) events.deadLettersExpired(endpoint, count);
    }
  }

  async #restoreIndex(endpoint: string): Promise<void> {
    const { state, scripts, events } = this.#parts;
    const { ready, deliveries, waiting, dead, deadOrder, attempts } = endpointKeys(
      state.prefix,
      endpoint,
    );
    const own = [ready, deliveries, waiting, dead, deadOrder, attempts];
    const keys = [...own, quarantineKey(state.prefix)];
    const reply = await state.run('maintenance', () => scripts.restore(keys, []), endpoint);
    const [restored, letters] = reply as [number, number];
    if (restored + letters > 0) events.indexRestored(endpoint, restored, letters);
  }

  /** Deletes the breakers of relays of version 0.1; other versions do not read them. */
  async #forgetBreakers(endpoints: readonly string[]): Promise<void> {
    const { state } = this.#parts;
    if (endpoints.length === 0) return;
    const keys = endpoints.map((endpoint) => breakerKey(state.prefix, endpoint));
    await state.run('maintenance', () => state.redis.unlink(...keys));
  }

  async #lookForUnknown(): Promise<void> {
    const { state, outbox, clock, limits, events } = this.#parts;
    const { graceMs } = limits();
    const had = await scoresByName(state, 'maintenance', endpointsKey(state.prefix), NAME);
    const nowMs = clock.monotonicMs();
    this.#had.update(had, nowMs);
    const before = this.#unknown;
    this.#unknown = this.#had.since(DEAD_AFTER_MS, nowMs);
    for (const endpoint of before.keys()) {
      if (!this.#unknown.has(endpoint)) events.unknownEndpoint(endpoint, 0, graceMs);
    }
    for (const [endpoint, sinceMs] of this.#unknown) {
      const graceLeftMs = sinceMs + graceMs - nowMs;
      const { pending } = await outbox.depth(endpoint);
      events.unknownEndpoint(endpoint, pending, Math.max(0, graceLeftMs));
      if (graceLeftMs <= 0) await this.#deadLetter(endpoint);
    }
  }

  async #deadLetter(endpoint: string): Promise<void> {
    const { state, scripts, events } = this.#parts;
    const { ready, deliveries, waiting, throttle, dead, deadOrder, waits, attempts } = endpointKeys(
      state.prefix,
      endpoint,
    );
    const known = endpointsKey(state.prefix);
    const own = [ready, deliveries, waiting, throttle, dead, deadOrder, waits, attempts];
    const keys = [known, ...own, quarantineKey(state.prefix)];
    const hadAt = this.#had.valueOf(endpoint) ?? '';
    const args = [endpoint, hadAt, 'unknown_endpoint', DEAD_LETTER_BATCH];
    let total = 0;
    try {
      while (!this.#loop.signal.aborted) {
        const reply = await state.run('maintenance', () => scripts.deadLetterUnknown(keys, args));
        const count = Number(reply);
        total += count;
        if (count === 0) break;
      }
    } finally {
      if (total > 0) events.unknownEndpointDeadLettered(endpoint, total);
    }
  }
}
