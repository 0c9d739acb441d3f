/**
 * How the state Redis does, told by each command that it was given. It may fail in part: at
 * maxmemory nothing new can be stored, while what is there is delivered and settled.
 */
import type { Clock } from '../clock.js';
import type { RelayError } from '../errors.js';
import type { StateOperation } from '../vocabulary.js';

export interface HealthEvents {
  /** Each command that failed. */
  failed(operation: StateOperation): void;
  /** A trouble of a kind that there was not before. */
  troubleBegan(operation: StateOperation, error: RelayError): void;
  /** No command fails any more. */
  troubleEnded(afterMs: number): void;
}

export class StateHealth {
  readonly #clock: Clock;
  readonly #events: HealthEvents;
  /** What each operation last failed with, as long as it has not succeeded since. */
  readonly #troubles = new Map<StateOperation, string>();
  #beganAtMs = 0;

  constructor(clock: Clock, events: HealthEvents) {
    this.#clock = clock;
    this.#events = events;
  }

  /** What is wrong; null when nothing is. */
  get problem(): string | null {
    const said = [...new Set(this.#troubles.values())];
    return said.length === 0 ? null : said.join('; ');
  }

  failed(operation: StateOperation, error: RelayError): void {
    this.#events.failed(operation);
    if (this.#troubles.size === 0) this.#beganAtMs = this.#clock.monotonicMs();
    const isNew = ![...this.#troubles.values()].includes(error.message);
    this.#troubles.set(operation, error.message);
    if (isNew) this.#events.troubleBegan(operation, error);
  }

  succeeded(operation: StateOperation): void {
    if (!this.#troubles.delete(operation) || this.#troubles.size > 0) return;
    this.#events.troubleEnded(this.#clock.monotonicMs() - this.#beganAtMs);
  }

  /** A new connection: what failed on the one before says nothing about it. */
  anew(): void {
    if (this.#troubles.size === 0) return;
    this.#troubles.clear();
    this.#events.troubleEnded(this.#clock.monotonicMs() - this.#beganAtMs);
  }
}
