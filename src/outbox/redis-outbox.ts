/**
 * The outbox in Redis, shared by all replicas. state/format.ts describes the stored data; each of scripts/ is one
 * atomic step. This process keeps only its open claims and waits.
 */
import { Condition } from '../lib/condition.js';
import { FencedError } from '../model/errors.js';
import type { CapturedExpiration, Delivery, FailureDisposition } from '../model/vocabulary.js';
import { PackedArguments } from '../redis/packed-arguments.js';
import {
  batchField,
  capturedKey,
  capturedMemberStart,
  deadlineKeys,
  type EndpointKeys,
  endpointKeys,
  goneField,
  goneKey,
  leaseKey,
} from '../state/format.js';
import { type Lease, tokenOf } from '../state/lease.js';
import { packHead } from '../state/packing.js';
import { Claimer, type ClaimerParts, type RedisClaimed } from './claimer.js';
import { IdleLook } from './idle-look.js';
import { Oldest } from './oldest.js';
import type { Batch, Claimed, Depth, Outbox, Writer } from './outbox.js';
import { RedisDeadLetters } from './redis-dead-letters.js';
import { readDepth } from './redis-depth.js';
import { RedisPauses } from './redis-pauses.js';
import { Settler, type SettlerParts } from './settler.js';

/** How often an endpoint checks whether it may deliver. */
const MAY_DELIVER_EVERY_MS = 2_000;

export interface RedisOutboxParts extends ClaimerParts, SettlerParts {
  /** The lease. Only its holder enqueues. */
  readonly lease: Pick<Lease, 'token' | 'delivers'>;
  /** Converts a time by the state Redis's clock after that clock was set. */
  readonly correct: (timeMs: number) => number;
}

/** A claim that left nothing to be claimed. */
interface Emptied {
  /** The condition's version before the claim. */
  readonly version: number;
  /** Milliseconds until the result may change by itself. */
  readonly nextInMs: number;
}

export class RedisOutbox implements Outbox {
  readonly durable = true;
  readonly dead: RedisDeadLetters;
  readonly pauses: RedisPauses;
  readonly #parts: RedisOutboxParts;
  readonly #claimer: Claimer;
  readonly #settler: Settler;
  readonly #idleLook: IdleLook;
  readonly #conditions = new Map<string, Condition>();
  /** Endpoints whose last claim took all ready deliveries. */
  readonly #emptied = new Map<string, Emptied>();
  /** The number of claims per endpoint that returned nothing. */
  readonly #emptyClaims = new Map<string, number>();
  readonly #oldest = new Map<string, Oldest>();
  /** The number of the last batch. */
  #batches = 0;
  #closed = false;

  constructor(parts: RedisOutboxParts) {
    const { state, scripts } = parts;
    this.#parts = parts;
    this.#claimer = new Claimer(parts);
    this.#settler = new Settler(parts);
    this.#idleLook = new IdleLook({
      ...parts,
      heldCount: (endpoint) => this.#claimer.heldCount(endpoint),
    });
    const onReady = (endpoint: string) => this.#condition(endpoint).notifyAll();
    this.dead = new RedisDeadLetters(state, scripts, onReady);
    this.pauses = new RedisPauses(state, scripts, onReady);
  }

  async enqueue(
    deliveries: readonly Delivery[],
    captured: readonly CapturedExpiration[] = [],
    { writer, token, number }: Batch = this.beginBatch('plain'),
  ): Promise<readonly Delivery[]> {
    if (deliveries.length + captured.length === 0) return [];
    const { state, scripts, lease } = this.#parts;
    if (tokenOf(lease) !== token) throw new FencedError('another replica has held the lease');
    const databases = [...new Set(captured.map(({ database }) => database))];
    const endpoints = [...new Set(deliveries.map(({ endpoint }) => endpoint))];
    const keys = [
      leaseKey(state.prefix),
      capturedKey(state.prefix),
      ...databases.flatMap((database) => Object.values(deadlineKeys(state.prefix, database))),
      ...endpoints.flatMap((endpoint) => {
        const { deliveries: stored, ready } = this.#keys(endpoint);
        return [stored, ready];
      }),
    ];
    const packed = packBatch(captured, databases, deliveries, endpoints);
    const args = [token, databases.length, captured.length, batchField(writer), number, ...packed];
    const stored = state.run('enqueue', () => scripts.enqueue(keys, args));
    // Claims that are asked for now reach Redis right behind it.
    const before = endpoints.map((endpoint) => this.#emptyClaims.get(endpoint));
    for (const endpoint of endpoints) this.#condition(endpoint).notifyAll();
    await stored;
    for (const [at, endpoint] of endpoints.entries()) {
      if (this.#emptyClaims.get(endpoint) !== before[at]) this.#condition(endpoint).notifyAll();
    }
    return [];
  }

  beginBatch(writer: Writer): Batch {
    const token = tokenOf(this.#parts.lease);
    this.#batches += 1;
    return { writer, token, number: this.#batches };
  }

  async claim(
    endpoint: string,
    countMax: number,
    signal: AbortSignal,
  ): Promise<readonly Claimed[]> {
    const { state, lease, clock } = this.#parts;
    const condition = this.#condition(endpoint);
    while (!signal.aborted && !this.#closed) {
      if (!lease.delivers(endpoint)) {
        await condition.wait(clock, MAY_DELIVER_EVERY_MS, signal);
        continue;
      }
      const emptied = this.#emptied.get(endpoint);
      this.#emptied.delete(endpoint);
      if (emptied?.version === condition.version) {
        await this.#idleLook.wait(endpoint, condition, emptied.nextInMs, signal);
        continue;
      }
      // The version is read before the claim: a delivery stored in between is not missed.
      const version = condition.version;
      const { claims, nextInMs } = await state.run(
        'claim',
        () => this.#claimer.claim(endpoint, countMax),
        endpoint,
      );
      if (claims.length < countMax) this.#emptied.set(endpoint, { version, nextInMs });
      if (claims.length > 0) return await this.#releaseIfEnded(claims, signal);
      this.#emptyClaims.set(endpoint, (this.#emptyClaims.get(endpoint) ?? 0) + 1);
    }
    return [];
  }

  async settleDone(claims: readonly Claimed[]): Promise<void> {
    await this.#settler.settleDone(claims as readonly RedisClaimed[]);
    for (const claimed of claims) this.#claimer.forget(claimed as RedisClaimed);
  }

  async settle(
    claimed: Claimed,
    disposition: FailureDisposition,
    retryAfterMs: number,
  ): Promise<void> {
    await this.#settler.settle(claimed as RedisClaimed, disposition, retryAfterMs);
    this.#claimer.forget(claimed as RedisClaimed);
  }

  async release(claimed: Claimed): Promise<void> {
    const { state, scripts } = this.#parts;
    const { delivery, attempt, entry } = claimed as RedisClaimed;
    const { ready } = this.#keys(delivery.endpoint);
    const args = [entry, delivery.id, attempt - 1];
    await state.run('settle', () => scripts.release([ready], args), delivery.endpoint);
    this.#claimer.forget(claimed as RedisClaimed);
    this.#condition(delivery.endpoint).notifyAll();
  }

  async forgetGone(endpoint: string): Promise<void> {
    const { state, replica } = this.#parts;
    const field = goneField(replica, endpoint);
    await state.run('settle', () => state.redis.hdel(goneKey(state.prefix), field), endpoint);
  }

  async depth(endpoint: string): Promise<Depth> {
    const { state, scripts, correct } = this.#parts;
    const { oldest, ...depth } = await readDepth(state, scripts, endpoint);
    if (oldest === null) return { ...depth, oldestDueForMs: null };
    const toldMs = oldest.atMs - correct(oldest.dueMs);
    return { ...depth, oldestDueForMs: this.#agedMs(endpoint, oldest.what, toldMs) };
  }

  async close(): Promise<readonly Delivery[]> {
    this.#closed = true;
    this.#idleLook.close();
    for (const condition of this.#conditions.values()) condition.notifyAll();
    return [];
  }

  #agedMs(endpoint: string, what: string, toldMs: number): number {
    const oldest = this.#oldest.get(endpoint) ?? new Oldest();
    this.#oldest.set(endpoint, oldest);
    return oldest.ageMs(what, toldMs, this.#parts.clock.monotonicMs());
  }

  #keys(endpoint: string): EndpointKeys {
    return endpointKeys(this.#parts.state.prefix, endpoint);
  }

  /** Releases claims that arrive after the wait has ended. A claim whose release fails is found by the next check. */
  async #releaseIfEnded(
    claims: readonly RedisClaimed[],
    signal: AbortSignal,
  ): Promise<readonly Claimed[]> {
    if (!signal.aborted && !this.#closed) return claims;
    try {
      for (const claimed of claims) await this.release(claimed);
    } finally {
      for (const claimed of claims) this.#claimer.forget(claimed);
    }
    return [];
  }

  #condition(endpoint: string): Condition {
    const condition = this.#conditions.get(endpoint) ?? new Condition();
    this.#conditions.set(endpoint, condition);
    return condition;
  }
}

/** The arguments of ENQUEUE for each expiration and each delivery. */
function packBatch(
  captured: readonly CapturedExpiration[],
  databases: readonly number[],
  deliveries: readonly Delivery[],
  endpoints: readonly string[],
): readonly Buffer[] {
  const packed = new PackedArguments();
  for (const { database, key, deadlineMs, detectedAtMs, names } of captured) {
    packed.add(databases.indexOf(database) + 1);
    packed.add(key);
    packed.add(deadlineMs ?? '');
    packed.add(detectedAtMs);
    packed.add(names.length);
    for (const name of names) packed.add(capturedMemberStart(database, name), key);
  }
  for (const delivery of deliveries) {
    packed.add(endpoints.indexOf(delivery.endpoint) + 1);
    packed.add(delivery.id);
    packed.add(packHead(delivery), delivery.body);
  }
  return packed.chunks;
}
