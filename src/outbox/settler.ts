/**
 * Tells Redis what becomes of claims. Those that are done within the same turn are settled by one
 * script; each other one by its own.
 */
import type { Clock } from '../clock.js';
import { type EndpointKeys, endpointKeys, waitingMember } from '../state/format.js';
import type { RedisState } from '../state/redis-state.js';
import type { Delivery, Disposition, EndpointSignal } from '../vocabulary.js';
import type { RedisClaimed } from './claimer.js';
import type { BreakerChange } from './outbox.js';
import type { OutboxScripts } from './scripts/scripts.js';

/** Lua takes only some thousand values at a time. */
const DONE_BATCH_MAX = 1_000;

export interface SettlerParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  readonly clock: Clock;
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

export class Settler {
  readonly #parts: SettlerParts;
  readonly #done = new Map<string, DoneBatch>();

  constructor(parts: SettlerParts) {
    this.#parts = parts;
  }

  /** Resolves with what became of the breaker; rejects when Redis does. */
  settle(
    claimed: RedisClaimed,
    disposition: Disposition,
    signal: EndpointSignal,
  ): Promise<BreakerChange | null> {
    const { clock } = this.#parts;
    const { attempt, delivery, entry } = claimed;
    switch (disposition.kind) {
      case 'done':
        return this.#settleDone(delivery, entry);
      case 'retry': {
        const waitMs = Math.max(0, Math.round(disposition.notBeforeMs - clock.monotonicMs()));
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
    const { ready, waiting, breaker, waits } = this.#keys(endpoint);
    const keys = [ready, waiting, breaker, waits];
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

  #keys(endpoint: string): EndpointKeys {
    return endpointKeys(this.#parts.state.prefix, endpoint);
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
