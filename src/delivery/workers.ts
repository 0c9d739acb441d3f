/** The workers of all endpoints, which follow the configuration: one for each endpoint. */
import { setMaxListeners } from 'node:events';
import type { LookupFunction } from 'node:net';
import type { Endpoint } from '../model/endpoint.js';
import type { DeliveryEvents } from '../telemetry/delivery-events.js';
import { createSender } from './send.js';
import { Worker, type WorkerParts } from './worker.js';

export interface WorkersParts extends Omit<WorkerParts, 'current' | 'sender'> {
  readonly events: DeliveryEvents;
  readonly lookup: LookupFunction;
  /** Returns the endpoints of the current configuration. */
  readonly endpoints: () => ReadonlyMap<string, Endpoint>;
  /** Returns how long attempts to a removed endpoint may go on. */
  readonly graceMs: () => number;
}

/** The names of endpoints that a reload concerns. */
export interface EndpointChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

interface Running {
  readonly worker: Worker;
  /** Hands a changed endpoint to the worker. */
  readonly update: (endpoint: Endpoint) => void;
}

export class Workers {
  readonly #parts: WorkersParts;
  readonly #running = new Map<string, Running>();
  /** The workers of removed endpoints that have attempts in progress. */
  readonly #leaving = new Map<Worker, Promise<void>>();
  /** Aborts when attempts of removed endpoints must not go on. */
  readonly #endLeaving = new AbortController();

  constructor(parts: WorkersParts) {
    this.#parts = parts;
    // Each removed endpoint listens to it.
    setMaxListeners(0, this.#endLeaving.signal);
    for (const endpoint of parts.endpoints().values()) this.#create(endpoint);
  }

  /** The endpoints that answered 410 to this replica. */
  get gone(): readonly string[] {
    return [...this.#running].filter(([, { worker }]) => worker.isGone).map(([name]) => name);
  }

  start(): void {
    for (const { worker } of this.#running.values()) worker.start();
  }

  /**
   * Follows a reload. An unchanged endpoint keeps its connections, its breaker and its rate. `isAsked`: every endpoint
   * that answered 410 is tried again, else only the changed ones.
   */
  apply({ added, removed, changed }: EndpointChanges, isAsked: boolean): void {
    const endpoints = this.#parts.endpoints();
    for (const name of removed) this.#remove(name);
    for (const name of changed) {
      const endpoint = endpoints.get(name);
      if (endpoint !== undefined) this.#running.get(name)?.update(endpoint);
    }
    if (isAsked) for (const { worker } of this.#running.values()) worker.retryGone();
    for (const name of added) {
      const endpoint = endpoints.get(name);
      if (endpoint !== undefined) this.#create(endpoint).start();
    }
  }

  /** Resolves when no due delivery can be attempted any more, or when the signal aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from(this.#running.values(), ({ worker }) => worker.drained(signal)));
  }

  /** Stops all workers. Once `signal` aborts, attempts in flight are cancelled. */
  async stop(signal: AbortSignal): Promise<void> {
    const end = () => this.#endLeaving.abort();
    if (signal.aborted) end();
    signal.addEventListener('abort', end, { once: true });
    const stopping = Array.from(this.#running.values(), ({ worker }) => worker.stop(signal));
    await Promise.all([...stopping, ...this.#leaving.values()]);
    signal.removeEventListener('abort', end);
  }

  #create(first: Endpoint): Worker {
    const { endpoints: _, graceMs: __, lookup, ...parts } = this.#parts;
    let endpoint = first;
    const current = () => endpoint;
    const sender = createSender(current, parts.clock, lookup);
    const worker = new Worker({ ...parts, current, sender });
    const update = (next: Endpoint) => {
      const before = endpoint;
      endpoint = next;
      worker.update(before);
    };
    this.#running.set(first.name, { worker, update });
    return worker;
  }

  /** Claims nothing more for the endpoint. Attempts in progress go on for as long as at a stop. */
  #remove(name: string): void {
    const { events, clock, graceMs } = this.#parts;
    const running = this.#running.get(name);
    if (running === undefined) return;
    this.#running.delete(name);
    events.endpointRemoved(name);
    const over = new AbortController();
    const end = () => over.abort();
    const cancelGrace = clock.after(graceMs(), end);
    this.#endLeaving.signal.addEventListener('abort', end, { once: true });
    const { worker } = running;
    const leaving = worker.stop(over.signal).then(() => {
      cancelGrace();
      this.#endLeaving.signal.removeEventListener('abort', end);
      this.#leaving.delete(worker);
    });
    this.#leaving.set(worker, leaving);
  }
}
