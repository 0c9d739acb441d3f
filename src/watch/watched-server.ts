/**
 * Whose keys the state is about. The deadlines in the index are those of one server: a replica that
 * watches another server under the same prefix would find all of their keys missing. It is refused.
 */
import type { Chance, Clock } from '../lib/clock.js';
import { printable } from '../lib/printable.js';
import { RelayError, WatchedServerError } from '../model/errors.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { redisCli } from '../redis/advice.js';
import { addressOf } from '../redis/client.js';
import { defineScripts, type Scripts } from '../redis/scripts.js';
import type { FoundServer, ServerIdentity } from '../source/server-identity.js';
import { ownKeyPrefix, quarantineKey, watchedKey } from '../state/format.js';
import { ignoreTrouble } from '../state/health.js';
import type { Lease } from '../state/lease.js';
import { QUARANTINE } from '../state/quarantine-scripts.js';
import type { RedisState } from '../state/redis-state.js';
import type { WatchEvents } from '../telemetry/watch-events.js';

/** How often a server that could not be identified, or that was refused, is looked at again. */
const AGAIN_MS = 1_000;

/** When a server restarts, the other replicas notice within this time: until then nothing is logged. */
const UNCLEAR_MS = 10_000;

/** Of a token (clock.ts). */
const ID_CHARS = 32;

/** An id or a run_id is shorter, and so is the address of a host or the path of a socket. */
const FIELD_BYTES_MAX = 512;

/**
 * KEYS: watched, quarantine. ARGV: id, run_id, address. The first relay names the server; one that no relay has
 * named counts as unnamed. Returns all three. The first
 * write is one that Redis allows at maxmemory, and then it allows the others; so below.
 */
const NAME_SERVER = `${QUARANTINE}
redis.call('HDEL', KEYS[1], '')
for _, field in ipairs({ 'id', 'run_id', 'address' }) do
  local value = redis.call('HGET', KEYS[1], field)
  local is_ours = not value or #value <= ${FIELD_BYTES_MAX} and
    (field ~= 'id' or #value == ${ID_CHARS} and string.match(value, '^%x+$'))
  if not is_ours then
    quarantine(KEYS[2], KEYS[1], 'field', field, value, 'not the ' .. field .. ' of a server')
    redis.call('HDEL', KEYS[1], field)
  end
end
if redis.call('HEXISTS', KEYS[1], 'id') == 0 then
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'run_id', ARGV[2], 'address', ARGV[3])
end
return redis.call('HMGET', KEYS[1], 'id', 'run_id', 'address')`;

/** KEYS: watched. ARGV: id, run_id, address. Where it still has this id. */
const UPDATE_SERVER = `redis.call('HDEL', KEYS[1], '')
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'run_id', ARGV[2], 'address', ARGV[3])
end
return redis.status_reply('OK')`;

const WATCHED_SCRIPTS = { nameServer: NAME_SERVER, updateServer: UPDATE_SERVER } as const;

/** The server that the state is about. */
export interface KnownServer {
  readonly id: string;
  /** Empty when it was not shown. */
  readonly runId: string;
  readonly address: string;
}

/** What a server is to the state: `unclear` may be another one as well. */
export type Verdict = 'same' | 'unclear' | 'other';

/**
 * Pure. A server that holds no name of ours may have been emptied: it is the same when the same process
 * runs it, or when it is at the same address and nobody else is connected to the one that the state
 * is about.
 */
export function verdictOn(
  found: FoundServer & { readonly address: string },
  known: KnownServer,
  isHeldByOther: boolean,
): Verdict {
  if (isSame(found, known)) return 'same';
  if (typeof found.id === 'string' || found.address !== known.address) return 'other';
  return isHeldByOther && found.id === null ? 'unclear' : 'same';
}

function isSame({ id, runId }: FoundServer, known: KnownServer): boolean {
  return id === known.id || (runId !== null && runId === known.runId);
}

export interface WatchedServerParts {
  readonly state: RedisState;
  readonly lease: Pick<Lease, 'isHeldByOther'>;
  /** Of the Redis that holds the keys. */
  readonly keys: RedisAddress;
  /** Of the Redis that holds the state, and its logical database's number. */
  readonly stateAddress: RedisAddress;
  readonly stateDatabase: number;
  readonly events: WatchEvents;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** What is known of the server whose keys a replica is to watch. */
export interface ServerCheck {
  /** Why its keys are not watched; null when nothing speaks against it. */
  readonly problem: string | null;
  /** Resolves with true once it is the server that the state is about, with false when the signal aborts. */
  verify(identity: ServerIdentity, signal: AbortSignal): Promise<boolean>;
}

/** For a state in memory, which is about whatever this process watches. */
export const ANY_SERVER: ServerCheck = { problem: null, verify: async () => true };

export class WatchedServer implements ServerCheck {
  readonly #parts: WatchedServerParts;
  readonly #scripts: Scripts<typeof WATCHED_SCRIPTS>;
  /** What the state said last; null before it was asked. */
  #known: KnownServer | null = null;
  #problem: string | null = 'not identified yet';
  #isLogged = false;
  /** Since when it has been unclear, by the monotonic clock; null while it is not. */
  #unclearSinceMs: number | null = null;
  /** Called with the first refusal while `first` waits; null afterwards. */
  #onRefused: ((error: RelayError) => void) | null = null;
  #onVerified: () => void = () => undefined;

  constructor(parts: WatchedServerParts) {
    this.#parts = parts;
    this.#scripts = defineScripts(parts.state.redis, WATCHED_SCRIPTS);
  }

  get problem(): string | null {
    return this.#problem;
  }

  /** Resolves when the first server is verified; rejects when it is another one. */
  first(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onVerified = resolve;
      this.#onRefused = reject;
    });
  }

  async verify(identity: ServerIdentity, signal: AbortSignal): Promise<boolean> {
    const { clock } = this.#parts;
    while (!signal.aborted) {
      try {
        await this.#verify(identity);
        this.#verified();
        return true;
      } catch (error) {
        if (error instanceof WatchedServerError) this.#refused(error);
        else if (!(error instanceof RelayError)) return false;
        await clock.sleep(AGAIN_MS, signal);
      }
    }
    return false;
  }

  async #verify(identity: ServerIdentity): Promise<void> {
    const { state, lease, keys: redis, chance } = this.#parts;
    const address = addressOf(redis);
    const found = await identity.read();
    if (this.#known !== null && isSame(found, this.#known)) {
      // Nothing that is heard from it has to wait for a state that is away.
      void ignoreTrouble(() => this.#update(found, this.#known?.id ?? ''));
      return;
    }
    const keys = [watchedKey(state.prefix), quarantineKey(state.prefix)];
    const args = [found.id ?? chance.token(), found.runId ?? '', address];
    const reply = await state.run('verify', () => this.#scripts.nameServer(keys, args));
    const texts = (reply as (Buffer | null)[]).map((text) => text?.toString() ?? '');
    const [id = '', runId = '', knownAddress = ''] = texts;
    const known = { id, runId, address: knownAddress };
    const verdict = verdictOn({ ...found, address }, known, lease.isHeldByOther);
    if (verdict !== 'same') throw this.#refusal(address, known, verdict);
    if (found.id !== undefined && found.id !== id) await identity.write(id);
    await this.#update(found, id);
    this.#known = { id, runId: found.runId ?? '', address };
  }

  /** How the server is known to others once nothing of ours lies there. */
  async #update({ runId }: FoundServer, id: string): Promise<void> {
    const { state, keys } = this.#parts;
    const args = [id, runId ?? '', addressOf(keys)];
    await state.run('verify', () => this.#scripts.updateServer([watchedKey(state.prefix)], args));
  }

  #refusal(address: string, known: KnownServer, verdict: 'unclear' | 'other'): RelayError {
    const { state, stateAddress, stateDatabase } = this.#parts;
    const own = `${ownKeyPrefix(state.prefix)}…`;
    const select = stateDatabase === 0 ? '' : ` -n ${stateDatabase}`;
    const drop = `${redisCli(stateAddress)}${select} DEL '${watchedKey(state.prefix)}'`;
    const found =
      verdict === 'other'
        ? `found another one at ${address}`
        : 'found one at that address without its mark, while another replica watches the marked one';
    return new WatchedServerError(
      `the state under ${own} in Redis at ${addressOf(stateAddress)} holds the deadlines of another ` +
        `server (expected the one that was last at ${printable(known.address)}, ${found}): set another ` +
        `state.prefix; or, if that server is gone for good, run: ${drop}`,
      verdict === 'unclear',
    );
  }

  #verified(): void {
    if (this.#isLogged) this.#parts.events.serverVerified();
    this.#isLogged = false;
    this.#unclearSinceMs = null;
    this.#problem = null;
    this.#onRefused = null;
    this.#onVerified();
  }

  #refused(error: WatchedServerError): void {
    const { events, clock } = this.#parts;
    this.#problem = error.message;
    this.#unclearSinceMs ??= clock.monotonicMs();
    const isUnclear = error.retryable && clock.monotonicMs() - this.#unclearSinceMs < UNCLEAR_MS;
    if (this.#isLogged || isUnclear) return;
    if (!error.retryable && this.#onRefused !== null) return this.#onRefused(error);
    this.#isLogged = true;
    events.serverRefused(error.message);
  }
}
