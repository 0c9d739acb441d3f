/**
 * The contract of the outbox: what keeps each delivery from the moment it is captured until it is
 * done or dead. Every implementation passes the one suite in test/outbox/outbox.contract.ts.
 *
 * A delivery is in exactly one place:
 *
 *   enqueue ──▶ ready ──claim──▶ claimed ──settle──▶ done (forgotten)
 *                 ▲                │ │ └──settle──▶ dead letter ──drop──▶ (forgotten)
 *                 │◀───release─────┘ └──settle──▶ waiting until notBeforeMs
 *                 ├◀──stage (the outbox itself, when a wait is over)──┘
 *                 └◀──replay (of a dead letter)
 */
import type { ConsumedDeadline, DeadLetter, Delivery, Disposition } from '../model/vocabulary.js';

/** A `Retry-After` beyond this is cut: a receiver's slip must not silence an endpoint for days. */
export const RETRY_AFTER_MS_MAX = 60 * 60 * 1000;

/** A delivery that this replica holds, for one attempt. */
export interface Claimed {
  readonly delivery: Delivery;
  /** The number of the attempt that this claim is for; 1 is the first. */
  readonly attempt: number;
  /** Whether it was a dead letter, and has not been attempted since. */
  readonly isReplay: boolean;
}

/** How much an endpoint has in the outbox. */
export interface Depth {
  /** Ready, waiting or claimed. */
  readonly pending: number;
  /** For how long the oldest delivery that is due has been due; null when none is. */
  readonly oldestDueForMs: number | null;
  readonly deadLetters: number;
  /** How much longer the endpoint is throttled; 0: it is not. */
  readonly throttledForMs: number;
}

/** Who stores deliveries, one batch after another. */
export type Writer = 'plain' | 'carrying';

/** What tells the repeat of an enqueue from the next one. */
export interface Batch {
  readonly writer: Writer;
  /** The lease's. */
  readonly token: string;
  /** Larger than that of each earlier batch of the writer under the same token. */
  readonly number: number;
}

export interface Outbox {
  /** Whether what it holds outlives this process. If not, a stop delivers what it can first. */
  readonly durable: boolean;

  /** What was given up. */
  readonly dead: DeadLetters;

  /**
   * Stores all of them in one step, in their order. Resolves with the deliveries that found no room, which
   * only a bounded outbox in memory ever refuses; the others are kept from then on.
   *
   * In the same step the entries of `claimed` leave the index of deadlines, unless they have got
   * another deadline since: a delivery is stored if, and only if, its expiration is claimed.
   *
   * A rejection does not say whether they were stored. The caller repeats the call with the same `batch`, before
   * it begins another one of that writer: what was stored is not stored again, even where deliveries have
   * been settled meanwhile. Without a batch, the call cannot be repeated. Rejects with FencedError when another
   * replica holds the lease, or this one under another token than when the batch began.
   */
  enqueue(
    deliveries: readonly Delivery[],
    claimed?: readonly ConsumedDeadline[],
    batch?: Batch,
  ): Promise<readonly Delivery[]>;

  /** Begins the next batch of a writer; throws FencedError when another replica holds the lease. */
  beginBatch(writer: Writer): Batch;

  /**
   * Takes up to `countMax` ready deliveries of an endpoint, oldest first, and counts the attempt
   * before it returns, so that a crash in the middle of one cannot repeat it for ever. Waits until
   * there is at least one, and while the endpoint is throttled; resolves empty when
   * the signal aborts. Due retries join the ready ones as fast as places are left, and for a quarter
   * of the places at least: neither they nor fresh deliveries starve the others. No delivery is
   * claimed twice at the same time. Safe to call concurrently.
   */
  claim(endpoint: string, countMax: number, signal: AbortSignal): Promise<readonly Claimed[]>;

  /**
   * Ends a claim: one step, after which the claim is void. May be repeated after a rejection, which
   * says nothing about what was stored; a void claim changes nothing. Where `retryAfterMs` is not 0,
   * the endpoint has asked by `Retry-After` to be sent nothing for so long: it is throttled in all
   * replicas, until the latest time that it has asked for. A replay of one of its dead letters ends that,
   * and so does a dead letter with the reason `gone`.
   */
  settle(claimed: Claimed, disposition: Disposition, retryAfterMs: number): Promise<void>;

  /** Hands back a claim whose attempt was not made: ready again at once, the attempt not counted. */
  release(claimed: Claimed): Promise<void>;

  depth(endpoint: string): Promise<Depth>;

  /**
   * Ends every wait; nothing can be enqueued or claimed afterwards. Resolves with the deliveries
   * that end with it, neither done nor dead: none where they outlive the process. Idempotent.
   */
  close(): Promise<readonly Delivery[]>;
}

/** The dead letters; each keeps its id and body. */
export interface DeadLetters {
  /** Those of an endpoint, oldest first. */
  list(endpoint: string): AsyncIterable<DeadLetter>;

  /** Makes one ready again, as if never attempted. False: no such dead letter. */
  replay(endpoint: string, id: string): Promise<boolean>;

  /** Forgets one for ever. False: no such dead letter. */
  drop(endpoint: string, id: string): Promise<boolean>;
}
