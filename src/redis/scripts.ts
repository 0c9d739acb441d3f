/**
 * Lua scripts on the state's connection. Each is one atomic step, is sent once, also after a restart, and is then
 * called by its digest. Every key that a script uses is declared.
 */
import type { Redis } from 'ioredis';

/** Lua: milliseconds by the clock of this Redis. */
export const NOW = `local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`;

/** Lua: the minimum that every script needs of a server. */
export const ASK_TIME = "return redis.call('TIME')";

/** For each type, a command that only reads a key and fails for a key of another type. */
export const PROBE_OF = { zset: 'zcard', hash: 'hlen', stream: 'xlen', string: 'get' } as const;

/** Lua: PROBE_OF as the table `probes`. */
export const PROBES = `local probes = { ${Object.entries(PROBE_OF)
  .map(([type, command]) => `${type} = '${command}'`)
  .join(', ')} }
`;

/**
 * Lua: fails unless the first KEYS have the given types. For scripts that write to several keys: an error in the middle
 * would leave the first writes without the others. The caller has the key renamed, and repeats the script.
 */
export const TYPED = `${PROBES}local function expect_types(...)
  for i, wanted in ipairs({...}) do redis.call(probes[wanted], KEYS[i]) end
end
`;

/**
 * Lua: returns an error unless the caller holds the lease; `token` is empty if there are no other replicas. If nobody
 * holds the lease, it has ended while Redis was unavailable, and is acquired again soon: the caller retries.
 */
export const FENCE = `local function fenced(lease, token)
  if token == '' then return nil end
  local holder = redis.call('HGET', lease, 'token')
  if holder == token then return nil end
  return redis.error_reply(holder and 'FENCED another replica holds the lease' or 'UNWATCHED no lease')
end
`;

/** Lua: the start of a script for the lease holder alone. First key: the lease; first argument: the token. */
export const WATCHING = `${FENCE}
local refusal = fenced(KEYS[1], ARGV[1])
if refusal then return refusal end
`;

/** Runs a script. Replies contain Buffers instead of strings. */
export type RunScript = (
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
) => Promise<unknown>;

/** One function per Lua script. */
export type Scripts<Lua extends Readonly<Record<string, string>>> = Readonly<
  Record<keyof Lua, RunScript>
>;

/** Script names must be unique on a connection. */
export function defineScripts<const Lua extends Readonly<Record<string, string>>>(
  redis: Redis,
  lua: Lua,
): Scripts<Lua> {
  const scripts = Object.entries(lua).map(([name, text]) => [name, define(redis, name, text)]);
  return Object.fromEntries(scripts) as Scripts<Lua>;
}

function define(redis: Redis, name: string, lua: string): RunScript {
  const command = `expiryRelay_${name}`;
  redis.defineCommand(command, { lua });
  const commands = redis as unknown as Record<string, (...words: unknown[]) => Promise<unknown>>;
  return (keys, args) => {
    const run = commands[`${command}Buffer`];
    if (run === undefined) throw new Error(`no such script: ${name}`);
    return run.call(redis, keys.length, ...keys, ...args);
  };
}
