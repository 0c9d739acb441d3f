/**
 * The health of the state Redis, tracked from command results. It may fail in part: at maxmemory nothing new can be
 * stored, while stored deliveries are delivered and settled.
 */
import type { Clock } from '../lib/clock.js';
import { RedisUnreachableError, type RelayError, StateUnavailableError } from '../model/errors.js';

/** The operations on the state Redis. */
export type StateOperation =
  | 'connect'
  | 'verify'
  | 'enqueue'
  | 'claim'
  | 'track'
  | 'watch'
  | 'settle'
  | 'heartbeat'
  | 'reclaim'
  | 'maintenance'
  | 'depth'
  | 'dead_letters'
  | 'pauses';

export interface HealthEvents {
  /** Called for each failed command. */
  failed(operation: StateOperation): void;
  /** Called for an error that was not reported before. */
  unavailable(operation: StateOperation, error: RelayError): void;
  /** No command has failed for a while; the trouble lasted `afterMs`. */
  availableAgain(afterMs: number): void;
}

/** Trouble that recurs within this time is the same trouble, and not reported again. */
const CALM_MS = 5_000;

/**
 * Operations that are not repeated until they succeed: their errors would never be cleared. The other operations meet
 * the same errors.
 */
const UNREPEATED: ReadonlySet<StateOperation> = new Set(['depth']);

/** While one of these fails, no other command is sent: earlier errors of the others have the same cause. */
const OF_ALL: readonly StateOperation[] = ['connect', 'verify'];

/** Operations of the lease holder alone. */
const OF_THE_WATCH: readonly StateOperation[] = ['enqueue', 'track'];

export class StateHealth {
  readonly #clock: Clock;
  readonly #events: HealthEvents;
  /** The last error of each operation and endpoint that has not succeeded since. */
  readonly #troubles = new Map<string, string>();
  /** The operation on the whole server that failed last. */
  #failedLast: string | null = null;
  /** Errors reported since the trouble began. */
  readonly #said = new Set<string>();
  #beganAtMs = 0;
  /** Cancels the timer that ends the trouble. */
  #cancelCalm: (() => void) | null = null;

  constructor(clock: Clock, events: HealthEvents) {
    this.#clock = clock;
    this.#events = events;
  }

  /** The current errors; null: none. */
  get problem(): string | null {
    const ofAll = this.#troubles.get(this.#failedLast ?? '');
    if (ofAll !== undefined) return ofAll;
    const said = [...new Set(this.#troubles.values())];
    return said.length === 0 ? null : said.join('; ');
  }

  /** `endpoint` is the one whose data the command was about; null: more than one. */
  recordFailure(operation: StateOperation, endpoint: string | null, error: RelayError): void {
    this.#events.failed(operation);
    if (UNREPEATED.has(operation)) return;
    this.close();
    if (this.#said.size === 0) this.#beganAtMs = this.#clock.monotonicMs();
    const key = troubleKey(operation, endpoint);
    this.#troubles.set(key, error.message);
    if (OF_ALL.includes(operation)) this.#failedLast = key;
    // All errors about an unreachable server count as the same one.
    const what = error instanceof RedisUnreachableError ? error.name : error.message;
    if (this.#said.has(what)) return;
    this.#said.add(what);
    this.#events.unavailable(operation, error);
  }

  recordSuccess(operation: StateOperation, endpoint: string | null): void {
    if (this.#troubles.delete(troubleKey(operation, endpoint))) this.#calm();
  }

  /** Clears errors of the lease holder's operations when this replica is a standby: nothing else would clear them. */
  clearLeaseErrors(): void {
    for (const operation of OF_THE_WATCH) this.recordSuccess(operation, null);
  }

  /** Clears all errors, which say nothing about a new connection. */
  reset(): void {
    if (this.#troubles.size === 0) return;
    this.#troubles.clear();
    this.#calm();
  }

  /** Cancels the timer. */
  close(): void {
    this.#cancelCalm?.();
    this.#cancelCalm = null;
  }

  #calm(): void {
    if (this.#troubles.size > 0) return;
    const tookMs = this.#clock.monotonicMs() - this.#beganAtMs;
    this.#cancelCalm = this.#clock.after(CALM_MS, () => {
      this.#said.clear();
      this.#events.availableAgain(tookMs);
    });
  }
}

function troubleKey(operation: StateOperation, endpoint: string | null): string {
  return `${operation} ${endpoint ?? ''}`;
}

/** Skips a step while the state is unavailable: the state itself reports the reason. */
export async function ignoreTrouble(step: () => Promise<unknown>): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!(error instanceof StateUnavailableError)) throw error;
  }
}
