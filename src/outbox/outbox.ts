/**
 * The contract of the outbox, which stores each delivery from its capture until it is done or dead. Every
 * implementation passes the test suite in test/outbox/outbox.contract.ts.
 *
 * A delivery is in exactly one place:
 *
 *   enqueue ──▶ ready ──claim──▶ claimed ──settle──▶ done (forgotten)
 *                 ▲                │ │ └──settle──▶ dead letter ──drop──▶ (forgotten)
 *                 │◀───release─────┘ └──settle──▶ waiting until notBeforeMs
 *                 ├◀──stage (the outbox itself, when a wait is over)──┘
 *                 └◀──replay (of a dead letter)
 */
import type {
  CapturedExpiration,
  DeadLetter,
  Delivery,
  FailureDisposition,
} from '../model/vocabulary.js';

/** The maximum of a `Retry-After`: a receiver's mistake must not silence an endpoint for days. */
export const RETRY_AFTER_MS_MAX = 60 * 60 * 1000;

/** A delivery that this replica has claimed for one attempt. */
export interface Claimed {
  readonly delivery: Delivery;
  /** The number of the claimed attempt; 1 is the first. */
  readonly attempt: number;
  /** Whether the delivery is a replayed dead letter that has not been attempted since. */
  readonly isReplay: boolean;
}

/** The state of one endpoint in the outbox. */
export interface Depth {
  /** The number of deliveries that are ready, waiting or claimed. */
  readonly pending: number;
  /** The age of the oldest due delivery; null: none is due. */
  readonly oldestDueForMs: number | null;
  readonly deadLetters: number;
  /** How much longer the endpoint is throttled; 0: it is not. */
  readonly throttledForMs: number;
  /** Null: no operator has paused the endpoint. */
  readonly paused: Pause | null;
}

/** An operator's decision that an endpoint gets no webhooks for now. */
export interface Pause {
  /** By the clock of the outbox, in milliseconds. */
  readonly sinceMs: number;
  /** Who has paused it. */
  readonly by: string;
  readonly reason: string | null;
}

/** A writer of deliveries, which stores one batch after another. */
export type Writer = 'plain' | 'carrying';

/** Identifies a batch, to distinguish a repeated enqueue from the next one. */
export interface Batch {
  readonly writer: Writer;
  /** The lease's token. */
  readonly token: string;
  /** Larger than in each earlier batch of the writer under the same token. */
  readonly number: number;
}

export interface Outbox {
  /** Whether deliveries outlive this process. If not, a stop first delivers as many as it can. */
  readonly durable: boolean;

  /** The dead letters. */
  readonly dead: DeadLetters;

  readonly pauses: Pauses;

  /**
   * Stores all deliveries in one step, in their order. Resolves with those that found no room, which only a bounded
   * outbox in memory rejects; the others are stored.
   *
   * The same step removes the entries of `captured` from the deadline index, unless they have another deadline by
   * now: a delivery is stored if, and only if, its expiration is captured.
   *
   * A rejection does not say whether the deliveries were stored. The caller repeats the call with the same `batch`
   * before it begins the writer's next one: stored deliveries are not stored again, even if they have been settled
   * meanwhile. Without a batch, the call cannot be repeated. Rejects with FencedError when another replica holds the
   * lease, or this one under another token than when the batch began.
   */
  enqueue(
    deliveries: readonly Delivery[],
    captured?: readonly CapturedExpiration[],
    batch?: Batch,
  ): Promise<readonly Delivery[]>;

  /** Begins a writer's next batch; throws FencedError when another replica holds the lease. */
  beginBatch(writer: Writer): Batch;

  /**
   * Claims up to `countMax` ready deliveries of an endpoint, oldest first. The attempts are counted before the call
   * returns, so that a delivery that crashes the relay runs out of attempts. Waits until a delivery is ready and while
   * the endpoint is throttled or paused; resolves with none when the signal aborts. Due retries fill the places that fresh
   * deliveries leave, and at least a quarter of all: neither starves the other. No delivery is claimed twice at the
   * same time. Safe to call concurrently.
   */
  claim(endpoint: string, countMax: number, signal: AbortSignal): Promise<readonly Claimed[]>;

  /**
   * Ends claims of one endpoint in one step, because the endpoint has accepted their webhooks. The claims are then
   * void. A rejection does not say whether the result was stored: repeat the call. Settling a void claim changes
   * nothing.
   */
  settleDone(claims: readonly Claimed[]): Promise<void>;

  /**
   * Ends a claim whose attempt failed or was not made; otherwise like `settleDone`. `retryAfterMs` other than 0
   * throttles the endpoint in all replicas, until the latest time that it has asked for by `Retry-After`. Replaying one
   * of its dead letters ends the throttling, and so does a dead letter with the reason `gone`. A failed attempt enters
   * the history, which its dead letter keeps.
   */
  settle(claimed: Claimed, disposition: FailureDisposition, retryAfterMs: number): Promise<void>;

  /** Returns a claim whose attempt was not made: the delivery is ready at once, and the attempt does not count. */
  release(claimed: Claimed): Promise<void>;

  /** Forgets that the endpoint has answered 410 to this replica: its dead letters may be replayed. May be repeated. */
  forgetGone(endpoint: string): Promise<void>;

  depth(endpoint: string): Promise<Depth>;

  /**
   * Ends every wait; afterwards nothing can be enqueued or claimed. Resolves with the pending deliveries that
   * are lost: none if they outlive the process. Idempotent.
   */
  close(): Promise<readonly Delivery[]>;
}

/** The dead letters. Each keeps its id and body. */
export interface DeadLetters {
  /** The dead letters of an endpoint, oldest first. */
  list(endpoint: string): AsyncIterable<DeadLetter>;

  /** Makes a dead letter ready again, as if never attempted: without its history. False: no such dead letter. */
  replay(endpoint: string, id: string): Promise<boolean>;

  /** Deletes a dead letter permanently. False: no such dead letter. */
  drop(endpoint: string, id: string): Promise<boolean>;
}

/** Lengths of the texts of a pause, in characters. */
export const PAUSED_BY_CHARS_MAX = 200;
export const PAUSE_REASON_CHARS_MAX = 500;

/** A paused endpoint gets no webhooks from any replica until it is resumed. Attempts in flight end as usual. */
export interface Pauses {
  /** Pauses an endpoint. False: it was paused already, and keeps its first pause. */
  pause(endpoint: string, pause: Pick<Pause, 'by' | 'reason'>): Promise<boolean>;

  /** False: it was not paused. */
  resume(endpoint: string): Promise<boolean>;
}
