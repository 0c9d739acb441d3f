/** A listener for each primary of the topology, which changes while the relay runs. */
import type { Chance, Clock } from '../lib/clock.js';
import type { RelayError } from '../model/errors.js';
import { SLOTS } from '../redis/slots.js';
import type { EventSink, Listener, ListenerCheck } from './listener.js';
import type { Topology, WatchedPrimary } from './topology.js';

const LOCATE_AGAIN_MS = 1_000;

/** How a primary is listened to, and what receives its events. */
export interface Followed {
  readonly listener: Listener;
  readonly sink: EventSink;
  /** Requests an immediate sweep of its keys. */
  readonly sweepNow: () => void;
  /** Called when the primary has no slots any more. */
  readonly unfollow: () => Promise<void>;
}

export interface ListenersParts {
  readonly topology: Topology;
  readonly follow: (primary: WatchedPrimary) => Followed;
  /** The cluster does not tell its primaries. */
  readonly onUnknown: (error: RelayError, retryInMs: number) => void;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** A readiness check. */
interface SlotsCheck {
  readonly name: 'slots';
  readonly problem: string | null;
}

/** How much of the keyspace is listened to. */
export interface Coverage {
  /** Primaries that have slots. */
  readonly primaries: number;
  /** Those to which the relay is subscribed. */
  readonly subscribed: number;
  /** Slots that no primary has. */
  readonly uncoveredSlots: number;
}

export class Listeners {
  readonly #parts: ListenersParts;
  readonly #followed = new Map<WatchedPrimary, Followed & { gains: number }>();
  readonly #stop = new AbortController();
  #missing = 'the primaries of the cluster are not known yet';

  constructor(parts: ListenersParts) {
    this.#parts = parts;
    this.#update();
  }

  /**
   * Resolves when the relay listens to all primaries, or is stopped. Rejects with errors that only the operator can fix.
   */
  async start(): Promise<void> {
    const { topology } = this.#parts;
    await this.#locate();
    if (this.#stop.signal.aborted) return;
    this.#update();
    const starting = Array.from(this.#followed.values(), ({ listener, sink }) =>
      listener.start(sink),
    );
    topology.onChanged(() => {
      // Those that are added later are waited out whatever their errors are.
      for (const { listener, sink } of this.#update()) listener.start(sink).catch(() => undefined);
    });
    await Promise.all(starting);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(Array.from(this.#followed.values(), ({ listener }) => listener.stop()));
  }

  get coverage(): Coverage {
    const all = Array.from(this.#followed.values(), ({ listener }) => listener);
    const { uncoveredSlots } = this.#parts.topology;
    const subscribed = all.filter(({ isSubscribed }) => isSubscribed).length;
    return { primaries: all.length, subscribed, uncoveredSlots };
  }

  checks(): readonly (ListenerCheck | SlotsCheck)[] {
    const { uncoveredSlots } = this.#parts.topology;
    if (uncoveredSlots === 0) return this.#listenerChecks();
    const problem = `no primary has ${uncoveredSlots} of the ${SLOTS} slots: their keys are not watched`;
    return [...this.#listenerChecks(), { name: 'slots', problem }];
  }

  #listenerChecks(): readonly ListenerCheck[] {
    const all = Array.from(this.#followed.values(), ({ listener }) => listener);
    const [only, ...others] = all;
    if (only !== undefined && others.length === 0) return only.checks();
    return (['subscribed', 'canary'] as const).map((name) => {
      const found = all.flatMap((listener) => {
        const check = listener.checks().find((one) => one.name === name);
        return check === undefined ? [] : [{ ...check, address: listener.address }];
      });
      const problems = found.flatMap(({ problem, address }) =>
        problem === null ? [] : `${address}: ${problem}`,
      );
      const problem = only === undefined ? this.#missing : problems.join('; ') || null;
      if (problem !== null) return { name, problem };
      const notes = found.flatMap(({ note, address }) => (note ? `${address}: ${note}` : []));
      return { name, problem, note: [`${all.length} primaries`, ...notes].join('; ') };
    });
  }

  async #locate(): Promise<void> {
    const { topology, clock, onUnknown } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        return await topology.locate();
      } catch (thrown) {
        const error = thrown as RelayError;
        if (!error.retryable) throw error;
        this.#missing = error.message;
        onUnknown(error, LOCATE_AGAIN_MS);
        await clock.sleep(LOCATE_AGAIN_MS, signal);
      }
    }
  }

  /** Follows the primaries that there are now. Returns those that are new. */
  #update(): Followed[] {
    const { topology, follow } = this.#parts;
    if (this.#stop.signal.aborted) return [];
    const { primaries } = topology;
    for (const [primary, { listener, unfollow }] of this.#followed) {
      if (primaries.includes(primary)) continue;
      this.#followed.delete(primary);
      void listener.stop().then(unfollow);
    }
    const added: Followed[] = [];
    for (const primary of primaries) {
      const known = this.#followed.get(primary);
      if (known !== undefined) {
        if (known.gains !== primary.gains) known.sweepNow();
        known.gains = primary.gains;
        continue;
      }
      const followed = { ...follow(primary), gains: primary.gains };
      this.#followed.set(primary, followed);
      added.push(followed);
    }
    return added;
  }
}
