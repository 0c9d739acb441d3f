/**
 * Asks Redis what its user may do, without doing it: by ACL DRYRUN, or else in a script that may
 * not write, and only asks. Both are there from Redis 7 on. Where neither is allowed, what changes
 * nothing is tried, and the rest stays unknown.
 */
import type { Redis } from 'ioredis';
import { messageOf } from '../model/errors.js';
import { isForbidden, isReply, isUnknownCommand, unlessRefused } from '../redis/refusal.js';
import type { Probe } from './rights.js';

/**
 * What Redis says of one probe: what it lacks, if anything. "denied": the command, its key, or both.
 * "absent": the server does not have the command, so that no rule can allow it.
 */
export type ProbeAnswer = 'allowed' | 'no_command' | 'no_object' | 'denied' | 'absent' | 'unknown';

/** What a script says of one complete command. */
export type ScriptAnswer = 'allowed' | 'denied' | 'absent';

/** The words of ACL DRYRUN, and of NOPERM. */
function answerOf(text: string): ProbeAnswer {
  return /permissions? to run the /.test(text) ? 'no_command' : 'no_object';
}

/** In the order of the probes. Afterwards the connection may only listen. */
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

/** Null where it may not be asked so. */
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
 * ARGV: for each command, as JSON, its words. Returns an answer for each. Every command is complete:
 * Valkey 9.1 crashes when it is asked about a name without the arguments that it needs.
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

/** Null where it may not be asked so. */
async function askScript(redis: Redis, probes: readonly Probe[]): Promise<ProbeAnswer[] | null> {
  const texts = probes.map(({ words }) => JSON.stringify(words));
  const said = (await unlessRefused(redis.eval(ASK, 0, ...texts))) as ScriptAnswer[] | null;
  return said === null ? null : deduce(probes, said);
}

/** Commands whose name is two words. */
const TWO_WORDS = /^(CLIENT|CONFIG|XGROUP|XINFO)$/;

function nameOf({ words }: Probe): string {
  return words.slice(0, TWO_WORDS.test(words[0] ?? '') ? 2 : 1).join(' ');
}

/**
 * A script says only whether a command may be given with its key. Which of the two is denied follows
 * from its other answers: a command that is allowed with another key is allowed, and a key that EVAL may
 * be given with is allowed to every command. EVAL itself is allowed: it runs the script. Pure.
 */
export function deduce(probes: readonly Probe[], said: readonly ScriptAnswer[]): ProbeAnswer[] {
  const allowed = probes.filter((_, at) => said[at] === 'allowed');
  const commands = new Set(['EVAL', ...allowed.map(nameOf)]);
  const objects = new Set(
    allowed.flatMap(({ words, object }) => (words[0] === 'EVAL' ? [object] : [])),
  );
  return probes.map((probe, at): ProbeAnswer => {
    const answer = said[at] ?? 'absent';
    if (answer !== 'denied') return answer;
    if (probe.object === null || objects.has(probe.object)) return 'no_command';
    return commands.has(nameOf(probe)) ? 'no_object' : 'denied';
  });
}

/** No server has this parameter: the answer shows whether CONFIG SET is allowed, and nothing else. */
const SET_NOTHING = ['CONFIG', 'SET', 'expiry-relay-doctor', ''];

function tryHarmless(redis: Redis, probes: readonly Probe[]): Promise<ProbeAnswer[]> {
  // Together, and carried out in this order: a server may be far away.
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
    // In lower case ioredis knows which of them change what a connection is for.
    await redis.call(name.toLowerCase(), ...words);
    return 'allowed';
  } catch (error) {
    if (!isReply(error)) throw error;
    if (isUnknownCommand(error)) return 'absent';
    return isForbidden(error) ? answerOf(messageOf(error)) : 'allowed';
  }
}
