/**
 * The contract of the outbox: what keeps each delivery from the moment it is captured until it is
 * done or dead. Every implementation passes the one suite in test/outbox/contract.ts.
 *
 * A delivery is in exactly one place:
 *
 *   enqueue ──▶ ready ──claim──▶ claimed ──settle──▶ done (forgotten)
 *                 ▲                │ │ └──settle──▶ dead letter
 *                 │◀───release─────┘ └──settle──▶ waiting until notBeforeMs
 *                 └◀──stage (the outbox itself, when a wait is over)──┘
 */
import type { DeadLetter, Delivery, Disposition } from '../vocabulary.js';

/** A delivery that this replica holds, for one attempt. */
export interface Claimed {
  readonly delivery: Delivery;
  /** The number of the attempt that this claim is for; 1 is the first. */
  readonly attempt: number;
}

/** How much an endpoint has in the outbox; dead letters apart. */
export interface Depth {
  /** Ready, waiting or claimed. */
  readonly pending: number;
  /** When the oldest delivery that could be attempted now became due; null when there is none. */
  readonly oldestDueAtMs: number | null;
}

export interface Outbox {
  /** Whether what it holds outlives this process. If not, a stop delivers what it can first. */
  readonly durable: boolean;

  /**
   * Stores all of them in one step, in their order. Idempotent by delivery id: one that is here
   * already is left as it is, so the caller may repeat the call after a rejection, which says
   * nothing about what was stored. Resolves with the deliveries that found no room, which only a
   * bounded outbox in memory ever refuses; the others are kept from then on.
   */
  enqueue(deliveries: readonly Delivery[]): Promise<readonly Delivery[]>;

  /**
   * Takes up to `countMax` ready deliveries of an endpoint, oldest first, and counts the attempt
   * before it returns, so that a crash in the middle of one cannot repeat it for ever. Waits until
   * there is at least one; resolves empty when the signal aborts. No delivery is claimed twice
   * at the same time. Safe to call concurrently.
   */
  claim(endpoint: string, countMax: number, signal: AbortSignal): Promise<readonly Claimed[]>;

  /**
   * Ends a claim: one step, after which the claim is void. May be repeated after a rejection,
   * which says nothing about what was stored; a void claim changes nothing.
   */
  settle(claimed: Claimed, disposition: Disposition): Promise<void>;

  /** Hands back a claim whose attempt was not made: ready again at once, the attempt not counted. */
  release(claimed: Claimed): Promise<void>;

  depth(endpoint: string): Promise<Depth>;

  /** The dead letters of an endpoint, oldest first. */
  deadLetters(endpoint: string): Promise<readonly DeadLetter[]>;

  /** How many dead letters an endpoint has. */
  deadLetterCount(endpoint: string): Promise<number>;

  /** Makes a dead letter ready again, with its id and body, as if never attempted. False: no such id. */
  replay(endpoint: string, id: string): Promise<boolean>;

  /**
   * Ends every wait; nothing can be enqueued or claimed afterwards. Resolves with the deliveries
   * that end with it, neither done nor dead: none where they outlive the process. Idempotent.
   */
  close(): Promise<readonly Delivery[]>;
}
