/**
 * What the sentinels report → the primary that a majority of them names. A single sentinel may be cut off, and name the
 * primary from before a failover. Pure.
 */
import { printable } from '../../lib/printable.js';
import { NoPrimaryError, type RelayError, UnknownPrimaryError } from '../../model/errors.js';
import type { HostPort } from '../../model/redis-login.js';
import { addressOf } from '../client.js';

/** Another sentinel of the same primary. */
export interface OtherSentinel extends HostPort {
  readonly id: string;
}

/** What one sentinel has replied last. */
export type Answer =
  /** Nothing yet. */
  | { readonly kind: 'pending' }
  | { readonly kind: 'failed'; readonly error: RelayError }
  /** It monitors no primary of this name, but these. */
  | { readonly kind: 'unknown'; readonly id: string; readonly masters: readonly string[] }
  | {
      readonly kind: 'named';
      readonly id: string;
      readonly primary: HostPort;
      readonly others: readonly OtherSentinel[];
      /** How many sentinels must agree before a failover begins; null: not shown. */
      readonly quorum: number | null;
    };

export type NamedAnswer = Extract<Answer, { kind: 'named' }>;

/** One sentinel: of the configuration, or reported by another one. */
export interface Voter {
  /** host:port. */
  readonly address: string;
  readonly isConfigured: boolean;
  readonly answer: Answer;
}

export interface Count {
  /** The primary that a majority names; null: none. */
  readonly primary: HostPort | null;
  /** The number of known sentinels, and how many of them are a majority. */
  readonly known: number;
  readonly needed: number;
  /** Whether any has not replied yet. */
  readonly isOpen: boolean;
  /** The addresses of the sentinels that name each primary, by the primary's address. */
  readonly votes: ReadonlyMap<string, readonly string[]>;
  /** The smallest quorum that a sentinel reports; null: not shown. */
  readonly quorum: number | null;
}

const named = ({ answer }: Voter) => (answer.kind === 'named' ? [answer] : []);
const idOf = ({ answer }: Voter) => ('id' in answer ? answer.id : null);

/**
 * Counts the sentinels by their ids: one may have several addresses. Those that are down count as known, as they do for
 * a failover.
 */
export function count(voters: readonly Voter[]): Count {
  const answers = voters.flatMap(named);
  const known = knownCount(voters);
  const needed = Math.floor(known / 2) + 1;
  const votes = new Map<string, string[]>();
  const counted = new Set<string>();
  const primaries = new Map<string, HostPort>();
  for (const { address, answer } of voters) {
    if (answer.kind !== 'named' || counted.has(answer.id)) continue;
    counted.add(answer.id);
    const at = addressOf(answer.primary);
    primaries.set(at, answer.primary);
    votes.set(at, [...(votes.get(at) ?? []), address]);
  }
  const [elected] = [...votes].find(([, by]) => by.length >= needed) ?? [];
  const quorums = answers.flatMap(({ quorum }) => quorum ?? []);
  return {
    primary: elected === undefined ? null : (primaries.get(elected) ?? null),
    known,
    needed,
    isOpen: voters.some(({ answer }) => answer.kind === 'pending'),
    votes,
    quorum: quorums.length === 0 ? null : Math.min(...quorums),
  };
}

/** A configured sentinel that does not reply may be one that the others report: the larger number counts. */
function knownCount(voters: readonly Voter[]): number {
  const others = voters.flatMap(named).flatMap((answer) => answer.others.map(({ id }) => id));
  const ids = new Set([...voters.flatMap((voter) => idOf(voter) ?? []), ...others]);
  const configured = voters.filter(({ isConfigured }) => isConfigured);
  const distinct = new Set(configured.map((voter) => idOf(voter) ?? voter.address));
  return Math.max(ids.size, distinct.size);
}

/** Why no primary is named. `setting`: of the sentinels, such as `redis.sentinel`. */
export function problemOf(voters: readonly Voter[], master: string, setting: string): RelayError {
  const { votes, known, needed } = count(voters);
  const failures = voters.flatMap(({ answer }) => (answer.kind === 'failed' ? [answer.error] : []));
  const unknown = unknownText(voters);
  if (votes.size > 1) {
    return new NoPrimaryError(
      `the sentinels of ${setting} disagree: expected ${needed} of ${known} to name one primary of ${master}, ` +
        `found ${votesText(votes)}. The relay waits until they agree`,
    );
  }
  if (votes.size === 1) {
    const reasons = [...unknown, ...failures.map(({ message }) => message)];
    return new NoPrimaryError(
      `too few sentinels of ${setting} respond: expected ${needed} of ${known} to name the primary of ${master}, ` +
        `found ${votesText(votes)}${reasons.length === 0 ? '' : `; ${reasons.join('; ')}`}. Start the others, ` +
        'or let the relay connect to them',
    );
  }
  const [firstUnknown] = unknown;
  if (firstUnknown !== undefined) {
    return new UnknownPrimaryError(`${firstUnknown}. Correct ${setting}.master`);
  }
  const [final] = failures;
  if (final !== undefined && failures.every(({ retryable }) => !retryable)) return final;
  const reasons = failures.map(({ message }) => message);
  const silent = voters.filter(({ answer }) => answer.kind === 'pending');
  if (silent.length > 0) reasons.push(`${silent.map(({ address }) => address).join(', ')}: silent`);
  return new NoPrimaryError(`no sentinel of ${setting}.nodes responds: ${reasons.join('; ')}`);
}

function unknownText(voters: readonly Voter[]): string[] {
  return voters.flatMap(({ address, answer }) => {
    if (answer.kind !== 'unknown') return [];
    const known = answer.masters.map((name) => printable(name));
    const found = known.length === 0 ? 'it monitors none' : `it monitors ${known.join(', ')}`;
    return [`the Sentinel at ${address} monitors no primary of that name; ${found}`];
  });
}

/** `10.0.0.1:6379 by s1:26379, s2:26379; 10.0.0.2:6379 by s3:26379`. */
export function votesText(votes: Count['votes']): string {
  return Array.from(votes, ([primary, by]) => `${primary} by ${by.join(', ')}`).join('; ');
}
