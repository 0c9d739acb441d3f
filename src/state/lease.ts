/**
 * The contract of the lease: of all replicas, only the holder captures. Replicas with different configurations may share
 * a state for a while, as in a rolling update: the newest configuration leads.
 */
import { untilAborted } from '../lib/clock.js';
import { FencedError } from '../model/errors.js';

/** The standing of this replica's configuration among all configurations that share the state. */
export type Standing =
  /** No other configuration is known, or replicas of the same configuration lead. */
  | { readonly kind: 'current' }
  /** This replica holds the lease, and replicas of other configurations run. */
  | { readonly kind: 'leading' }
  /** Another, newer configuration leads. */
  | { readonly kind: 'superseded' }
  /** Another configuration leads until this one, which is newer, takes over. */
  | { readonly kind: 'succeeding' };

export interface Lease {
  /**
   * The token that the scripts check; null while this replica does not hold the lease. The token stays until another
   * replica is known to hold the lease: nobody can take it while the state Redis is unavailable. If another replica has
   * taken it unnoticed, the scripts refuse the token.
   */
  readonly token: string | null;
  /**
   * A number that increases each time that the lease is taken. Null while this replica does not hold the lease, and if
   * no other replica can take it.
   */
  readonly generation: number | null;
  /** The number of this replica's configuration; null until it is known, at the start and after a reload. */
  readonly number: number | null;
  /** Whether another replica held the lease at the last look. */
  readonly isHeldByOther: boolean;
  /**
   * Competes for the lease from now on. Call when this replica listens, and again after each gap of a primary.
   * `hearsAll`: it listens to all primaries. A holder with a gap leaves the lease to a replica without one.
   */
  compete(hearsAll: boolean): void;
  /** Releases the lease, and does not compete until the next `compete`. */
  withdraw(): void;
  /** Resolves when this replica holds the lease, or the signal aborts. */
  taken(signal: AbortSignal): Promise<void>;
  /** Resolves when this replica does not hold the lease, or the signal aborts. */
  lost(signal: AbortSignal): Promise<void>;
  /** As `lost`; resolves also when the lease is to be handed to a newer configuration. */
  due(signal: AbortSignal): Promise<void>;
  /**
   * Whether this replica delivers to the endpoint. It does not if the leading configuration has another URL for the
   * endpoint.
   */
  delivers(endpoint: string): boolean;
  /** Publishes this replica's configuration, which a reload has changed. */
  reconfigure(): void;
  /** Releases the lease at once, and never takes it again. */
  stop(): Promise<void>;
}

/** The token for a script that captures. Throws FencedError if this replica does not hold the lease. */
export function tokenOf({ token }: Pick<Lease, 'token'>): string {
  if (token === null) throw new FencedError('another replica holds the lease');
  return token;
}

/** For a state in memory, which no other replica shares. */
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
  reconfigure: () => undefined,
  stop: async () => undefined,
};
