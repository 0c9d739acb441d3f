/**
 * The outbox at rest in Redis, shared by all replicas: see state/format.ts for how it lies there and
 * scripts/ for what is atomic. Nothing of it is kept in this process but what it waits for.
 */
import { Bell } from '../bell.js';
import {
  claimedKey,
  claimedMember,
  deadlineKeys,
  type EndpointKeys,
  endpointKeys,
  packDelivery,
  waitingMember,
  watchKey,
} from '../state/format.js';
import { type Lease, tokenOf } from '../state/lease.js';
import type { ClaimedKey, Delivery, Disposition, EndpointSignal } from '../vocabulary.js';
import { Claimer, type ClaimerParts, type RedisClaimed } from './claimer.js';
import type { BreakerChange, BreakerState, Claimed, Depth, Outbox } from './outbox.js';
import { RedisDeadLetters } from './redis-dead-letters.js';

/**
 * How soon deliveries that another replica stored are noticed; one's own are noticed at once. Each
 * look that finds nothing makes the next wait twice as long, so that idle endpoints cost little.
 */
const POLL_FIRST_MS = 250;
const POLL_MS_MAX = 2_000;

/** Lua takes only some thousand values at a time. */
const DONE_BATCH_MAX = 1_000;

export interface RedisOutboxParts extends ClaimerParts {
  /** Only its holder enqueues. */
  readonly lease: Pick<Lease, 'token'>;
  /** Dead letters kept for one endpoint; the oldest makes room. */
  readonly deadLettersMax: number;
  /** Told of dead letters that had to make room. */
  readonly onDeadLettersEvicted: (endpoint: string, count: number) => void;
}

/** Claims that are done and are settled together. */
interface DoneBatch {
  readonly entries: string[];
  readonly ids: string[];
  readonly settled: Promise<BreakerChange | null>;
}

export class RedisOutbox implements Outbox {
  readonly durable = true;
  readonly dead: RedisDeadLetters;
  readonly #parts: RedisOutboxParts;
  readonly #claimer: Claimer;
  readonly #bells = new Map<string, Bell>();
  readonly #done = new Map<string, DoneBatch>();
  #closed = false;

  constructor(parts: RedisOutboxParts) {
    const { state, scripts } = parts;
    this.#parts = parts;
    this.#claimer = new Claimer(parts);
    this.dead = new RedisDeadLetters(state, scripts, (endpoint) => this.#bell(endpoint).ring());
  }

  async enqueue(
    deliveries: readonly Delivery[],
    claimed: readonly ClaimedKey[] = [],
  ): Promise<readonly Delivery[]> {
    if (deliveries.length + claimed.length === 0) return [];
    const { state, scripts, lease } = this.#parts;
    const token = tokenOf(lease);
    const databases = [...new Set(claimed.map(({ database }) => database))];
    const endpoints = [...new Set(deliveries.map(({ endpoint }) => endpoint))];
    const keys = [
      watchKey(state.prefix),
      claimedKey(state.prefix),
      ...databases.flatMap((database) => Object.values(deadlineKeys(state.prefix, database))),
      ...endpoints.flatMap((endpoint) => {
        const { deliveries: stored, ready } = this.#keys(endpoint);
        return [stored, ready];
      }),
    ];
    const args = [
      token,
      databases.length,
      claimed.length,
      ...claimed.flatMap((one) => [
        databases.indexOf(one.database) + 1,
        one.key,
        one.deadlineMs ?? '',
        claimedMember(one),
        one.detectedAtMs,
      ]),
      ...deliveries.flatMap((delivery) => [
        endpoints.indexOf(delivery.endpoint) + 1,
        delivery.id,
        packDelivery(delivery),
      ]),
    ];
    await state.run('enqueue', () => scripts.enqueue(keys, args));
    for (const endpoint of endpoints) this.#bell(endpoint).ring();
    return [];
  }

  async claim(
    endpoint: string,
    countMax: number,
    signal: AbortSignal,
  ): Promise<readonly Claimed[]> {
    const { state, clock } = this.#parts;
    const bell = this.#bell(endpoint);
    let pollMs = POLL_FIRST_MS;
    while (!signal.aborted && !this.#closed) {
      // Counted before looking: what is stored in between is not missed.
      const rungBefore = bell.rung;
      const { claims, nextInMs } = await state.run(
        'claim',
        () => this.#claimer.claim(endpoint, countMax),
        endpoint,
      );
      if (claims.length > 0) return await this.#keepUnlessEnded(claims, signal);
      if (bell.rung !== rungBefore) continue;
      await bell.wait(clock, Math.min(pollMs, nextInMs), signal);
      pollMs = bell.rung === rungBefore ? Math.min(2 * pollMs, POLL_MS_MAX) : POLL_FIRST_MS;
    }
    return [];
  }

  async settle(
    claimed: Claimed,
    disposition: Disposition,
    signal: EndpointSignal,
  ): Promise<BreakerChange | null> {
    const change = await this.#settle(claimed as RedisClaimed, disposition, signal);
    this.#claimer.ended(claimed as RedisClaimed);
    if (change?.kind === 'closed') this.#bell(claimed.delivery.endpoint).ring();
    return change;
  }

  #settle(
    claimed: RedisClaimed,
    disposition: Disposition,
    signal: EndpointSignal,
  ): Promise<BreakerChange | null> {
    const { attempt, delivery, entry } = claimed;
    switch (disposition.kind) {
      case 'done':
        return this.#settleDone(delivery, entry);
      case 'retry': {
        const waitMs = Math.max(0, Math.round(disposition.notBeforeMs - this.#parts.clock.nowMs()));
        const rest = [waitingMember(delivery.id, attempt), waitMs];
        return this.#settleRetry(delivery, [entry, ...signalArgs(signal), ...rest]);
      }
      case 'dead': {
        const { reason, lastOutcome } = disposition;
        const last = JSON.stringify(lastOutcome);
        const rest = [delivery.id, reason, attempt, last, this.#parts.deadLettersMax];
        return this.#settleDead(delivery, [entry, ...signalArgs(signal), ...rest]);
      }
    }
  }

  /** All that is done within the same turn is settled by one script. */
  #settleDone({ endpoint, id }: Delivery, entry: string): Promise<BreakerChange | null> {
    let batch = this.#done.get(endpoint);
    if (batch === undefined || batch.ids.length >= DONE_BATCH_MAX) {
      batch = this.#newDoneBatch(endpoint);
      this.#done.set(endpoint, batch);
    }
    const isFirst = batch.ids.length === 0;
    batch.entries.push(entry);
    batch.ids.push(id);
    // One of them tells what became of the breaker.
    return isFirst ? batch.settled : batch.settled.then(() => null);
  }

  #newDoneBatch(endpoint: string): DoneBatch {
    const { state, scripts, clock } = this.#parts;
    const { ready, deliveries, breaker } = this.#keys(endpoint);
    const entries: string[] = [];
    const ids: string[] = [];
    const settled = clock.turn().then(async () => {
      if (this.#done.get(endpoint)?.ids === ids) this.#done.delete(endpoint);
      const keys = [ready, deliveries, breaker];
      const args = [...entries, ...ids];
      return breakerChange(
        await state.run('settle', () => scripts.settleDone(keys, args), endpoint),
      );
    });
    return { entries, ids, settled };
  }

  async #settleRetry(
    { endpoint }: Delivery,
    args: readonly (string | number)[],
  ): Promise<BreakerChange | null> {
    const { state, scripts } = this.#parts;
    const { ready, waiting, breaker } = this.#keys(endpoint);
    const keys = [ready, waiting, breaker];
    return breakerChange(
      await state.run('settle', () => scripts.settleRetry(keys, args), endpoint),
    );
  }

  async #settleDead(
    { endpoint }: Delivery,
    args: readonly (string | number)[],
  ): Promise<BreakerChange | null> {
    const { state, scripts, onDeadLettersEvicted } = this.#parts;
    const { ready, deliveries, breaker, dead, deadOrder } = this.#keys(endpoint);
    const keys = [ready, deliveries, breaker, dead, deadOrder];
    const reply = await state.run('settle', () => scripts.settleDead(keys, args), endpoint);
    const [change, evicted] = reply as [number, number];
    if (evicted > 0) onDeadLettersEvicted(endpoint, evicted);
    return breakerChange(change);
  }

  async release(claimed: Claimed): Promise<void> {
    const { state, scripts } = this.#parts;
    const { delivery, attempt, entry } = claimed as RedisClaimed;
    const { ready } = this.#keys(delivery.endpoint);
    const args = [entry, delivery.id, attempt - 1];
    await state.run('settle', () => scripts.release([ready], args), delivery.endpoint);
    this.#claimer.ended(claimed as RedisClaimed);
    this.#bell(delivery.endpoint).ring();
  }

  async depth(endpoint: string): Promise<Depth> {
    const { state, scripts } = this.#parts;
    const { ready, deliveries, waiting, breaker, deadOrder } = this.#keys(endpoint);
    const keys = [ready, deliveries, waiting, breaker, deadOrder];
    const reply = await state.run('depth', () => scripts.depth(keys, []), endpoint);
    const [pending, dueForMs, deadLetters, standing] = reply as [number, number, number, Buffer];
    return {
      pending,
      oldestDueForMs: dueForMs < 0 ? null : dueForMs,
      deadLetters,
      breaker: standing.toString() as BreakerState,
    };
  }

  async close(): Promise<readonly Delivery[]> {
    this.#closed = true;
    for (const bell of this.#bells.values()) bell.ring();
    return [];
  }

  #keys(endpoint: string): EndpointKeys {
    return endpointKeys(this.#parts.state.prefix, endpoint);
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

  #bell(endpoint: string): Bell {
    const bell = this.#bells.get(endpoint) ?? new Bell();
    this.#bells.set(endpoint, bell);
    return bell;
  }
}

/** What the scripts' `heed` takes. */
function signalArgs(signal: EndpointSignal): [string, number] {
  return [signal.kind, signal.kind === 'failing' ? Math.round(signal.pauseMs) : 0];
}

/** What the scripts' `heed` returns. */
function breakerChange(reply: unknown): BreakerChange | null {
  const pauseMs = Number(reply);
  if (pauseMs < 0) return null;
  return pauseMs === 0 ? { kind: 'closed' } : { kind: 'opened', pauseMs };
}
