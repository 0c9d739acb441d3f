/** Records of a chaos run, for the oracle. Times are milliseconds since 1970. */

import type { SlotRange } from '../../../src/redis/slots.js';

/** Between these two it happened. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** A command: from its sending to its reply. */
export interface Command extends Span {
  /** The port of the server that replied; null: not known. */
  readonly port: number | null;
}

/** A deadline that a key had. */
export interface Held {
  readonly deadlineMs: number;
  /** When it was set. */
  readonly since: Command;
}

export type Ending =
  /** At its last deadline: whatever was to end it before came too late. */
  | { readonly kind: 'expired' }
  /** `replaced`: another key was renamed to its name. */
  | {
      readonly kind: 'deleted' | 'persisted' | 'overwritten' | 'renamed' | 'replaced';
      readonly at: Command;
    }
  /** Redis was killed while a command was in progress: it may have been executed or not. */
  | { readonly kind: 'unknown' };

/** A key with a deadline, from getting its first one to its end. A name may have several in a row. */
export interface Life {
  readonly key: string;
  readonly held: readonly [Held, ...Held[]];
  readonly ending: Ending;
  /** The life of the key that was renamed to this one, and had its deadline; null: it was set. */
  readonly origin: Life | null;
}

/** One request that the receiver got, whatever it answered. */
export interface Received {
  readonly key: string;
  readonly id: string;
  readonly body: string;
  readonly atMs: number;
  readonly expiredAtMs: number | null;
  readonly detectedAtMs: number;
  readonly detectedBy: string;
  /** Whether a Standard Webhooks library accepts its signature. */
  readonly isVerified: boolean;
  /** When a response of 2xx was sent; null: another response, or none. */
  readonly acceptedAtMs: number | null;
}

/** A time in which no replica listened to the primary of some slots. */
export interface Gap extends Span {
  /** Null: all slots. */
  readonly slots: readonly SlotRange[] | null;
}

/** Another server became the primary, and may lack what the former one had written in this time. */
export interface Loss extends Span {
  /** The port of the former primary; null: of whichever server it was. */
  readonly port: number | null;
  /** Whether the state may lack writes as well. */
  readonly isOfState: boolean;
}

/** An action on the relays or Redis, until they have recovered. */
export interface Disturbance extends Span {
  readonly what: string;
  /** When no replica listened: until one of them listens and watches again. */
  readonly gap: Gap | null;
  readonly losesWrites: Loss | null;
}

export interface Records {
  readonly lives: readonly Life[];
  readonly received: readonly Received[];
  readonly disturbances: readonly Disturbance[];
  /** Whether Redis publishes which keys are new (class `n`). */
  readonly saysNewKeys: boolean;
  /** Unexpected leftovers at the end, such as dead letters. */
  readonly leftovers: readonly string[];
}
