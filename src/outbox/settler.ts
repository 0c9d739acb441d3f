/** Settles claims in Redis. */
import type { Clock } from '../lib/clock.js';
import type { Delivery, FailedAttempt, FailureDisposition } from '../model/vocabulary.js';
import { PackedArguments } from '../redis/packed-arguments.js';
import {
  type EndpointKeys,
  endpointKeys,
  goneField,
  goneKey,
  quarantineKey,
  replicasKey,
  waitingMember,
} from '../state/format.js';
import type { RedisState } from '../state/redis-state.js';
import type { RedisClaimed } from './claimer.js';
import type { OutboxScripts } from './scripts/scripts.js';

export interface SettlerParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  /** This replica's name, unique among replicas. */
  readonly replica: string;
  /** The replica's address for operators, such as `host:pid`. */
  readonly instance: string;
  readonly clock: Clock;
  /** Dead letters kept per endpoint; the oldest is evicted. */
  readonly deadLettersMax: () => number;
  /** Called with the number of evicted dead letters. */
  readonly onDeadLettersEvicted: (endpoint: string, count: number) => void;
}

export class Settler {
  readonly #parts: SettlerParts;

  constructor(parts: SettlerParts) {
    this.#parts = parts;
  }

  /** See `Outbox.settleDone`; rejects when Redis does. Lua's `unpack` limits `claims` to a few thousand. */
  async settleDone(claims: readonly RedisClaimed[]): Promise<void> {
    const [first] = claims;
    if (first === undefined) return;
    const { state, scripts } = this.#parts;
    const { endpoint } = first.delivery;
    const { ready, deliveries, attempts } = this.#keys(endpoint);
    // Only deliveries that were retried have recorded attempts to delete.
    const wereRetried = claims.some(({ attempt }) => attempt > 1);
    const keys = wereRetried ? [ready, deliveries, attempts] : [ready, deliveries];
    const packed = new PackedArguments();
    for (const { entry } of claims) packed.add(entry);
    for (const { delivery } of claims) packed.add(delivery.id);
    await state.run('settle', () => scripts.settleDone(keys, packed.chunks), endpoint);
  }

  /** See `Outbox.settle`; rejects when Redis does. */
  settle(
    claimed: RedisClaimed,
    disposition: FailureDisposition,
    retryAfterMs: number,
  ): Promise<void> {
    const { clock } = this.#parts;
    const { attempt, delivery, entry } = claimed;
    switch (disposition.kind) {
      case 'retry': {
        const waitMs = Math.max(0, Math.round(disposition.notBeforeMs - clock.monotonicMs()));
        const args = [entry, waitingMember(delivery.id, attempt), waitMs, retryAfterMs];
        const record = [delivery.id, ...this.#recordOf(disposition.failure)];
        return this.#settleRetry(delivery, [...args, ...record]);
      }
      case 'dead': {
        const { reason, lastOutcome, failure } = disposition;
        const last = JSON.stringify(lastOutcome);
        const { replica, instance, deadLettersMax } = this.#parts;
        const own = [goneField(replica, delivery.endpoint), instance];
        const rest = [delivery.id, reason, attempt, last, deadLettersMax(), ...own];
        const record = failure === null ? [] : this.#recordOf(failure);
        return this.#settleDead(delivery, [entry, retryAfterMs, ...rest, ...record]);
      }
    }
  }

  /** The time of an attempt is sent as its distance from now: only the script knows the clock of the state Redis. */
  #recordOf({ startedMs, durationMs, outcome }: FailedAttempt): readonly (string | number)[] {
    const agoMs = Math.max(0, Math.round(this.#parts.clock.monotonicMs() - startedMs));
    return [agoMs, durationMs, outcome];
  }

  async #settleRetry({ endpoint }: Delivery, args: readonly (string | number)[]): Promise<void> {
    const { state, scripts } = this.#parts;
    const { ready, waiting, waits, throttle, attempts } = this.#keys(endpoint);
    const keys = [ready, waiting, waits, throttle, attempts, quarantineKey(state.prefix)];
    await state.run('settle', () => scripts.settleRetry(keys, args), endpoint);
  }

  async #settleDead({ endpoint }: Delivery, args: readonly (string | number)[]): Promise<void> {
    const { state, scripts, onDeadLettersEvicted } = this.#parts;
    const { ready, deliveries, throttle, dead, deadOrder, attempts } = this.#keys(endpoint);
    const shared = [goneKey(state.prefix), replicasKey(state.prefix)];
    const own = [ready, deliveries, throttle, dead, deadOrder];
    const keys = [...own, ...shared, attempts, quarantineKey(state.prefix)];
    const reply = await state.run('settle', () => scripts.settleDead(keys, args), endpoint);
    const evicted = Number(reply);
    if (evicted > 0) onDeadLettersEvicted(endpoint, evicted);
  }

  #keys(endpoint: string): EndpointKeys {
    return endpointKeys(this.#parts.state.prefix, endpoint);
  }
}
