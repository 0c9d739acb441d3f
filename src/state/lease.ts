/**
 * The contract of the lease: of all replicas, one captures. Replicas with different configurations may
 * share a state for a while, as they do in a rolling update: the newest configuration leads.
 */
import { untilAborted } from '../lib/clock.js';
import { FencedError } from '../model/errors.js';

/** How this replica's configuration stands among those of the replicas that share its state. */
export type Standing =
  /** No other configuration is known, or replicas of the same configuration lead. */
  | { readonly kind: 'current' }
  /** This replica holds the lease, and replicas of other configurations run. */
  | { readonly kind: 'leading' }
  /** Another, newer configuration leads. */
  | { readonly kind: 'superseded' }
  /** Another configuration leads until this one, which is newer, takes over. */
  | { readonly kind: 'succeeding' };

/** Who captures. */
export interface Lease {
  /**
   * What the scripts that capture check; null while this replica does not hold it. It is held until
   * another replica is known to hold it: while the state Redis is away nobody can, and should it be
   * another's already, the scripts say so.
   */
  readonly token: string | null;
  /**
   * A number that increases each time that the lease is taken. Null while this replica does not hold the lease, and if
   * no other replica can take it.
   */
  readonly generation: number | null;
  /** The number of this replica's configuration; null before it is known. */
  readonly number: number | null;
  /** Whether another replica was seen to hold it at the last look. */
  readonly isHeldByOther: boolean;
  /** Competes for the lease from now on: this replica listens. */
  compete(): void;
  /** Releases the lease, and leaves it to others until the next `compete`. */
  withdraw(): void;
  /** Resolves when it is held, or the signal aborts. */
  taken(signal: AbortSignal): Promise<void>;
  /** Resolves when it is held no longer, or the signal aborts. */
  lost(signal: AbortSignal): Promise<void>;
  /** Resolves when it is to be handed to a newer configuration, is held no longer, or the signal aborts. */
  due(signal: AbortSignal): Promise<void>;
  /**
   * Whether webhooks of this endpoint are this replica's to send: where the configuration that leads has
   * another URL for it, they are not.
   */
  delivers(endpoint: string): boolean;
  /** Lets others have it at once, and takes it no more. */
  stop(): Promise<void>;
}

/** What a script is given that captures; throws FencedError where this replica does not hold it. */
export function tokenOf({ token }: Pick<Lease, 'token'>): string {
  if (token === null) throw new FencedError('another replica watches');
  return token;
}

/** For a state in memory: every replica watches for itself. */
export const ALWAYS_HELD: Lease = {
  token: '',
  generation: null,
  number: 0,
  isHeldByOther: false,
  compete: () => undefined,
  withdraw: () => undefined,
  taken: async () => undefined,
  lost: untilAborted,
  due: untilAborted,
  delivers: () => true,
  stop: async () => undefined,
};
