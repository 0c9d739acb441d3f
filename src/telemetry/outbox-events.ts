/** Events of stored deliveries and dead letters. */
import type { Logger } from 'pino';
import type { DeadLetter, Delivery } from '../model/vocabulary.js';
import type { Metrics } from './metrics.js';

export class OutboxEvents {
  readonly #log: Logger;
  readonly #metrics: Metrics;
  /** Unknown endpoints for which a warning was logged. */
  readonly #unknown = new Set<string>();

  constructor(log: Logger, metrics: Metrics) {
    this.#log = log;
    this.#metrics = metrics;
  }

  /** The claims of a dead replica are ready again. */
  reclaimed(endpoint: string, replica: string, count: number): void {
    this.#metrics.reclaimed.inc({ endpoint }, count);
    this.#log.warn(
      { event: 'reclaimed', endpoint, replica, count },
      'took over deliveries from a dead replica',
    );
  }

  /** An operator has paused the endpoint, or resumed it. */
  paused(endpoint: string, isPaused: boolean): void {
    if (isPaused) {
      this.#log.warn(
        { event: 'endpoint_paused', endpoint },
        'an operator has paused the endpoint; its webhooks wait until it is resumed (expiry-relay resume)',
      );
    } else {
      this.#log.info(
        { event: 'endpoint_resumed', endpoint },
        'an operator has resumed the endpoint',
      );
    }
  }

  /** A delivery in memory was pending when the relay stopped. */
  lost(delivery: Delivery): void {
    this.#log.error(
      {
        event: 'delivery_lost',
        id: delivery.id,
        route: delivery.route,
        endpoint: delivery.endpoint,
        database: delivery.database,
        key: delivery.keyLabel,
      },
      'stopped before the delivery succeeded; the webhook is lost',
    );
  }

  /** The outbox in memory evicted a dead letter. */
  deadLetterEvicted({ delivery, reason }: DeadLetter): void {
    const { id, endpoint } = delivery;
    this.#metrics.deadLettersPruned.inc({ endpoint, reason: 'count' });
    this.#log.error(
      { event: 'dead_letter_evicted', id, endpoint, dead_reason: reason },
      'too many dead letters in memory; deleted the oldest. Set state.kind: redis to keep more',
    );
  }

  deadLettersEvicted(endpoint: string, count: number): void {
    this.#metrics.deadLettersPruned.inc({ endpoint, reason: 'count' }, count);
    this.#log.error(
      { event: 'dead_letters_evicted', endpoint, count },
      'more dead letters than state.dead_letters.max; deleted the oldest. Replay or drop dead letters, or raise ' +
        'the limit',
    );
  }

  deadLettersExpired(endpoint: string, count: number): void {
    this.#metrics.deadLettersPruned.inc({ endpoint, reason: 'age' }, count);
    this.#log.warn(
      { event: 'dead_letters_expired', endpoint, count },
      'deleted dead letters older than state.dead_letters.keep',
    );
  }

  indexRestored(endpoint: string, deliveries: number, deadLetters: number): void {
    this.#log.warn(
      { event: 'index_restored', endpoint, deliveries, dead_letters: deadLetters },
      'restored missing index entries of deliveries or dead letters; restored deliveries may be sent again. ' +
        'Find the other client that writes to the state',
    );
  }

  /** Called repeatedly while deliveries are pending; with 0 when none are left. */
  unknownEndpoint(endpoint: string, pending: number, graceLeftMs: number): void {
    this.#metrics.unknownEndpointPending.set({ endpoint }, pending);
    if (pending === 0) {
      this.#unknown.delete(endpoint);
      this.#metrics.unknownEndpointPending.remove({ endpoint });
      return;
    }
    if (this.#unknown.has(endpoint)) return;
    this.#unknown.add(endpoint);
    this.#log.warn(
      { event: 'unknown_endpoint', endpoint, pending, grace_left_ms: Math.round(graceLeftMs) },
      'no running replica has this endpoint; its deliveries become dead letters after ' +
        'state.unknown_endpoint_grace. Restore the endpoint in the configuration',
    );
  }

  /** `stepMs` is how far the clock was set ahead; negative: back. */
  stateClockSet(stepMs: number): void {
    this.#log.warn(
      { event: 'state_clock_set', step_ms: stepMs },
      'the clock of the state Redis was set, or this machine was suspended; retries are not delayed, and no ' +
        'dead letter is deleted by age for an hour. Check time synchronization on the state Redis host',
    );
  }

  waitsLimited(endpoint: string, count: number): void {
    this.#log.info(
      { event: 'retries_rescheduled', endpoint, count },
      'the clock of the state Redis was set back; rescheduled retries that would have been late',
    );
  }

  unknownEndpointDeadLettered(endpoint: string, count: number): void {
    this.#metrics.unknownEndpointPending.set({ endpoint }, 0);
    this.#log.error(
      { event: 'unknown_endpoint_dead_lettered', endpoint, count, dead_reason: 'unknown_endpoint' },
      'no running replica has this endpoint; its deliveries are now dead letters. Restore the endpoint, then ' +
        `run expiry-relay dead replay --endpoint ${endpoint} --reason unknown_endpoint`,
    );
  }
}
