/**
 * Proves that notifications flow on a connection: a key with a short life is written, touched just
 * after its deadline, and must be heard to expire. No setting is trusted instead, since a server
 * can hide its settings, lose them, or lose the connection without a word.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';
import type { KeyEvent } from '../model/vocabulary.js';
import { refusalText } from '../redis/client.js';
import { isNoDatabase, isRefusal } from '../redis/refusal.js';

/** The canary key's life. */
const CANARY_LIFE_MS = 100;

/**
 * How long before the deadline it is asked whether the key is still there. The last look leaves
 * little time for an unseen removal; the first may be in time when a busy process is late with it.
 */
const LOOKS_BEFORE_DEADLINE_MS = [20, 5] as const;

/** Redis expires a key when now is strictly later than the deadline. */
const NUDGE_AFTER_MS = CANARY_LIFE_MS + 2;

/** How long an expiration may take to be heard: a busy server, or a busy relay, is behind. */
const HEARD_MS_MAX = 3_000;

/** The same when the key was seen to be gone early: only a look that came late can be wrong. */
const HEARD_WHEN_REMOVED_MS_MAX = 500;

const POLL_EVERY_MS = 25;

/** One flush hits one try; what hits three in a row goes on. */
const TRIES_MAX = 3;

export type CanaryResult =
  /** `hearsChanges`: that it was given a TTL was heard before (class g), on the same connection. */
  | { readonly kind: 'heard'; readonly lagMs: number; readonly hearsChanges: boolean }
  /** The canary was not heard in time, but another key of its database was. */
  | { readonly kind: 'flowing' }
  /** Each time somebody took the key before its deadline, so nothing is shown either way. */
  | { readonly kind: 'removed' }
  /** The same, and the server said so: notifications flow, though nothing is shown of expirations. */
  | { readonly kind: 'evicted' }
  | { readonly kind: 'lost' }
  /**
   * There is nothing to hear: the server does not let us write, at all (`isForbidden`), or as it is now.
   */
  | { readonly kind: 'unwritable'; readonly reason: string; readonly isForbidden: boolean }
  /** The server has fewer databases. */
  | { readonly kind: 'no_database' };

/**
 * What became of a key that nobody heard. `unheard`: it was there shortly before its deadline.
 * `removed`: it was not. `unknown`: the look came too late to tell.
 */
export type Fate = 'unheard' | 'removed' | 'unknown';

/** One key, from its writing on, and what was heard since. */
interface Try {
  readonly database: number;
  readonly key: Buffer;
  heardAtMs: number | null;
  changeHeard: boolean;
  removalHeard: boolean;
  othersHeard: boolean;
}

/** Between these two, by the monotonic clock, the server wrote the key. */
interface Written {
  readonly kind: 'written';
  readonly sentAtMs: number;
  readonly repliedAtMs: number;
}

export class Canary {
  readonly #redis: Redis;
  readonly #clock: Clock;
  readonly #ownPrefix: string;
  readonly #token: string;
  #tries = 0;
  #current: Try | null = null;

  /** Its keys begin with `ownPrefix`; `token` tells this connection's canary from every other's. */
  constructor(redis: Redis, clock: Clock, ownPrefix: string, token: string) {
    this.#ownPrefix = ownPrefix;
    this.#redis = redis;
    this.#clock = clock;
    this.#token = token;
  }

  /** To be told of every notification: others' keys prove that notifications flow, too. */
  notified(database: number, key: Buffer, kind: KeyEvent['kind']): void {
    const current = this.#current;
    if (current?.database !== database) return;
    const isOurs = current.key.equals(key);
    if (kind === 'changed') current.changeHeard ||= isOurs;
    else if (kind === 'removed') current.removalHeard ||= isOurs;
    else if (kind === 'created') return;
    else if (isOurs) current.heardAtMs = this.#clock.monotonicMs();
    else current.othersHeard = true;
  }

  /**
   * One proof in one database, within some ten seconds of waiting. Rejects only when the
   * connection does, or the signal aborts. Not to be called again before the last call has ended.
   */
  async prove(database: number, signal: AbortSignal): Promise<CanaryResult> {
    const fates: Fate[] = [];
    let isHeard = false;
    while (fates.length < TRIES_MAX) {
      const result = await this.#tryOnce(database, signal);
      if (typeof result !== 'string') return result;
      fates.push(result);
      isHeard ||= this.#current?.removalHeard === true;
    }
    const result = verdict(fates);
    return result.kind === 'removed' && isHeard ? { kind: 'evicted' } : result;
  }

  async #tryOnce(database: number, signal: AbortSignal): Promise<CanaryResult | Fate> {
    const clock = this.#clock;
    // A key of its own for each try: the last one's may yet be heard.
    this.#tries += 1;
    const key = Buffer.from(`${this.#ownPrefix}canary:${this.#token}:${this.#tries}`);
    const current: Try = {
      database,
      key,
      heardAtMs: null,
      changeHeard: false,
      removalHeard: false,
      othersHeard: false,
    };
    this.#current = current;
    const written = await this.#write(current);
    if (written.kind !== 'written') return written;
    const fate = await this.#fateBeforeDeadline(current, written, signal);
    await clock.sleep(written.repliedAtMs + NUDGE_AFTER_MS - clock.monotonicMs(), signal);
    const heardMsMax = fate === 'removed' ? HEARD_WHEN_REMOVED_MS_MAX : HEARD_MS_MAX;
    const untilMs = clock.monotonicMs() + heardMsMax;
    do {
      signal.throwIfAborted();
      // Each time, since a nudge does nothing as long as CLIENT PAUSE keeps keys from expiring.
      await this.#exists(current);
      await clock.sleep(POLL_EVERY_MS, signal);
      // A key that was removed does not expire any more.
    } while (current.heardAtMs === null && !current.removalHeard && clock.monotonicMs() < untilMs);
    if (current.heardAtMs !== null) {
      const lagMs = Math.max(0, current.heardAtMs - written.repliedAtMs - CANARY_LIFE_MS);
      return { kind: 'heard', lagMs, hearsChanges: current.changeHeard };
    }
    signal.throwIfAborted();
    if (current.othersHeard) return { kind: 'flowing' };
    return current.removalHeard ? 'removed' : fate;
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

  /** What becomes of the key if it is not heard. */
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
      // From command to command we may be late, from reply to reply the server may.
      const ageMs = Math.max(askedAtMs - sentAtMs, clock.monotonicMs() - repliedAtMs);
      if (exists === true) fate = 'unheard';
      else if (exists === false && ageMs < CANARY_LIFE_MS) return 'removed';
    }
    return fate;
  }

  /** Makes the server expire the key if its time has come. Null when the server does not say. */
  async #exists({ database, key }: Try): Promise<boolean | null> {
    const replies = await this.#redis.pipeline().select(database).exists(key).exec();
    const refusal = replies?.find(([error]) => error !== null)?.[0];
    if (refusal && this.#redis.status !== 'ready') throw refusal;
    return refusal ? null : replies?.[1]?.[1] === 1;
  }
}

/** What tries show of which none was heard. Pure. */
export function verdict(fates: readonly Fate[]): CanaryResult {
  const onlyRemoved = fates.includes('removed') && !fates.includes('unheard');
  return { kind: onlyRemoved ? 'removed' : 'lost' };
}
