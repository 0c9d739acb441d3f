/**
 * Asks Redis what its user may do, without doing it: by ACL DRYRUN, or else in a script that may
 * not write, and only asks. Both are there from Redis 7 on. Where neither is allowed, what changes
 * nothing is tried, and the rest stays unknown.
 */
import type { Redis } from 'ioredis';
import { messageOf } from '../errors.js';
import type { Probe } from './rights.js';
import { toldBy } from './server.js';

/** What Redis says of one probe: what it lacks, if anything. */
export type ProbeAnswer = 'allowed' | 'no_command' | 'no_object' | 'unknown';

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
  if ((await toldBy(redis.call('ACL', 'DRYRUN', user, 'PING'))) === null) return null;
  return Promise.all(
    probes.map(async ({ words }): Promise<ProbeAnswer> => {
      const reply = await toldBy(redis.call('ACL', 'DRYRUN', user, ...words));
      if (reply === null) return 'unknown';
      return reply === 'OK' ? 'allowed' : answerOf(String(reply));
    }),
  );
}

/** Commands whose name is two words. */
const TWO_WORDS = /^(CLIENT|CONFIG|XGROUP|XINFO)$/;

/**
 * ARGV: for each probe, as JSON, its words and how many of them are the command's name. Returns an
 * answer for each. The name alone tells whether the command is allowed, whatever the key.
 */
const ASK = `#!lua flags=no-writes
local answers = {}
for i, text in ipairs(ARGV) do
  local probe = cjson.decode(text)
  local known, whole = pcall(redis.acl_check_cmd, unpack(probe.words))
  local _, name = pcall(redis.acl_check_cmd, unpack(probe.words, 1, probe.nameWords))
  if not known then answers[i] = 'unknown'
  elseif whole then answers[i] = 'allowed'
  elseif name == true then answers[i] = 'no_object'
  else answers[i] = 'no_command' end
end
return answers`;

/** Null where it may not be asked so. */
async function askScript(redis: Redis, probes: readonly Probe[]): Promise<ProbeAnswer[] | null> {
  const texts = probes.map(({ words }) =>
    JSON.stringify({ words, nameWords: TWO_WORDS.test(words[0] ?? '') ? 2 : 1 }),
  );
  return (await toldBy(redis.eval(ASK, 0, ...texts))) as ProbeAnswer[] | null;
}

async function tryHarmless(redis: Redis, probes: readonly Probe[]): Promise<ProbeAnswer[]> {
  const answers: ProbeAnswer[] = [];
  for (const { words, isHarmless } of probes) {
    answers.push(isHarmless ? await tryOne(redis, words) : 'unknown');
  }
  return answers;
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
    if (!(error instanceof Error) || error.name !== 'ReplyError') throw error;
    const text = messageOf(error);
    return text.startsWith('NOPERM') ? answerOf(text) : 'allowed';
  }
}
