/**
 * Checks a user's permissions without side effects: by ACL DRYRUN, or by a script that is not allowed to write.
 * Both need Redis 7. When neither is allowed, only commands without side effects are tried, and the other
 * permissions stay unknown.
 */
import type { Redis } from 'ioredis';
import { messageOf } from '../model/errors.js';
import { isForbidden, isReply, isUnknownCommand, unlessRefused } from '../redis/refusal.js';
import type { Probe } from './rights.js';

/**
 * The result of one probe. "denied": the command, its key, or both. "absent": the server lacks the command, so no
 * rule can allow it.
 */
export type ProbeAnswer = 'allowed' | 'no_command' | 'no_object' | 'denied' | 'absent' | 'unknown';

/** The script's result for one complete command. */
export type ScriptAnswer = 'allowed' | 'denied' | 'absent';

/** Parses the replies of ACL DRYRUN, and NOPERM errors. */
function answerOf(text: string): ProbeAnswer {
  return /permissions? to run the /.test(text) ? 'no_command' : 'no_object';
}

/** Returns results in the order of the probes. Afterwards the connection can only subscribe. */
export async function probeRights(
  redis: Redis,
  user: string,
  probes: readonly Probe[],
): Promise<readonly ProbeAnswer[]> {
  return (
    (await askDryRun(redis, user, probes)) ??
    (await askScript(redis, probes)) ??
    (await tryHarmless(redis, probes))
  );
}

/** Null when ACL DRYRUN is not allowed. */
async function askDryRun(
  redis: Redis,
  user: string,
  probes: readonly Probe[],
): Promise<ProbeAnswer[] | null> {
  if ((await unlessRefused(redis.call('ACL', 'DRYRUN', user, 'PING'))) === null) return null;
  return Promise.all(
    probes.map(async ({ words }): Promise<ProbeAnswer> => {
      try {
        const reply = String(await redis.call('ACL', 'DRYRUN', user, ...words));
        return reply === 'OK' ? 'allowed' : answerOf(reply);
      } catch (error) {
        if (!isReply(error)) throw error;
        return /^ERR Command '.*' not found/.test(messageOf(error)) ? 'absent' : 'unknown';
      }
    }),
  );
}

/**
 * ARGV: the words of each command, as JSON. Returns one result per command. Every command is complete: Valkey 9.1
 * crashes when a required argument is missing.
 */
const ASK = `#!lua flags=no-writes
local answers = {}
for i, text in ipairs(ARGV) do
  local known, allowed = pcall(redis.acl_check_cmd, unpack(cjson.decode(text)))
  if not known then answers[i] = 'absent'
  elseif allowed then answers[i] = 'allowed'
  else answers[i] = 'denied' end
end
return answers`;

/** Null when the script is not allowed. */
async function askScript(redis: Redis, probes: readonly Probe[]): Promise<ProbeAnswer[] | null> {
  const texts = probes.map(({ words }) => JSON.stringify(words));
  const results = (await unlessRefused(redis.eval(ASK, 0, ...texts))) as ScriptAnswer[] | null;
  return results === null ? null : deduce(probes, results);
}

/** Commands whose name is two words. */
const TWO_WORDS = /^(CLIENT|CONFIG|XGROUP|XINFO)$/;

function nameOf({ words }: Probe): string {
  return words.slice(0, TWO_WORDS.test(words[0] ?? '') ? 2 : 1).join(' ');
}

/**
 * The script only shows whether a command is allowed with its key. Other results show which of the two is denied: a
 * command that is allowed with another key is allowed, and a key that is allowed with EVAL is allowed for every
 * command. EVAL itself is allowed: it runs the script. Pure.
 */
export function deduce(probes: readonly Probe[], results: readonly ScriptAnswer[]): ProbeAnswer[] {
  const allowed = probes.filter((_, at) => results[at] === 'allowed');
  const commands = new Set(['EVAL', ...allowed.map(nameOf)]);
  const objects = new Set(
    allowed.flatMap(({ words, object }) => (words[0] === 'EVAL' ? [object] : [])),
  );
  return probes.map((probe, at): ProbeAnswer => {
    const answer = results[at] ?? 'absent';
    if (answer !== 'denied') return answer;
    if (probe.object === null || objects.has(probe.object)) return 'no_command';
    return commands.has(nameOf(probe)) ? 'no_object' : 'denied';
  });
}

/** No server has this parameter: the reply only shows whether CONFIG SET is allowed. */
const SET_NOTHING = ['CONFIG', 'SET', 'expiry-relay-doctor', ''];

function tryHarmless(redis: Redis, probes: readonly Probe[]): Promise<ProbeAnswer[]> {
  // Pipelined, and executed in this order: the server may be distant.
  return Promise.all(
    probes.map(({ words, isHarmless }) => {
      const isConfigSet = words[0] === 'CONFIG' && words[1] === 'SET';
      if (isConfigSet) return tryOne(redis, SET_NOTHING);
      return isHarmless ? tryOne(redis, words) : 'unknown';
    }),
  );
}

async function tryOne(
  redis: Redis,
  [name = '', ...words]: readonly string[],
): Promise<ProbeAnswer> {
  try {
    // ioredis recognizes commands that change the connection's mode only in lower case.
    await redis.call(name.toLowerCase(), ...words);
    return 'allowed';
  } catch (error) {
    if (!isReply(error)) throw error;
    if (isUnknownCommand(error)) return 'absent';
    return isForbidden(error) ? answerOf(messageOf(error)) : 'allowed';
  }
}
