/**
 * Looks for deliveries that idle endpoints can claim although this replica has stored none: those of other replicas,
 * retries that are due, and claims that this replica does not know. One script looks for all of them.
 */
import type { Clock } from '../lib/clock.js';
import type { Condition } from '../lib/condition.js';
import { endpointKeys } from '../state/format.js';
import { ignoreTrouble } from '../state/health.js';
import type { RedisState } from '../state/redis-state.js';
import { LOOK_BATCH, type OutboxScripts } from './scripts/scripts.js';

const LOOK_EVERY_MS = 250;

export interface IdleLookParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  readonly replica: string;
  readonly clock: Clock;
  /** The number of claims of an endpoint that this replica knows. */
  readonly heldCount: (endpoint: string) => number;
}

export class IdleLook {
  readonly #parts: IdleLookParts;
  /** The endpoints that wait, and what to notify. */
  readonly #idle = new Map<string, Condition>();
  #isLooking = false;
  readonly #end = new AbortController();

  constructor(parts: IdleLookParts) {
    this.#parts = parts;
  }

  /** Waits until the condition is notified, `ms` have passed, or the signal aborts. Infinity: no time limit. */
  async wait(
    endpoint: string,
    condition: Condition,
    ms: number,
    signal: AbortSignal,
  ): Promise<void> {
    this.#idle.set(endpoint, condition);
    if (!this.#isLooking) void this.#lookWhileIdle();
    await condition.wait(this.#parts.clock, Number.isFinite(ms) ? ms : null, signal);
    this.#idle.delete(endpoint);
  }

  close(): void {
    this.#end.abort();
  }

  async #lookWhileIdle(): Promise<void> {
    this.#isLooking = true;
    const { clock } = this.#parts;
    const { signal } = this.#end;
    for (;;) {
      await clock.sleep(LOOK_EVERY_MS, signal);
      if (this.#idle.size === 0 || signal.aborted) break;
      // The next look makes up for a failure.
      await ignoreTrouble(() => this.#look([...this.#idle.keys()]));
    }
    this.#isLooking = false;
  }

  async #look(endpoints: readonly string[]): Promise<void> {
    const { state, scripts, replica, heldCount } = this.#parts;
    for (let from = 0; from < endpoints.length; from += LOOK_BATCH) {
      const some = endpoints.slice(from, from + LOOK_BATCH);
      const keys = some.flatMap((endpoint) => {
        const { ready, waiting, throttle } = endpointKeys(state.prefix, endpoint);
        return [ready, waiting, throttle];
      });
      const args = [replica, ...some.map(heldCount)];
      const found = (await state.run('claim', () => scripts.look(keys, args))) as number[];
      for (const at of found) this.#idle.get(some[at] ?? '')?.notifyAll();
    }
  }
}
