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
      'took over what a dead replica had been delivering',
    );
  }

  /** A delivery in memory was pending when the relay stopped. */
  lost(delivery: Delivery): void {
    this.#log.error(
      {
        event: 'lost',
        id: delivery.id,
        route: delivery.route,
        endpoint: delivery.endpoint,
        database: delivery.database,
        key: delivery.keyLabel,
      },
      'not delivered before the stop; lost',
    );
  }

  /** The outbox in memory evicted a dead letter. */
  deadLetterEvicted({ delivery, reason }: DeadLetter): void {
    const { id, endpoint } = delivery;
    this.#metrics.deadLettersForgotten.inc({ endpoint, why: 'count' });
    this.#log.error(
      { event: 'dead_letter_evicted', id, endpoint, reason },
      'too many dead letters in memory: the oldest is lost',
    );
  }

  deadLettersEvicted(endpoint: string, count: number): void {
    this.#metrics.deadLettersForgotten.inc({ endpoint, why: 'count' }, count);
    this.#log.error(
      { event: 'dead_letters_evicted', endpoint, count },
      'more dead letters than state.dead_letters.max: the oldest are lost',
    );
  }

  deadLettersExpired(endpoint: string, count: number): void {
    this.#metrics.deadLettersForgotten.inc({ endpoint, why: 'age' }, count);
    this.#log.warn(
      { event: 'dead_letters_expired', endpoint, count },
      'dead letters older than state.dead_letters.keep are forgotten',
    );
  }

  indexRestored(endpoint: string, deliveries: number, deadLetters: number): void {
    this.#log.warn(
      { event: 'index_restored', endpoint, deliveries, dead_letters: deadLetters },
      'deliveries or dead letters had no entry in their index. The deliveries are ready again, and the dead letters are ' +
        'listed again. Check which other client writes to the state',
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
      "webhooks wait for an endpoint that no running replica's file has; they become dead " +
        'letters when the grace is over (state.unknown_endpoint_grace)',
    );
  }

  /** `stepMs` is how far the clock was set ahead; negative: back. */
  stateClockSet(stepMs: number): void {
    this.#log.warn(
      { event: 'state_clock_set', step_ms: stepMs },
      'the clock of the state Redis was set, or this machine was suspended. Retries wait no longer than ' +
        'scheduled, and no dead letter is removed for its age within the next hour. Check the time ' +
        "synchronization of the state Redis's machine",
    );
  }

  waitsLimited(endpoint: string, count: number): void {
    this.#log.info(
      { event: 'retries_rescheduled', endpoint, count },
      'the clock of the state Redis was set back: restarted the waits of retries that would have waited ' +
        'longer than scheduled',
    );
  }

  unknownEndpointBuried(endpoint: string, count: number): void {
    this.#metrics.unknownEndpointPending.set({ endpoint }, 0);
    this.#log.error(
      { event: 'unknown_endpoint_buried', endpoint, count, reason: 'unknown_endpoint' },
      "what waited for an endpoint that no running replica's file has: now dead letters",
    );
  }
}
