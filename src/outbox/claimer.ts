/**
 * Claims from the ready streams, and knows which claims this replica holds. The reply to a claim
 * may be lost, and a server that has just come back may know of claims that this replica has
 * settled long ago (after a failover, or a restart with older data); so after a failure, and on
 * each new connection, the stream is asked what this replica is said to hold, and what it does not
 * know of goes back. Now and then, too: a claim that was sent on a connection which is long given up
 * may still arrive, when the network comes back.
 */
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../model/errors.js';
import { endpointKeys, quarantineKey, replicasKey } from '../state/format.js';
import { unpackDelivery } from '../state/packing.js';
import type { Suspect } from '../state/quarantine.js';
import type { RedisState } from '../state/redis-state.js';
import type { Claimed } from './outbox.js';
import { RetryShare } from './retry-share.js';
import { MET_FOREIGN } from './scripts/deliveries.js';
import type { OutboxScripts } from './scripts/scripts.js';

/** How often the stream is asked although nothing has failed. */
const ASK_EVERY_MS = 10_000;

/**
 * Entries that are claimed at least after a claim that met some that no relay has written: thousands of them must
 * not hold up the others, however few of these there is room for.
 */
const CLAIMED_BEHIND_FOREIGN = 100;

/** Claims that one script looks at: two milliseconds' work for Redis at most. */
const GIVE_BACK_BATCH = 500;

export interface ClaimerParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  /** This replica's name, unlike any other's. */
  readonly replica: string;
  readonly clock: Clock;
}

/** A claim and where it stands in the stream. */
export interface RedisClaimed extends Claimed {
  readonly entry: string;
}

export interface ClaimReply {
  readonly claims: readonly RedisClaimed[];
  /**
   * When something changes by itself: a retry is due, the endpoint throttled no longer; 0 when entries that no relay has written
   * took places; infinite when nothing will.
   */
  readonly nextInMs: number;
}

/** What the script returns of each claim. */
type Five = [entry: Buffer, attempts: Buffer, replayed: Buffer, id: Buffer, packed: Buffer];

/** One endpoint's claims. */
interface Holding {
  /** The entries of the claims that it has, and has not ended. */
  readonly held: Set<string>;
  /** When the stream was last asked, by the monotonic clock. */
  askedAtMs: number;
  readonly retryShare: RetryShare;
  /** Whether the last claim met entries that no relay has written. */
  hasMetForeign: boolean;
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
  readonly #holdings = new Map<string, Holding>();

  constructor({ state, scripts, replica, clock }: ClaimerParts) {
    this.#state = state;
    this.#scripts = scripts;
    this.#replica = replica;
    this.#clock = clock;
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
    const { ready, deliveries, waiting, throttle, waits } = endpointKeys(prefix, endpoint);
    const nowMs = this.#clock.monotonicMs();
    const isSure = holding.sureOn === connections && nowMs - holding.askedAtMs < ASK_EVERY_MS;
    holding.sureOn = null;
    if (!isSure) {
      await this.#giveBack(ready, holding.held);
      holding.askedAtMs = nowMs;
    }
    const count = holding.hasMetForeign ? Math.max(countMax, CLAIMED_BEHIND_FOREIGN) : countMax;
    const reply = await this.#scripts.claim(
      [ready, deliveries, waiting, throttle, replicasKey(prefix), waits, quarantineKey(prefix)],
      [this.#replica, count, holding.retryShare.share(countMax)],
    );
    holding.sureOn = connections;
    const [nextInMs, ...parts] = reply as [number, ...Buffer[]];
    const claims: RedisClaimed[] = [];
    const suspects: Suspect[] = [];
    for (let at = 0; at + 4 < parts.length; at += 5) {
      const [entry, attempts, replayed, id, packed] = parts.slice(at, at + 5) as Five;
      try {
        claims.push({
          delivery: unpackDelivery(packed, { endpoint, id: id.toString() }),
          attempt: Number(attempts.toString()) + 1,
          isReplay: replayed.length > 0,
          entry: entry.toString(),
        });
      } catch (error) {
        const related = { key: ready, kind: 'entry', name: entry } as const;
        const read = { key: deliveries, kind: 'field', name: id, value: packed } as const;
        suspects.push({ ...read, why: messageOf(error), related });
      }
    }
    const excess = claims.splice(countMax);
    for (const { entry } of claims) holding.held.add(entry);
    if (suspects.length > 0) await this.#setAside(suspects, holding);
    if (excess.length > 0) await this.#giveBack(ready, holding.held);
    holding.hasMetForeign = suspects.length > 0 || nextInMs === MET_FOREIGN;
    if (holding.hasMetForeign) return { claims, nextInMs: 0 };
    return { claims, nextInMs: nextInMs < 0 ? Number.POSITIVE_INFINITY : nextInMs };
  }

  /** Gives back the claims that this replica is said to hold, and does not know of. */
  async #giveBack(ready: string, held: ReadonlySet<string>): Promise<void> {
    for (let from = '-'; from !== ''; ) {
      const args = [this.#replica, from, GIVE_BACK_BATCH, ...held];
      from = String(await this.#scripts.giveBack([ready], args));
    }
  }

  /** They are claimed, and not held: should it fail, they go back, and are claimed again. */
  async #setAside(suspects: readonly Suspect[], holding: Holding): Promise<void> {
    try {
      await this.#state.setAside('claim', suspects);
    } catch {
      holding.sureOn = null;
    }
  }

  #holding(endpoint: string): Holding {
    let holding = this.#holdings.get(endpoint);
    if (holding === undefined) {
      holding = {
        held: new Set(),
        askedAtMs: Number.NEGATIVE_INFINITY,
        retryShare: new RetryShare(),
        hasMetForeign: false,
        sureOn: null,
        last: Promise.resolve(),
      };
      this.#holdings.set(endpoint, holding);
    }
    return holding;
  }
}
