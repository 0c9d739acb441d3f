/**
 * The watch: of all replicas, one captures. It holds a lease in the state Redis, under a token that
 * is new each time; every script that captures checks the token, so that a replica which only stood
 * still, and does not know yet that it has lost the lease, changes nothing.
 */
import { Bell } from '../bell.js';
import { type Clock, untilAborted } from '../clock.js';
import { FencedError } from '../errors.js';
import { DEAD_AFTER_MS, replicasKey, watchKey } from './format.js';
import { ignoreTrouble, type RedisState } from './redis-state.js';
import { defineScripts, type Scripts } from './scripts.js';

/** A holder that is not heard of for so long has lost it. */
const LEASE_MS = 1_500;

/** How often the holder renews it, and the others look; these also when its time is over. */
const LOOK_EVERY_MS = 500;

/**
 * A replica that could capture only since then leaves a free lease to the others for a while, if
 * there are any: they have heard what happened since the last holder died, and look within half a
 * second. So has this one, if the holder was alive after that.
 */
const NEW_FOR_MS = 4_000;
const LEFT_TO_OTHERS_MS = 600;

/** What HOLD says, unless it is somebody else's: then, for how many milliseconds more. */
const HELD = -1;
const FREE = -2;

/**
 * KEYS: watch, replicas. ARGV: token, milliseconds, the replica's name, whether it takes a free lease
 * before others. Its first write is one that Redis allows at maxmemory.
 */
const HOLD = `local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[1])
  return left < 0 and ${LOOK_EVERY_MS} or left
end
if not holder and ARGV[4] == '0' then
  local time = redis.call('TIME')
  local heard = time[1] * 1000 - ${DEAD_AFTER_MS}
  for _, replica in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], heard, '+inf')) do
    if replica ~= ARGV[3] then return ${FREE} end
  end
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ${HELD}`;

/** KEYS: watch. ARGV: token. */
const LET_GO = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return redis.status_reply('OK')`;

const LEASE_SCRIPTS = { leaseHold: HOLD, leaseLetGo: LET_GO } as const;

/** Who captures. */
export interface Lease {
  /**
   * What the scripts that capture check; null while this replica does not hold it. It is held until
   * another replica is known to hold it: while the state Redis is away nobody can, and should it be
   * another's already, the scripts say so.
   */
  readonly token: string | null;
  /** Whether this replica could capture: one that does not listen leaves it to others. */
  want(isWanted: boolean): void;
  /** Resolves when it is held, or the signal aborts. */
  taken(signal: AbortSignal): Promise<void>;
  /** Resolves when it is held no longer, or the signal aborts. */
  lost(signal: AbortSignal): Promise<void>;
  /** Lets others have it at once, and takes it no more. */
  stop(): Promise<void>;
}

/** What a script is given that captures; throws FencedError where this replica does not hold it. */
export function tokenOf({ token }: Pick<Lease, 'token'>): string {
  if (token === null) throw new FencedError('another replica watches');
  return token;
}

/** For a state in memory: every replica watches for itself. */
export const ALWAYS_HELD: Lease = {
  token: '',
  want: () => undefined,
  taken: async () => undefined,
  lost: untilAborted,
  stop: async () => undefined,
};

export class RedisLease implements Lease {
  readonly #state: RedisState;
  readonly #scripts: Scripts<typeof LEASE_SCRIPTS>;
  readonly #replica: string;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  /** Rings when it is taken or lost. */
  readonly #bell = new Bell();
  /** Rings when it is to be looked at. */
  readonly #wake = new Bell();
  #token: string | null = null;
  #terms = 0;
  #isWanted = false;
  #wantedAtMs = 0;
  /** Whether somebody held it, alive, while this replica could have captured. */
  #hasMetHolder = false;
  /** Since when it has been seen to be free, and was left to others. */
  #freeAtMs: number | null = null;
  /** When it is to be looked at again at the latest. */
  #lookInMs = LOOK_EVERY_MS;
  #loop: Promise<void> = Promise.resolve();

  constructor(state: RedisState, replica: string, clock: Clock) {
    this.#state = state;
    this.#scripts = defineScripts(state.redis, LEASE_SCRIPTS);
    this.#replica = replica;
    this.#clock = clock;
  }

  get token(): string | null {
    return this.#token;
  }

  start(): void {
    this.#loop = this.#run();
  }

  want(isWanted: boolean): void {
    if (isWanted && !this.#isWanted) this.#wantedAtMs = this.#clock.monotonicMs();
    this.#isWanted = isWanted;
    this.#hasMetHolder = false;
    this.#freeAtMs = null;
    this.#wake.ring();
  }

  async taken(signal: AbortSignal): Promise<void> {
    while (this.token === null && !signal.aborted) await this.#bell.wait(this.#clock, null, signal);
  }

  async lost(signal: AbortSignal): Promise<void> {
    while (this.token !== null && !signal.aborted) await this.#bell.wait(this.#clock, null, signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await ignoreTrouble(() => this.#letGo());
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#lookInMs = LOOK_EVERY_MS;
      await ignoreTrouble(() => (this.#isWanted ? this.#look() : this.#letGo()));
      await this.#wake.wait(this.#clock, this.#lookInMs, signal);
    }
  }

  /** Takes it when nobody holds it; renews it when this replica does. */
  async #look(): Promise<void> {
    const held = this.#token;
    if (held === null) this.#terms += 1;
    const token = held ?? `${this.#replica}:${this.#terms}`;
    const key = watchKey(this.#state.prefix);
    const reply = await this.#state.run('watch', () =>
      this.#scripts.leaseHold(
        [key, replicasKey(this.#state.prefix)],
        [token, LEASE_MS, this.#replica, this.#isFirst(held) ? 1 : 0],
      ),
    );
    this.#freeAtMs = reply === FREE ? (this.#freeAtMs ?? this.#clock.monotonicMs()) : null;
    if (reply !== HELD) {
      const othersForMs = Number(reply);
      this.#lookInMs =
        reply === FREE ? LEFT_TO_OTHERS_MS : Math.min(othersForMs + 1, LOOK_EVERY_MS);
      const renewedAtMs = this.#clock.monotonicMs() + othersForMs - LEASE_MS;
      if (reply !== FREE && renewedAtMs >= this.#wantedAtMs) this.#hasMetHolder = true;
      return this.#lose();
    }
    this.#token = token;
    if (held === null) this.#bell.ring();
  }

  #isFirst(held: string | null): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (held !== null || this.#hasMetHolder) return true;
    if (nowMs - this.#wantedAtMs >= NEW_FOR_MS) return true;
    return this.#freeAtMs !== null && nowMs - this.#freeAtMs >= LEFT_TO_OTHERS_MS;
  }

  async #letGo(): Promise<void> {
    const token = this.#token;
    this.#lose();
    if (token === null) return;
    const key = watchKey(this.#state.prefix);
    await this.#state.run('watch', () => this.#scripts.leaseLetGo([key], [token]));
  }

  #lose(): void {
    if (this.#token === null) return;
    this.#token = null;
    this.#bell.ring();
  }
}
