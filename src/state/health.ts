/**
 * How the state Redis does, told by each command that it was given. It may fail in part: at
 * maxmemory nothing new can be stored, while what is there is delivered and settled.
 */
import type { Clock } from '../lib/clock.js';
import { RedisUnreachableError, type RelayError, StateUnavailableError } from '../model/errors.js';

/** What the state Redis is used for. */
export type StateOperation =
  | 'connect'
  | 'verify'
  | 'enqueue'
  | 'claim'
  | 'track'
  | 'watch'
  | 'settle'
  | 'beat'
  | 'reclaim'
  | 'upkeep'
  | 'depth'
  | 'dead_letters';

export interface HealthEvents {
  /** Each command that failed. */
  failed(operation: StateOperation): void;
  /** A trouble of a kind that there was not before. */
  troubleBegan(operation: StateOperation, error: RelayError): void;
  /** No command has failed for a while; the trouble took so long. */
  troubleEnded(afterMs: number): void;
}

/** Trouble that comes again sooner is the same trouble: nothing more is said of it. */
const CALM_MS = 5_000;

/**
 * Those that are not given again until they succeed, so that nothing would ever say that their
 * trouble is over. Whatever is wrong, the others meet it as well.
 */
const UNREPEATED: ReadonlySet<StateOperation> = new Set(['depth']);

/** While one of them fails, no other command is given: what the others met before is the same trouble. */
const OF_ALL: readonly StateOperation[] = ['connect', 'verify'];

/** What the replica that watches does alone. */
const OF_THE_WATCH: readonly StateOperation[] = ['enqueue', 'track'];

export class StateHealth {
  readonly #clock: Clock;
  readonly #events: HealthEvents;
  /** What each operation, at each endpoint, last failed with and has not succeeded at since. */
  readonly #troubles = new Map<string, string>();
  /** Which of those that concern everything failed last. */
  #failedLast: string | null = null;
  /** What has been said since it all began. */
  readonly #said = new Set<string>();
  #beganAtMs = 0;
  /** Ends the wait for it to stay calm. */
  #cancelCalm: (() => void) | null = null;

  constructor(clock: Clock, events: HealthEvents) {
    this.#clock = clock;
    this.#events = events;
  }

  /** What is wrong; null when nothing is. */
  get problem(): string | null {
    const ofAll = this.#troubles.get(this.#failedLast ?? '');
    if (ofAll !== undefined) return ofAll;
    const said = [...new Set(this.#troubles.values())];
    return said.length === 0 ? null : said.join('; ');
  }

  /** `endpoint` is the one whose part of the state it was about; null when it was about more. */
  failed(operation: StateOperation, endpoint: string | null, error: RelayError): void {
    this.#events.failed(operation);
    if (UNREPEATED.has(operation)) return;
    this.close();
    if (this.#said.size === 0) this.#beganAtMs = this.#clock.monotonicMs();
    const key = troubleKey(operation, endpoint);
    this.#troubles.set(key, error.message);
    if (OF_ALL.includes(operation)) this.#failedLast = key;
    // However it is told that nobody answers: it is the same.
    const what = error instanceof RedisUnreachableError ? error.name : error.message;
    if (this.#said.has(what)) return;
    this.#said.add(what);
    this.#events.troubleBegan(operation, error);
  }

  succeeded(operation: StateOperation, endpoint: string | null): void {
    if (this.#troubles.delete(troubleKey(operation, endpoint))) this.#calm();
  }

  /** This replica does not watch: nothing would ever say that such trouble is over, and it is not its own. */
  standsBy(): void {
    for (const operation of OF_THE_WATCH) this.succeeded(operation, null);
  }

  /** A new connection: what failed on the one before says nothing about it. */
  anew(): void {
    if (this.#troubles.size === 0) return;
    this.#troubles.clear();
    this.#calm();
  }

  /** Leaves no timer behind. */
  close(): void {
    this.#cancelCalm?.();
    this.#cancelCalm = null;
  }

  #calm(): void {
    if (this.#troubles.size > 0) return;
    const tookMs = this.#clock.monotonicMs() - this.#beganAtMs;
    this.#cancelCalm = this.#clock.after(CALM_MS, () => {
      this.#said.clear();
      this.#events.troubleEnded(tookMs);
    });
  }
}

function troubleKey(operation: StateOperation, endpoint: string | null): string {
  return `${operation} ${endpoint ?? ''}`;
}

/** Leaves a step undone that the state cannot be used for: the state itself says what is wrong. */
export async function ignoreTrouble(step: () => Promise<unknown>): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!(error instanceof StateUnavailableError)) throw error;
  }
}
