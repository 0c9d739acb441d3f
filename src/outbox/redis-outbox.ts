/**
 * The outbox at rest in Redis, shared by all replicas: see format.ts for how it lies there and
 * scripts.ts for what is atomic. Nothing of it is kept in this process but what it waits for.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../clock.js';
import { messageOf, StateUnavailableError } from '../errors.js';
import type { DeadLetter, Delivery, Disposition } from '../vocabulary.js';
import { Claimer, type RedisClaimed } from './claimer.js';
import {
  type EndpointKeys,
  endpointKeys,
  packDeadLetter,
  packDelivery,
  unpackDeadLetter,
  waitingMember,
} from './format.js';
import type { Claimed, Depth, Outbox } from './outbox.js';
import { Scripts } from './scripts.js';

/** How soon deliveries that another replica stored are noticed; one's own are noticed at once. */
const POLL_EVERY_MS = 250;

/** Dead letters kept for one endpoint; the oldest makes room. */
export const DEAD_LETTERS_MAX = 10_000;

export interface RedisOutboxParts {
  /** A connection of the outbox's own; closed by whoever opened it. */
  readonly redis: Redis;
  /** What the keys begin with: `state.prefix`. */
  readonly prefix: string;
  /** This replica's name, unlike any other's. */
  readonly replica: string;
  readonly clock: Clock;
  readonly deadLettersMax?: number;
}

/** Claims that are done and are settled together. */
interface DoneBatch {
  readonly args: string[];
  readonly settled: Promise<unknown>;
}

export class RedisOutbox implements Outbox {
  readonly durable = true;
  readonly #parts: RedisOutboxParts;
  readonly #scripts: Scripts;
  readonly #claimer: Claimer;
  readonly #wakers = new Map<string, Set<() => void>>();
  readonly #done = new Map<string, DoneBatch>();
  #closed = false;

  constructor(parts: RedisOutboxParts) {
    this.#parts = parts;
    this.#scripts = new Scripts(parts.redis);
    this.#claimer = new Claimer(this.#scripts, parts.prefix, parts.replica);
  }

  async enqueue(deliveries: readonly Delivery[]): Promise<readonly Delivery[]> {
    if (deliveries.length === 0) return [];
    const endpoints = [...new Set(deliveries.map(({ endpoint }) => endpoint))];
    const keys = endpoints.flatMap((endpoint) => {
      const { deliveries: stored, ready } = this.#keys(endpoint);
      return [stored, ready];
    });
    const args = deliveries.flatMap((delivery) => [
      endpoints.indexOf(delivery.endpoint) + 1,
      delivery.id,
      packDelivery(delivery),
    ]);
    await this.#run(this.#scripts.enqueue(keys, args));
    for (const endpoint of endpoints) this.#wake(endpoint);
    return [];
  }

  async claim(
    endpoint: string,
    countMax: number,
    signal: AbortSignal,
  ): Promise<readonly Claimed[]> {
    while (!signal.aborted && !this.#closed) {
      // Made before looking: what is stored in between is not missed.
      const wake = this.#nextWake(endpoint, signal);
      try {
        const { claims, nextInMs } = await this.#run(this.#claimer.claim(endpoint, countMax));
        if (claims.length > 0) return await this.#keepUnlessEnded(claims, signal);
        await this.#parts.clock.sleep(Math.min(POLL_EVERY_MS, nextInMs), wake.signal);
      } finally {
        wake.abort();
      }
    }
    return [];
  }

  async settle(claimed: Claimed, disposition: Disposition): Promise<void> {
    await this.#settle(claimed as RedisClaimed, disposition);
    this.#claimer.ended(claimed as RedisClaimed);
  }

  async #settle(claimed: RedisClaimed, disposition: Disposition): Promise<void> {
    const { delivery, attempt, entry } = claimed;
    const { ready, deliveries, waiting, dead, deadOrder } = this.#keys(delivery.endpoint);
    const { clock, deadLettersMax = DEAD_LETTERS_MAX } = this.#parts;
    switch (disposition.kind) {
      case 'done':
        await this.#run(this.#settleDone(delivery, entry));
        return;
      case 'retry': {
        const waitMs = Math.max(0, Math.round(disposition.notBeforeMs - clock.nowMs()));
        const member = waitingMember(delivery.id, attempt);
        await this.#run(this.#scripts.settleRetry([ready, waiting], [entry, member, waitMs]));
        return;
      }
      case 'dead': {
        const letter = {
          delivery,
          reason: disposition.reason,
          attempts: attempt,
          diedAtMs: clock.nowMs(),
        };
        const args = [entry, delivery.id, packDeadLetter(letter), deadLettersMax];
        await this.#run(this.#scripts.settleDead([ready, deliveries, dead, deadOrder], args));
        return;
      }
    }
  }

  async release(claimed: Claimed): Promise<void> {
    const { delivery, attempt, entry } = claimed as RedisClaimed;
    const { ready } = this.#keys(delivery.endpoint);
    await this.#run(this.#scripts.release([ready], [entry, delivery.id, attempt - 1]));
    this.#claimer.ended(claimed as RedisClaimed);
    this.#wake(delivery.endpoint);
  }

  async depth(endpoint: string): Promise<Depth> {
    const { ready, deliveries } = this.#keys(endpoint);
    const reply = await this.#run(this.#scripts.depth([ready, deliveries], []));
    const [pending = 0, oldestForMs = -1] = (reply as number[]).map(Number);
    const nowMs = this.#parts.clock.nowMs();
    return { pending, oldestDueAtMs: oldestForMs < 0 ? null : nowMs - oldestForMs };
  }

  async deadLetters(endpoint: string): Promise<readonly DeadLetter[]> {
    const { redis } = this.#parts;
    const { dead, deadOrder } = this.#keys(endpoint);
    const ids = await this.#run(redis.zrange(deadOrder, 0, '-1'));
    if (ids.length === 0) return [];
    const letters = await this.#run(redis.hmgetBuffer(dead, ...ids));
    return letters.filter((packed) => packed !== null).map(unpackDeadLetter);
  }

  async deadLetterCount(endpoint: string): Promise<number> {
    return this.#run(this.#parts.redis.zcard(this.#keys(endpoint).deadOrder));
  }

  async replay(endpoint: string, id: string): Promise<boolean> {
    const { dead, deadOrder, deliveries, ready } = this.#keys(endpoint);
    const packed = await this.#run(this.#parts.redis.hgetBuffer(dead, id));
    if (packed === null) return false;
    const { delivery } = unpackDeadLetter(packed);
    const args = [id, packDelivery(delivery)];
    const replayed = await this.#run(
      this.#scripts.replay([dead, deadOrder, deliveries, ready], args),
    );
    this.#wake(endpoint);
    return replayed === 1;
  }

  async close(): Promise<readonly Delivery[]> {
    this.#closed = true;
    for (const endpoint of this.#wakers.keys()) this.#wake(endpoint);
    return [];
  }

  #keys(endpoint: string): EndpointKeys {
    return endpointKeys(this.#parts.prefix, endpoint);
  }

  /** What Redis answers; whatever is wrong with it may be better later. */
  async #run<Reply>(reply: Promise<Reply>): Promise<Reply> {
    try {
      return await reply;
    } catch (error) {
      throw new StateUnavailableError(`the state Redis cannot be used: ${messageOf(error)}`);
    }
  }

  /** All that is done within the same turn is settled by one script. */
  #settleDone(delivery: Delivery, entry: string): Promise<unknown> {
    const { endpoint, id } = delivery;
    let batch = this.#done.get(endpoint);
    if (batch === undefined) {
      const args: string[] = [];
      const { ready, deliveries } = this.#keys(endpoint);
      const settled = this.#parts.clock.turn().then(() => {
        this.#done.delete(endpoint);
        return this.#scripts.settleDone([ready, deliveries], args);
      });
      batch = { args, settled };
      this.#done.set(endpoint, batch);
    }
    batch.args.push(entry, id);
    return batch.settled;
  }

  /** Nobody waits for claims that come after the end: they go back. */
  async #keepUnlessEnded(
    claims: readonly RedisClaimed[],
    signal: AbortSignal,
  ): Promise<readonly Claimed[]> {
    if (!signal.aborted && !this.#closed) return claims;
    for (const claimed of claims) await this.release(claimed);
    return [];
  }

  /** Aborts when something may have become ready, or `signal` does; to be aborted in the end. */
  #nextWake(endpoint: string, signal: AbortSignal): AbortController {
    const wake = new AbortController();
    const wakers = this.#wakers.get(endpoint) ?? new Set();
    this.#wakers.set(endpoint, wakers);
    const abort = () => wake.abort();
    wakers.add(abort);
    signal.addEventListener('abort', abort, { once: true });
    const forget = () => {
      wakers.delete(abort);
      signal.removeEventListener('abort', abort);
    };
    wake.signal.addEventListener('abort', forget, { once: true });
    return wake;
  }

  #wake(endpoint: string): void {
    for (const wake of this.#wakers.get(endpoint) ?? []) wake();
  }
}
