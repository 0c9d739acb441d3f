/**
 * Claims from the ready streams, and tracks the claims that this replica holds. A reply to a claim may be lost, and a
 * server may still list claims that were settled (after a failover, or a restart with older data). Therefore, after a
 * failure, on each new connection and at intervals, claims in the stream that this replica does not know are released.
 * The interval is for claims sent on an abandoned connection, which may arrive when the network recovers.
 */
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../model/errors.js';
import { endpointKeys, quarantineKey, replicasKey } from '../state/format.js';
import { unpackDelivery } from '../state/packing.js';
import type { Suspect } from '../state/quarantine.js';
import type { RedisState } from '../state/redis-state.js';
import type { Claimed } from './outbox.js';
import { RetryShare } from './retry-share.js';
import { MET_FOREIGN, PAUSED } from './scripts/deliveries.js';
import type { OutboxScripts } from './scripts/scripts.js';

/** How often claims are checked although nothing has failed. */
const ASK_EVERY_MS = 10_000;

/**
 * The minimum number of entries claimed after a claim that met foreign ones (written by no relay): thousands of them
 * must not hold up the others, however few places there are.
 */
const CLAIMED_BEHIND_FOREIGN = 100;

/** Claims that one script examines: a few milliseconds' work for Redis. */
const RELEASE_BATCH = 200;

export interface ClaimerParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  /** This replica's name, unique among replicas. */
  readonly replica: string;
  readonly clock: Clock;
  /** Called when a claim finds that an endpoint was paused, and when one finds that it was resumed. */
  readonly onPaused: (endpoint: string, isPaused: boolean) => void;
}

/** A claim and its entry in the stream. */
export interface RedisClaimed extends Claimed {
  readonly entry: string;
}

export interface ClaimReply {
  readonly claims: readonly RedisClaimed[];
  /**
   * Milliseconds until the result may change by itself: a retry is due, or throttling ends. 0: foreign entries took
   * places. Infinity: it will not change.
   */
  readonly nextInMs: number;
}

/** The claims of one endpoint. */
interface Inflight {
  /** The entries of claims that are not settled or released yet. */
  readonly held: Set<string>;
  /** When the stream was last checked, by the monotonic clock. */
  askedAtMs: number;
  readonly retryShare: RetryShare;
  /** Whether the last claim met foreign entries. */
  hasMetForeign: boolean;
  /** Whether the endpoint was paused at the last claim. */
  isPaused: boolean;
  /** The connection on which all claims are known; null: the stream may list claims that this replica does not know. */
  verifiedOn: number | null;
  /** The previous claim. Claims run one at a time: with two, a lost reply could not be attributed. */
  last: Promise<unknown>;
}

export class Claimer {
  readonly #state: RedisState;
  readonly #scripts: OutboxScripts;
  readonly #replica: string;
  readonly #clock: Clock;
  readonly #onPaused: ClaimerParts['onPaused'];
  readonly #inflight = new Map<string, Inflight>();

  constructor({ state, scripts, replica, clock, onPaused }: ClaimerParts) {
    this.#state = state;
    this.#scripts = scripts;
    this.#replica = replica;
    this.#clock = clock;
    this.#onPaused = onPaused;
  }

  /** Claims up to `countMax` ready deliveries; rejects when Redis does. */
  claim(endpoint: string, countMax: number): Promise<ClaimReply> {
    const inflight = this.#inflightOf(endpoint);
    const reply = inflight.last.then(() => this.#claim(endpoint, countMax, inflight));
    inflight.last = reply.catch(() => undefined);
    return reply;
  }

  /** The number of claims that this replica knows. */
  heldCount(endpoint: string): number {
    return this.#inflightOf(endpoint).held.size;
  }

  /** Forgets a claim that has been settled or released. */
  forget({ delivery, entry }: RedisClaimed): void {
    this.#inflightOf(delivery.endpoint).held.delete(entry);
  }

  async #claim(endpoint: string, countMax: number, inflight: Inflight): Promise<ClaimReply> {
    const { prefix, connections } = this.#state;
    const { ready, deliveries, waiting, throttle, waits } = endpointKeys(prefix, endpoint);
    const nowMs = this.#clock.monotonicMs();
    const isSure = inflight.verifiedOn === connections && nowMs - inflight.askedAtMs < ASK_EVERY_MS;
    inflight.verifiedOn = null;
    if (!isSure) {
      await this.#releaseUnknown(ready, inflight.held);
      inflight.askedAtMs = nowMs;
    }
    const count = inflight.hasMetForeign ? Math.max(countMax, CLAIMED_BEHIND_FOREIGN) : countMax;
    const reply = await this.#scripts.claim(
      [ready, deliveries, waiting, throttle, replicasKey(prefix), waits, quarantineKey(prefix)],
      [this.#replica, count, inflight.retryShare.share(countMax)],
    );
    inflight.verifiedOn = connections;
    const [nextInMs, ...parts] = reply as [number, ...Buffer[]];
    const isPaused = nextInMs === PAUSED;
    if (isPaused !== inflight.isPaused) this.#onPaused(endpoint, isPaused);
    inflight.isPaused = isPaused;
    const claims: RedisClaimed[] = [];
    const suspects: Suspect[] = [];
    for (let at = 0; at + 1 < parts.length; at += 2) {
      const [head, packed] = parts.slice(at, at + 2) as [Buffer, Buffer];
      // Latin-1 keeps the bytes of an id that no relay has written.
      const [entry = '', attempts, replayed, ...rest] = head.toString('latin1').split(' ');
      const id = rest.join(' ');
      try {
        claims.push({
          delivery: unpackDelivery(packed, { endpoint, id }),
          attempt: Number(attempts) + 1,
          isReplay: replayed === '1',
          entry,
        });
      } catch (error) {
        const related = { key: ready, kind: 'entry', name: Buffer.from(entry) } as const;
        const name = Buffer.from(id, 'latin1');
        const read = { key: deliveries, kind: 'field', name, value: packed } as const;
        suspects.push({ ...read, reason: messageOf(error), related });
      }
    }
    const excess = claims.splice(countMax);
    for (const { entry } of claims) inflight.held.add(entry);
    if (suspects.length > 0) await this.#setAside(suspects, inflight);
    if (excess.length > 0) await this.#releaseUnknown(ready, inflight.held);
    inflight.hasMetForeign = suspects.length > 0 || nextInMs === MET_FOREIGN;
    if (inflight.hasMetForeign) return { claims, nextInMs: 0 };
    return { claims, nextInMs: nextInMs < 0 ? Number.POSITIVE_INFINITY : nextInMs };
  }

  /** Releases the claims that the stream lists for this replica and that it does not know. */
  async #releaseUnknown(ready: string, held: ReadonlySet<string>): Promise<void> {
    for (let from = '-'; from !== ''; ) {
      const args = [this.#replica, from, RELEASE_BATCH, ...held];
      from = String(await this.#scripts.releaseUnknown([ready], args));
    }
  }

  /** Moves unreadable deliveries to the quarantine. On failure, their claims are released and claimed again. */
  async #setAside(suspects: readonly Suspect[], inflight: Inflight): Promise<void> {
    try {
      await this.#state.setAside('claim', suspects);
    } catch {
      inflight.verifiedOn = null;
    }
  }

  #inflightOf(endpoint: string): Inflight {
    let inflight = this.#inflight.get(endpoint);
    if (inflight === undefined) {
      inflight = {
        held: new Set(),
        askedAtMs: Number.NEGATIVE_INFINITY,
        retryShare: new RetryShare(),
        hasMetForeign: false,
        isPaused: false,
        verifiedOn: null,
        last: Promise.resolve(),
      };
      this.#inflight.set(endpoint, inflight);
    }
    return inflight;
  }
}
