/** The sentinels' answers → their effect on the relay; for `run` and `doctor`. Pure. */
import { pluralize } from '../lib/pluralize.js';
import { addressOf } from '../redis/client.js';
import { count, problemOf, type Voter, votesText } from '../redis/sentinels/vote.js';
import { note, ok, problem, type ServerFinding, warning } from './finding.js';

const SUBJECT = 'sentinels';

/** A majority of fewer is all of them: one that is down prevents every failover. */
const KNOWN_MIN = 3;

/** `setting`: of the sentinels, such as `redis.sentinel`. */
export function judgeSentinels(
  voters: readonly Voter[],
  master: string,
  setting: string,
): ServerFinding {
  const { primary, known, votes, quorum } = count(voters);
  if (primary === null) return problem(SUBJECT, problemOf(voters, master, setting).message, null);
  const at = addressOf(primary);
  const agreeing = votes.get(at)?.length ?? 0;
  const shown = quorum === null ? '' : `, quorum ${quorum}`;
  const text = `${agreeing} of ${known} name ${at} the primary of ${master}${shown}`;
  const failures = voters.flatMap(({ answer }) =>
    answer.kind === 'failed' ? [answer.error.message] : [],
  );
  if (agreeing < known) {
    const others = votes.size > 1 ? [`votes: ${votesText(votes)}`] : [];
    return warning(
      SUBJECT,
      [text, ...others, ...failures].join('; '),
      'the relay follows the majority; start the other sentinels, let the relay connect to them, or remove ' +
        'those that are gone with SENTINEL RESET',
    );
  }
  if (known < KNOWN_MIN) {
    return note(
      SUBJECT,
      `${text}. With ${pluralize(known, 'sentinel')}, one that is down prevents a failover`,
    );
  }
  return ok(SUBJECT, text);
}
