/** Replies to permission probes → missing permissions, and the command that grants them. Pure. */
import { printable } from '../lib/printable.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { redisCli, redisUser, shellWord } from '../redis/advice.js';
import { type Finding, note, ok, problem, warning } from '../server/finding.js';
import type { ProbeAnswer } from './probe-rights.js';
import type { Probe, Right, Rights } from './rights.js';

/**
 * Whether the user has a rule. `hidden`: a rule for a key or channel that cannot be checked because the command
 * itself is denied. `unknown`: the check failed. `absent`: a rule for a command that the server lacks.
 */
type Held = 'yes' | 'no' | 'hidden' | 'unknown' | 'absent';

/** Whether the user may run this command; null when unknown or not needed. */
export function isAllowed(
  { probes }: Rights,
  answers: readonly ProbeAnswer[],
  ...name: readonly string[]
): boolean | null {
  const at = probes.findIndex(({ words }) => name.every((word, index) => words[index] === word));
  const answer = answers[at] ?? 'unknown';
  return answer === 'unknown' ? null : answer === 'allowed';
}

export function judgeRights(
  { rights, probes }: Rights,
  answers: readonly ProbeAnswer[],
  address: RedisAddress,
  subject: string,
): Finding {
  const held = new Map(rights.map(({ rule }) => [rule, heldOf(rule, probes, answers)]));
  const having = (...what: Held[]) =>
    rights.filter(({ rule }) => what.includes(held.get(rule) ?? 'unknown'));
  const [missing, unknown] = [having('no', 'hidden'), having('unknown')];
  const name = printable(redisUser(address));
  const unverified = unknown.length === 0 ? '' : `; could not be verified: ${rulesText(unknown)}`;
  if (missing.length === 0) {
    if (unknown.length === 0) return ok(subject, `user ${name} has all required permissions`);
    return note(subject, `user ${name} has all permissions that could be verified${unverified}`);
  }
  // Includes rules that could not be checked, so that one command is enough.
  const rules = [...missing, ...unknown].map(({ rule }) => shellWord(rule)).join(' ');
  const leaveOut =
    having('hidden').length === 0 ? '' : ' (omit patterns that Redis reports to have no effect)';
  const advice = `persist with ACL SAVE or in redis.conf, and run${leaveOut}:`;
  const command = `${redisCli(address)} ACL SETUSER ${shellWord(name)} ${rules}`;
  const isCostly = missing.some(({ cost }) => cost === 'problem');
  const create = isCostly ? problem : warning;
  return create(subject, `user ${name} lacks ${rulesText(missing)}${unverified}`, advice, command);
}

function rulesText(rights: readonly Right[]): string {
  return rights.map(({ rule }) => rule).join(' ');
}

/** Required commands that the server lacks. */
export function judgeCommands(
  { rights, probes }: Rights,
  answers: readonly ProbeAnswer[],
  subject: string,
): Finding[] {
  const needed = new Set(rights.flatMap(({ rule, cost }) => (cost === 'problem' ? [rule] : [])));
  const absent = probes.filter(
    ({ command }, at) => answers[at] === 'absent' && command !== null && needed.has(command),
  );
  const names = [...new Set(absent.map(({ words }) => words[0]))];
  if (names.length === 0) return [];
  const text = `the server lacks required commands: ${names.join(', ')}`;
  const advice = 'remove their rename-command from redis.conf, or use another server';
  return [problem(subject, text, advice)];
}

function heldOf(rule: string, probes: readonly Probe[], answers: readonly ProbeAnswer[]): Held {
  const results = probes.flatMap((probe, at) => {
    const answer = answers[at] ?? 'unknown';
    const { command, object } = probe;
    const isEither = answer === 'denied' && rule === command && object !== null;
    // Either the command or its key is denied: the command, if the key is known to be allowed.
    const isCommand = isEither && heldOf(object, probes, answers) === 'yes';
    return heldBy(rule, probe, isCommand ? 'no_command' : answer);
  });
  if (results.includes('no')) return 'no';
  if (results.includes('yes') && !results.includes('unknown')) return 'yes';
  if (results.includes('hidden')) return 'hidden';
  return results.includes('absent') && !results.includes('unknown') ? 'absent' : 'unknown';
}

function heldBy(rule: string, { command, object }: Probe, answer: ProbeAnswer): readonly Held[] {
  if (rule !== command && rule !== object) return [];
  switch (answer) {
    case 'unknown':
      // A key that one command may access may be allowed for the others.
      return rule === command ? ['unknown'] : [];
    case 'allowed':
      return ['yes'];
    case 'absent':
      return rule === command ? ['absent'] : [];
    case 'denied':
      return [rule === command ? 'unknown' : 'hidden'];
    case 'no_command':
      return rule === command ? ['no'] : ['hidden'];
    case 'no_object':
      // Probes that exist only to test a key may be denied for lack of a broader rule.
      if (command === null) return [object?.startsWith('~') ? 'no' : 'hidden'];
      // Without an object, the command is denied.
      return rule === (object ?? command) ? ['no'] : ['yes'];
  }
}
