/**
 * Proves that notifications arrive on a connection: writes a key with a short TTL, reads it just after its deadline,
 * and expects its `expired` event. Settings are no proof: a server can hide or lose them, or silently lose the
 * connection.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';
import type { KeyEvent } from '../model/vocabulary.js';
import { refusalText } from '../redis/client.js';
import { isNoDatabase, isRefusal } from '../redis/refusal.js';

/** The canary key's TTL. */
const CANARY_LIFE_MS = 100;

/**
 * How long before the deadline the key's existence is checked. The last check leaves little time for an unseen removal;
 * the first may be in time if a busy process is late with it.
 */
const LOOKS_BEFORE_DEADLINE_MS = [20, 5] as const;

/** Redis expires a key when the time is strictly later than the deadline. */
const NUDGE_AFTER_MS = CANARY_LIFE_MS + 2;

/** How long an `expired` event may take: the server or the relay may be busy. */
const RECEIVED_MS_MAX = 3_000;

/** The limit if the key was seen missing early, which is wrong only if that check came late. */
const RECEIVED_WHEN_REMOVED_MS_MAX = 500;

const POLL_EVERY_MS = 25;

/** A single flush affects one try; a cause that affects three in a row persists. */
const TRIES_MAX = 3;

export type CanaryResult =
  /** `receivesChanges`: the event of the key's TTL was received, too (class g). */
  | { readonly kind: 'received'; readonly lagMs: number; readonly receivesChanges: boolean }
  /** The canary's event did not arrive in time, but another key's did. */
  | { readonly kind: 'flowing' }
  /** Another client removed the key before its deadline each time: the result is unknown. */
  | { readonly kind: 'removed' }
  /** Another client removed the key each time, and that event arrived; nothing is known about expirations. */
  | { readonly kind: 'evicted' }
  | { readonly kind: 'lost' }
  /** The server rejects the key, permanently (`isForbidden`) or in its present condition. */
  | { readonly kind: 'unwritable'; readonly reason: string; readonly isForbidden: boolean }
  /** The server has fewer databases. */
  | { readonly kind: 'no_database' };

/**
 * The fate of a key without an `expired` event. `unpublished`: the key existed shortly before its deadline. `removed`: it
 * did not. `unknown`: the check came too late.
 */
export type Fate = 'unpublished' | 'removed' | 'unknown';

/** One try: a key and the events received since it was written. */
interface Try {
  readonly database: number;
  readonly key: Buffer;
  receivedAtMs: number | null;
  changeReceived: boolean;
  removalReceived: boolean;
  othersReceived: boolean;
}

/** The server wrote the key between these two monotonic times. */
interface Written {
  readonly kind: 'written';
  readonly sentAtMs: number;
  readonly repliedAtMs: number;
}

export class Canary {
  readonly #redis: Redis;
  readonly #clock: Clock;
  readonly #ownPrefix: () => string;
  readonly #token: string;
  #tries = 0;
  #current: Try | null = null;

  /** A canary's key begins with `ownPrefix`; `token` distinguishes this connection's canary from all others. */
  constructor(redis: Redis, clock: Clock, ownPrefix: () => string, token: string) {
    this.#ownPrefix = ownPrefix;
    this.#redis = redis;
    this.#clock = clock;
    this.#token = token;
  }

  /** Call for every notification: events of other keys prove that notifications arrive, too. */
  onNotification(database: number, key: Buffer, kind: KeyEvent['kind']): void {
    const current = this.#current;
    if (current?.database !== database) return;
    const isOurs = current.key.equals(key);
    if (kind === 'changed') current.changeReceived ||= isOurs;
    else if (kind === 'removed') current.removalReceived ||= isOurs;
    else if (kind === 'created') return;
    else if (isOurs) current.receivedAtMs = this.#clock.monotonicMs();
    else current.othersReceived = true;
  }

  /**
   * Runs the canary in one database, for at most some ten seconds of waiting. Rejects only when the connection fails,
   * or the signal aborts. Calls must not overlap.
   */
  async prove(database: number, signal: AbortSignal): Promise<CanaryResult> {
    const fates: Fate[] = [];
    let isRemovalReceived = false;
    while (fates.length < TRIES_MAX) {
      const result = await this.#tryOnce(database, signal);
      if (typeof result !== 'string') return result;
      fates.push(result);
      isRemovalReceived ||= this.#current?.removalReceived === true;
    }
    const result = verdict(fates);
    return result.kind === 'removed' && isRemovalReceived ? { kind: 'evicted' } : result;
  }

  async #tryOnce(database: number, signal: AbortSignal): Promise<CanaryResult | Fate> {
    const clock = this.#clock;
    // Each try uses its own key: the previous key's event may still arrive.
    this.#tries += 1;
    const key = Buffer.from(`${this.#ownPrefix()}canary:${this.#token}:${this.#tries}`);
    const current: Try = {
      database,
      key,
      receivedAtMs: null,
      changeReceived: false,
      removalReceived: false,
      othersReceived: false,
    };
    this.#current = current;
    const written = await this.#write(current);
    if (written.kind !== 'written') return written;
    const fate = await this.#fateBeforeDeadline(current, written, signal);
    await clock.sleep(written.repliedAtMs + NUDGE_AFTER_MS - clock.monotonicMs(), signal);
    const receivedMsMax = fate === 'removed' ? RECEIVED_WHEN_REMOVED_MS_MAX : RECEIVED_MS_MAX;
    const untilMs = clock.monotonicMs() + receivedMsMax;
    do {
      signal.throwIfAborted();
      // Repeated, since a nudge has no effect while CLIENT PAUSE keeps keys from expiring.
      await this.#exists(current);
      await clock.sleep(POLL_EVERY_MS, signal);
      // A removed key does not expire any more.
    } while (
      current.receivedAtMs === null &&
      !current.removalReceived &&
      clock.monotonicMs() < untilMs
    );
    if (current.receivedAtMs !== null) {
      const lagMs = Math.max(0, current.receivedAtMs - written.repliedAtMs - CANARY_LIFE_MS);
      return { kind: 'received', lagMs, receivesChanges: current.changeReceived };
    }
    signal.throwIfAborted();
    if (current.othersReceived) return { kind: 'flowing' };
    return current.removalReceived ? 'removed' : fate;
  }

  async #write({ database, key }: Try): Promise<Written | CanaryResult> {
    const redis = this.#redis;
    const sentAtMs = this.#clock.monotonicMs();
    const replies = await redis
      .pipeline()
      .select(database)
      .set(key, '', 'PX', CANARY_LIFE_MS)
      .exec();
    const refusal = replies?.find(([error]) => error !== null)?.[0];
    if (!refusal) return { kind: 'written', sentAtMs, repliedAtMs: this.#clock.monotonicMs() };
    if (redis.status !== 'ready' || refusal.message.startsWith('READONLY')) throw refusal;
    if (isNoDatabase(refusal)) return { kind: 'no_database' };
    const reason = refusalText(refusal.message);
    return { kind: 'unwritable', reason, isForbidden: isRefusal(refusal) };
  }

  /** The key's fate if its event does not arrive. */
  async #fateBeforeDeadline(
    current: Try,
    { sentAtMs, repliedAtMs }: Written,
    signal: AbortSignal,
  ): Promise<Fate> {
    const clock = this.#clock;
    let fate: Fate = 'unknown';
    for (const beforeMs of LOOKS_BEFORE_DEADLINE_MS) {
      const dueAtMs = sentAtMs + CANARY_LIFE_MS - beforeMs;
      await clock.sleep(dueAtMs - clock.monotonicMs(), signal);
      signal.throwIfAborted();
      const askedAtMs = clock.monotonicMs();
      const exists = await this.#exists(current);
      // The relay may be late between two commands, and the server between two replies.
      const ageMs = Math.max(askedAtMs - sentAtMs, clock.monotonicMs() - repliedAtMs);
      if (exists === true) fate = 'unpublished';
      else if (exists === false && ageMs < CANARY_LIFE_MS) return 'removed';
    }
    return fate;
  }

  /** Makes the server expire the key after its deadline. Null: the server does not allow EXISTS. */
  async #exists({ database, key }: Try): Promise<boolean | null> {
    const replies = await this.#redis.pipeline().select(database).exists(key).exec();
    const refusal = replies?.find(([error]) => error !== null)?.[0];
    if (refusal && this.#redis.status !== 'ready') throw refusal;
    return refusal ? null : replies?.[1]?.[1] === 1;
  }
}

/** The result of tries without an `expired` event. Pure. */
export function verdict(fates: readonly Fate[]): CanaryResult {
  const onlyRemoved = fates.includes('removed') && !fates.includes('unpublished');
  return { kind: onlyRemoved ? 'removed' : 'lost' };
}
