/**
 * Periodic maintenance of the outbox in memory: dead-letters deliveries for endpoints that a reload has removed, after a
 * grace period, as `Maintenance` does for the outbox in Redis.
 */
import type { Clock } from '../lib/clock.js';
import { PeriodicLoop } from '../lib/periodic-loop.js';
import type { MaintenanceEvents } from './maintenance.js';

const UPKEEP_EVERY_MS = 10_000;

/** The default of `state.unknown_endpoint_grace`, which a state in memory does not have. */
export const MEMORY_GRACE_MS = 3_600_000;

export interface MemoryMaintenanceParts {
  readonly outbox: {
    /** The endpoints with pending deliveries, and their number. */
    pendingEndpoints(): Iterable<readonly [endpoint: string, pending: number]>;
    /** Dead-letters all pending deliveries of an unknown endpoint. Returns their number. */
    deadLetterAll(endpoint: string): number;
  };
  /** Returns whether the current configuration has the endpoint. */
  readonly has: (endpoint: string) => boolean;
  readonly clock: Clock;
  readonly events: Pick<MaintenanceEvents, 'unknownEndpoint' | 'unknownEndpointDeadLettered'>;
}

export class MemoryMaintenance {
  readonly #parts: MemoryMaintenanceParts;
  readonly #loop: PeriodicLoop;
  /** The endpoints that the configuration lacks, and since when. */
  readonly #unknown = new Map<string, number>();

  constructor(parts: MemoryMaintenanceParts) {
    this.#parts = parts;
    this.#loop = new PeriodicLoop(parts.clock, async () => {
      this.runOnce();
      return UPKEEP_EVERY_MS;
    });
  }

  start(): void {
    this.#loop.start(UPKEEP_EVERY_MS);
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  runOnce(): void {
    const { outbox, has, clock, events } = this.#parts;
    const nowMs = clock.monotonicMs();
    const pending = new Map(
      Array.from(outbox.pendingEndpoints()).filter(([endpoint]) => !has(endpoint)),
    );
    for (const endpoint of this.#unknown.keys()) {
      if (pending.has(endpoint)) continue;
      this.#unknown.delete(endpoint);
      events.unknownEndpoint(endpoint, 0, MEMORY_GRACE_MS);
    }
    for (const [endpoint, count] of pending) {
      const sinceMs = this.#unknown.get(endpoint) ?? nowMs;
      this.#unknown.set(endpoint, sinceMs);
      const graceLeftMs = Math.max(0, sinceMs + MEMORY_GRACE_MS - nowMs);
      events.unknownEndpoint(endpoint, count, graceLeftMs);
      if (graceLeftMs > 0) continue;
      events.unknownEndpointDeadLettered(endpoint, outbox.deadLetterAll(endpoint));
    }
  }
}
