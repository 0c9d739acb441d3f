/**
 * Verifies that the watched server is the one that the state is about: the index holds the deadlines of one server.
 * Another server under the same prefix is refused: all keys of the index would be missing there.
 */
import type { Chance, Clock } from '../lib/clock.js';
import { printable } from '../lib/printable.js';
import { RelayError, WatchedServerError } from '../model/errors.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { redisCli } from '../redis/advice.js';
import { addressOf, placeOf } from '../redis/client.js';
import type { Locator } from '../redis/locator.js';
import { defineScripts, type Scripts } from '../redis/scripts.js';
import type { FoundServer, ServerIdentity } from '../source/server-identity.js';
import { ownKeyPrefix, quarantineKey, watchedKey } from '../state/format.js';
import { ignoreTrouble } from '../state/health.js';
import type { Lease } from '../state/lease.js';
import { QUARANTINE } from '../state/quarantine-scripts.js';
import type { RedisState } from '../state/redis-state.js';
import type { WatchEvents } from '../telemetry/watch-events.js';

/** How often a server that could not be identified, or that was refused, is checked again. */
const AGAIN_MS = 1_000;

/** Other replicas notice a restart of the server within this time. Until then, an unclear verdict is not logged. */
const UNCLEAR_MS = 10_000;

/** The length of a token (clock.ts). */
const ID_CHARS = 32;

/** More than the length of any id, run_id, address of a host or path of a socket. */
const FIELD_BYTES_MAX = 512;

/**
 * KEYS: watched, quarantine. ARGV: id, run_id, address. Moves values that no relay can have written to the quarantine.
 * Then names the server, unless it has a name. Returns all three values. Redis allows the first write at maxmemory, and
 * then allows the others; the same holds for UPDATE_SERVER.
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

/** KEYS: watched. ARGV: id, run_id, address. Updates the server if the state still has this id. */
const UPDATE_SERVER = `redis.call('HDEL', KEYS[1], '')
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'run_id', ARGV[2], 'address', ARGV[3])
end
return redis.status_reply('OK')`;

const WATCHED_SCRIPTS = { nameServer: NAME_SERVER, updateServer: UPDATE_SERVER } as const;

/** The server that the state is about. */
export interface KnownServer {
  readonly id: string;
  /** Empty if the server does not show it. */
  readonly runId: string;
  readonly address: string;
}

/** Whether a server is the one that the state is about. `unclear`: it may be another one. */
export type Verdict = 'same' | 'unclear' | 'other';

/**
 * Judges a server. Pure. A server without an id may have been emptied. It is the same server if the run_id matches, or
 * if the address matches and no other replica is connected to the server that the state is about.
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
  /** The address of the Redis that holds the keys. */
  readonly keys: RedisAddress;
  /** Where the Redis that holds the state is, and the number of its logical database. */
  readonly stateLocator: Locator;
  readonly stateDatabase: number;
  readonly events: WatchEvents;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** Checks the server whose keys a replica is to watch. */
export interface ServerCheck {
  /** Why the server's keys are not watched; null: no problem. */
  readonly problem: string | null;
  /** Resolves with true once the server is verified, with false if the connection fails or the signal aborts. */
  verify(identity: ServerIdentity, signal: AbortSignal): Promise<boolean>;
}

/** For a state in memory, which is about any server that this process watches. */
export const ANY_SERVER: ServerCheck = { problem: null, verify: async () => true };

export class WatchedServer implements ServerCheck {
  readonly #parts: WatchedServerParts;
  readonly #scripts: Scripts<typeof WATCHED_SCRIPTS>;
  /** The server as it was last verified; null before that. */
  #known: KnownServer | null = null;
  #problem: string | null = 'not identified yet';
  #isLogged = false;
  /** Since when the server has been refused or unclear, by the monotonic clock; null: it is neither. */
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

  /** Resolves when the first server is verified; rejects if it is not the one that the state is about. */
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
    const address = placeOf(redis);
    const found = await identity.read();
    if (this.#known !== null && isSame(found, this.#known)) {
      // Not awaited: events of the server must not wait for an unavailable state.
      void ignoreTrouble(() => this.#update(found, this.#known?.id ?? ''));
      return;
    }
    const keys = [watchedKey(state.prefix), quarantineKey(state.prefix)];
    const args = [found.id ?? chance.token(), found.runId ?? '', address];
    const reply = await state.run('verify', () => this.#scripts.nameServer(keys, args));
    const texts = (reply as (Buffer | null)[]).map((text) => text?.toString() ?? '');
    const [id = '', runId = '', knownAddress = ''] = texts;
    const known = { id, runId, address: knownAddress };
    const judged = verdictOn({ ...found, address }, known, lease.isHeldByOther);
    // Another replica, which reaches the cluster by other nodes, may have named it, and be about to write the name there.
    const isUnnamed = redis.cluster !== null && found.id === null;
    const verdict = judged === 'other' && isUnnamed ? 'unclear' : judged;
    if (verdict !== 'same') throw this.#refusal(address, known, verdict);
    if (found.id !== undefined && found.id !== id) await identity.write(id);
    await this.#update(found, id);
    this.#known = { id, runId: found.runId ?? '', address };
  }

  /** Stores the run_id and address, by which other replicas identify the server if it loses its id. */
  async #update({ runId }: FoundServer, id: string): Promise<void> {
    const { state, keys } = this.#parts;
    const args = [id, runId ?? '', placeOf(keys)];
    await state.run('verify', () => this.#scripts.updateServer([watchedKey(state.prefix)], args));
  }

  #refusal(address: string, known: KnownServer, verdict: 'unclear' | 'other'): RelayError {
    const { state, stateLocator, stateDatabase } = this.#parts;
    const stateAddress = stateLocator.address;
    const own = `${ownKeyPrefix(state.prefix)}…`;
    const select = stateDatabase === 0 ? '' : ` -n ${stateDatabase}`;
    const drop = `${redisCli(stateAddress)}${select} DEL '${watchedKey(state.prefix)}'`;
    const found =
      verdict === 'other'
        ? `found another one at ${address}`
        : 'found one at that address without its id, while another replica watches the one with the id';
    return new WatchedServerError(
      `the state under ${own} in Redis at ${addressOf(stateAddress)} holds the deadlines of another ` +
        `server (expected the one last seen at ${printable(known.address)}, ${found}). Set another ` +
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
    events.serverMismatched(error.message);
  }
}
