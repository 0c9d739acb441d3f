/**
 * Claims from the ready streams, and knows which claims this replica holds. The reply to a claim
 * may be lost, and a server that has just come back may know of claims that this replica has
 * settled long ago (after a failover, or a restart with older data); so after a failure, and on
 * each new connection, the stream is asked what this replica is said to hold, and what it does not
 * know of goes back. Now and then, too: a claim that was sent on a connection which is long given up
 * may still arrive, when the network comes back.
 */
import type { Clock } from '../clock.js';
import { endpointKeys, replicasKey, unpackDelivery } from '../state/format.js';
import type { RedisState } from '../state/redis-state.js';
import type { Delivery } from '../vocabulary.js';
import type { Claimed } from './outbox.js';
import { RetryShare } from './retry-share.js';
import type { OutboxScripts } from './scripts/scripts.js';

/** How often the stream is asked although nothing has failed. */
const ASK_EVERY_MS = 10_000;

/** Claims that one script looks at: two milliseconds' work for Redis at most. */
const GIVE_BACK_BATCH = 500;

export interface ClaimerParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  /** This replica's name, unlike any other's. */
  readonly replica: string;
  readonly clock: Clock;
  /** Told of a delivery that cannot be read: somebody else has written it. */
  readonly onUnreadable: (endpoint: string, error: unknown) => void;
}

/** A claim and where it stands in the stream. */
export interface RedisClaimed extends Claimed {
  readonly entry: string;
}

export interface ClaimReply {
  readonly claims: readonly RedisClaimed[];
  /** When something changes by itself: a retry is due, a pause over; infinite when nothing will. */
  readonly nextInMs: number;
}

/** What the script returns of each claim. */
type Four = [entry: Buffer, attempts: Buffer, replayed: Buffer, packed: Buffer];

/** One endpoint's claims. */
interface Holding {
  /** The entries of the claims that it has, and has not ended. */
  readonly held: Set<string>;
  /** When the stream was last asked, by the monotonic clock. */
  askedAtMs: number;
  readonly retryShare: RetryShare;
  /** On which connection all claims are known; null when more may be ours than we know of. */
  sureOn: number | null;
  /** The claim before: two at a time could not tell whose reply was lost. */
  last: Promise<unknown>;
}

export class Claimer {
  readonly #state: RedisState;
  readonly #scripts: OutboxScripts;
  readonly #replica: string;
  readonly #clock: Clock;
  readonly #onUnreadable: ClaimerParts['onUnreadable'];
  readonly #holdings = new Map<string, Holding>();

  constructor({ state, scripts, replica, clock, onUnreadable }: ClaimerParts) {
    this.#state = state;
    this.#scripts = scripts;
    this.#replica = replica;
    this.#clock = clock;
    this.#onUnreadable = onUnreadable;
  }

  /** What is ready now, up to `countMax`; rejects when Redis does. */
  claim(endpoint: string, countMax: number): Promise<ClaimReply> {
    const holding = this.#holding(endpoint);
    const reply = holding.last.then(() => this.#claim(endpoint, countMax, holding));
    holding.last = reply.catch(() => undefined);
    return reply;
  }

  /** The claim has been settled or released. */
  ended({ delivery, entry }: RedisClaimed): void {
    this.#holding(delivery.endpoint).held.delete(entry);
  }

  async #claim(endpoint: string, countMax: number, holding: Holding): Promise<ClaimReply> {
    const { prefix, connections } = this.#state;
    const { ready, deliveries, waiting, breaker, waits } = endpointKeys(prefix, endpoint);
    const nowMs = this.#clock.monotonicMs();
    const isSure = holding.sureOn === connections && nowMs - holding.askedAtMs < ASK_EVERY_MS;
    holding.sureOn = null;
    if (!isSure) {
      await this.#giveBack(ready, holding.held);
      holding.askedAtMs = nowMs;
    }
    const reply = await this.#scripts.claim(
      [ready, deliveries, waiting, breaker, replicasKey(prefix), waits],
      [this.#replica, countMax, holding.retryShare.of(countMax)],
    );
    holding.sureOn = connections;
    const [nextInMs, ...parts] = reply as [number, ...Buffer[]];
    const claims: RedisClaimed[] = [];
    for (let at = 0; at + 3 < parts.length; at += 4) {
      const [entry, attempts, replayed, packed] = parts.slice(at, at + 4) as Four;
      holding.held.add(entry.toString());
      const delivery = this.#unpacked(endpoint, packed);
      if (delivery === null) continue;
      claims.push({
        delivery,
        attempt: Number(attempts.toString()) + 1,
        isReplay: replayed.length > 0,
        entry: entry.toString(),
      });
    }
    return { claims, nextInMs: nextInMs < 0 ? Number.POSITIVE_INFINITY : nextInMs };
  }

  /** Gives back the claims that this replica is said to hold, and does not know of. */
  async #giveBack(ready: string, held: ReadonlySet<string>): Promise<void> {
    for (let from = '-'; from !== ''; ) {
      const args = [this.#replica, from, GIVE_BACK_BATCH, ...held];
      from = String(await this.#scripts.giveBack([ready], args));
    }
  }

  /** Null for what no relay has written: it stays where it is, and holds up nothing else. */
  #unpacked(endpoint: string, packed: Buffer): Delivery | null {
    try {
      return unpackDelivery(packed);
    } catch (error) {
      this.#onUnreadable(endpoint, error);
      return null;
    }
  }

  #holding(endpoint: string): Holding {
    let holding = this.#holdings.get(endpoint);
    if (holding === undefined) {
      holding = {
        held: new Set(),
        askedAtMs: Number.NEGATIVE_INFINITY,
        retryShare: new RetryShare(),
        sureOn: null,
        last: Promise.resolve(),
      };
      this.#holdings.set(endpoint, holding);
    }
    return holding;
  }
}
