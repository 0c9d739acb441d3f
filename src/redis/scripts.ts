/**
 * Lua scripts on the state's connection: each is one atomic step, sent once, then named by its
 * digest, again after a restart. Every key that a script touches is declared.
 */
import type { Redis } from 'ioredis';

/** Lua: milliseconds by the clock of this Redis. */
export const NOW = `local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
`;

/** Lua: what each script needs of a server, whatever else it does. */
export const ASK_TIME = "return redis.call('TIME')";

/** By type, a command that only reads a key and fails where the key is of another type. */
export const PROBE_OF = { zset: 'zcard', hash: 'hlen', stream: 'xlen', string: 'get' } as const;

/** Lua: the same, as `probes`. */
export const PROBES = `local probes = { ${Object.entries(PROBE_OF)
  .map(([type, command]) => `${type} = '${command}'`)
  .join(', ')} }
`;

/**
 * Lua: fails where one of the first KEYS is not of the type given for it. For scripts that write to several keys:
 * such an error in the middle would leave the first writes without the others. The caller has the key renamed,
 * and runs the script again.
 */
export const TYPED = `${PROBES}local function expect_types(...)
  for i, wanted in ipairs({...}) do redis.call(probes[wanted], KEYS[i]) end
end
`;

/**
 * Lua: only the replica that watches goes on. `token` is empty where nobody else is there. Where nobody
 * watches, the lease has ended while Redis was away, and is taken again soon: the caller tries again.
 */
export const FENCE = `local function fenced(lease, token)
  if token == '' then return nil end
  local holder = redis.call('HGET', lease, 'token')
  if holder == token then return nil end
  return redis.error_reply(holder and 'FENCED another replica watches' or 'UNWATCHED no lease')
end
`;

/** Lua: how a script begins that the watching replica alone may run. Its first key and argument say who. */
export const WATCHING = `${FENCE}
local refusal = fenced(KEYS[1], ARGV[1])
if refusal then return refusal end
`;

/** Replies hold Buffers in the place of strings. */
export type RunScript = (
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
) => Promise<unknown>;

/** One function for each of the Lua texts. */
export type Scripts<Lua extends Readonly<Record<string, string>>> = Readonly<
  Record<keyof Lua, RunScript>
>;

/** The names must differ from those of every other set on the same connection. */
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
