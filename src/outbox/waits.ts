/**
 * Limits each retry to its scheduled wait. Retries wait by the clock of the state Redis. If that clock is set back by
 * an hour, each retry would wait an hour longer. Therefore the length of each wait is stored with it, and a retry that
 * has longer to wait starts its wait again. All retries are checked at the start, on each new connection and after the
 * clock was set; otherwise one page of one endpoint after the other.
 */
import type { Clock } from '../lib/clock.js';
import { PeriodicLoop } from '../lib/periodic-loop.js';
import type { RetrySettings } from '../model/endpoint.js';
import { ServerClock } from '../redis/server-clock.js';
import { endpointKeys, quarantineKey } from '../state/format.js';
import type { RedisState } from '../state/redis-state.js';
import type { OutboxScripts } from './scripts/scripts.js';

/** How often the clock is read: the delay until a step of the clock is noticed. */
const LOOK_EVERY_MS = 2_500;

/** The wait after a failed round. */
const LOOK_AGAIN_MS = 250;

/** Retries that one script examines: less than a millisecond's work for Redis. */
const PAGE = 500;

/** How long dead letters are not expired after a step of the clock: time to correct a mistake. */
const UNSTEADY_MS = 60 * 60 * 1_000;

/** The cursor of ZSCAN at the start and at the end of a pass. */
const START = '0';

export interface WaitsParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  readonly clock: Clock;
  /** Returns the retry schedules in this replica's current configuration, by endpoint. */
  readonly endpoints: () => ReadonlyMap<string, { readonly retry: RetrySettings }>;
  readonly events: WaitsEvents;
}

export interface WaitsEvents {
  /** The clock of the state Redis was set ahead by `stepMs`; negative: back. */
  stateClockSet(stepMs: number): void;
  /** `count` retries had longer to wait than scheduled. */
  waitsLimited(endpoint: string, count: number): void;
}

export class Waits {
  readonly #parts: WaitsParts;
  readonly #loop: PeriodicLoop;
  readonly #stateClock: ServerClock;
  /** The cursor of each endpoint's pass. */
  readonly #cursors = new Map<string, string>();
  /** The number of rounds that checked one page. */
  #pages = 0;
  #setAtMs = Number.NEGATIVE_INFINITY;
  /** Whether all retries must be checked. */
  #isDoubtful = true;
  /** The connection of the last round. */
  #connection = 0;

  constructor(parts: WaitsParts) {
    this.#parts = parts;
    this.#stateClock = new ServerClock(parts.clock, (stepMs) => this.#clockSet(stepMs));
    this.#loop = new PeriodicLoop(parts.clock, async () => {
      const isDone = await parts.state.pass('waits', () => this.runOnce());
      return isDone ? LOOK_EVERY_MS : LOOK_AGAIN_MS;
    });
  }

  start(): void {
    this.#loop.start();
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  /** Converts a time written by the state Redis to its clock's present setting. */
  correct(writtenMs: number): number {
    return this.#stateClock.correctedWritten(writtenMs);
  }

  /** Whether the clock, as far as is known, was not set recently. */
  isClockSteady(): boolean {
    return this.#parts.clock.monotonicMs() - this.#setAtMs >= UNSTEADY_MS;
  }

  /** One round; rejects when the state cannot be used. */
  async runOnce(): Promise<void> {
    const { state, endpoints } = this.#parts;
    const { connections } = state;
    await state.run('maintenance', () => this.#stateClock.ask(state.redis));
    const isAll = this.#isDoubtful || connections !== this.#connection;
    const all = [...endpoints()];
    for (const [endpoint, { retry }] of isAll
      ? all
      : all.slice(this.#pages % all.length).slice(0, 1)) {
      if (isAll) this.#cursors.delete(endpoint);
      do await this.#limit(endpoint, retry);
      while (isAll && this.#cursors.get(endpoint) !== START && !this.#loop.signal.aborted);
    }
    if (!isAll) this.#pages += 1;
    this.#connection = connections;
    if (isAll) this.#isDoubtful = false;
  }

  /** Checks one page of an endpoint's retries. */
  async #limit(endpoint: string, { scheduleMs }: RetrySettings): Promise<void> {
    const { state, scripts, events } = this.#parts;
    const { waiting, waits } = endpointKeys(state.prefix, endpoint);
    const cursor = this.#cursors.get(endpoint) ?? START;
    const args = [cursor, PAGE, ...scheduleMs, Math.max(0, ...scheduleMs)];
    const reply = await state.run(
      'maintenance',
      () => scripts.limitWaits([waiting, waits, quarantineKey(state.prefix)], args),
      endpoint,
    );
    const [next, changed] = reply as [Buffer, number];
    this.#cursors.set(endpoint, next.toString());
    if (changed > 0) events.waitsLimited(endpoint, changed);
  }

  #clockSet(stepMs: number): void {
    this.#setAtMs = this.#parts.clock.monotonicMs();
    this.#isDoubtful = true;
    this.#parts.events.stateClockSet(stepMs);
  }
}
