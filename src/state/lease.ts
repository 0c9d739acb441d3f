/**
 * The watch: of all replicas, one captures. It holds a lease in the state Redis, under a token that
 * is new each time; every script that captures checks the token, so that a replica which only stood
 * still, and does not know yet that it has lost the lease, changes nothing.
 */
import { Bell } from '../bell.js';
import { type Clock, untilAborted } from '../clock.js';
import { FencedError } from '../errors.js';
import { standbysKey, watchKey } from './format.js';
import { ignoreTrouble, type RedisState } from './redis-state.js';
import { defineScripts, NOW, type Scripts } from './scripts.js';

/** A holder that is not heard of for so long has lost it. */
const LEASE_MS = 1_500;

/** How often the holder renews it, and the others look; these also when its time is over. */
const LOOK_EVERY_MS = 500;

/**
 * A free lease is left to whoever has been able to capture for longer, if there is such a replica: it
 * has heard what one that came later may have missed, and the last holder may not have written down.
 * Not so by one that has been there for as long as a standby remembers: nobody has heard more.
 */
const REMEMBERS_ALL_AFTER_MS = 20_000;

/** Those who came within so short a time of each other have heard the same. */
const TOGETHER_MS = 100;

/** One that has not looked for so long is no more. */
const GONE_AFTER_MS = 1_000;

/** What HOLD says, unless it is somebody else's: then, for how many milliseconds more. */
const HELD = -1;
const LEFT = -2;

/**
 * KEYS: watch, standbys. ARGV: token, milliseconds, the replica's name, for how many milliseconds it could
 * have captured, 1 if it leaves a free lease to one that could for longer. The first write of each way
 * is one that Redis allows at maxmemory.
 */
const HOLD = `${NOW}
local at = now()
local since = at - ARGV[4]
local function stand_by(reply)
  redis.call('HDEL', KEYS[2], ARGV[3])
  redis.call('HSET', KEYS[2], ARGV[3], string.format('%d:%d', since, at))
  return reply
end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[1])
  return stand_by(left < 0 and ${LOOK_EVERY_MS} or left)
end
if not holder and ARGV[5] == '1' then
  local standbys = redis.call('HGETALL', KEYS[2])
  for i = 1, #standbys, 2 do
    local since_before, looked = string.match(standbys[i + 1], '^(%d+):(%d+)$')
    local is_there = standbys[i] ~= ARGV[3] and at - looked < ${GONE_AFTER_MS}
    if is_there and since_before + ${TOGETHER_MS} < since then return stand_by(${LEFT}) end
  end
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if not holder then redis.call('DEL', KEYS[2]) end
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
  /** Held until this replica left, and yet to be let go. */
  #former: string | null = null;
  #terms = 0;
  #isWanted = false;
  #wantedAtMs = 0;
  /** How often this replica has left it to others. */
  #departures = 0;
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
    if (!isWanted) this.#leave();
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
    this.#leave();
    await ignoreTrouble(() => this.#letGo());
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const { rung } = this.#wake;
      this.#lookInMs = LOOK_EVERY_MS;
      await ignoreTrouble(async () => {
        await this.#letGo();
        if (this.#isWanted) await this.#look();
      });
      if (this.#wake.rung !== rung) continue;
      await this.#wake.wait(this.#clock, this.#lookInMs, signal);
    }
  }

  /** Takes it when nobody holds it; renews it when this replica does. */
  async #look(): Promise<void> {
    const held = this.#token;
    if (held === null) this.#terms += 1;
    const token = held ?? `${this.#replica}:${this.#terms}`;
    const keys = [watchKey(this.#state.prefix), standbysKey(this.#state.prefix)];
    const forMs = Math.round(this.#clock.monotonicMs() - this.#wantedAtMs);
    const leaves = held === null && forMs < REMEMBERS_ALL_AFTER_MS;
    const departures = this.#departures;
    const reply = await this.#state.run('watch', () =>
      this.#scripts.leaseHold(keys, [token, LEASE_MS, this.#replica, forMs, leaves ? 1 : 0]),
    );
    if (reply !== HELD) {
      // It may be over before the next look.
      if (reply !== LEFT) this.#lookInMs = Math.min(Number(reply) + 1, LOOK_EVERY_MS);
      return this.#lose();
    }
    // It has left meanwhile, and may have come back without what others have heard.
    if (this.#departures !== departures) {
      this.#former = token;
      return;
    }
    this.#token = token;
    if (held === null) this.#bell.ring();
  }

  /** Holds it no longer, whether or not the others can be told. */
  #leave(): void {
    this.#departures += 1;
    this.#former = this.#token ?? this.#former;
    this.#lose();
  }

  /** Tells the others; again and again, until it has reached Redis. */
  async #letGo(): Promise<void> {
    const token = this.#former;
    if (token === null) return;
    const key = watchKey(this.#state.prefix);
    await this.#state.run('watch', () => this.#scripts.leaseLetGo([key], [token]));
    if (this.#former === token) this.#former = null;
  }

  #lose(): void {
    this.#state.standsBy();
    if (this.#token === null) return;
    this.#token = null;
    this.#bell.ring();
  }
}
