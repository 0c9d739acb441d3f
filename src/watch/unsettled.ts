/** What a replica has heard that the one before it has not settled: what is left to do at a take-over. */
import { CLOCK_SLACK_MS, type Deadlines } from '../deadlines/deadlines.js';
import { nameOf } from '../key-name.js';
import type { KeyInDatabase, Notice } from '../vocabulary.js';
import { isDone, lastClaimed } from './done.js';
import type { Heard, HeardNotice } from './memory.js';

export interface UnsettledParts {
  readonly deadlines: Pick<Deadlines, 'of' | 'bringBack' | 'claimedLately' | 'settledUntilMs'>;
  /** Those that are watched. */
  readonly databases: readonly number[];
  /** Which keys routes are about. */
  readonly isWanted: (key: Buffer) => boolean;
  /** The time by the clock of the Redis that holds the keys, in milliseconds. */
  readonly serverNowMs: () => number;
  readonly serverTime: {
    /** Asks for it now; resolves when it is known, or cannot be. Never rejects. */
    ask(): Promise<void>;
    /** A time that this replica has read from it, by the clock as it is known now. */
    corrected(readMs: number): number;
    /** The same for a time that another replica has written. */
    correctedWritten(writtenMs: number): number;
  };
}

/** What was heard by then is settled. A time in the future is by a clock that has been set back since. */
export function settledBy(untilMs: number | null, nowMs: number): number {
  return untilMs !== null && untilMs <= nowMs ? untilMs : Number.NEGATIVE_INFINITY;
}

/** A notice that was heard by then, or handed back by a term that has ended. */
export function heardNotice(notice: Notice, heardAtMs: number): HeardNotice {
  const readMs = notice.kind === 'created' ? undefined : notice.readDeadlineMs;
  return { kind: 'notice', notice, heardAtMs, deadlineMs: readMs ?? null };
}

/** The notice to hand on, with the deadline that this replica has read after it. */
export function noticeOf({ notice, deadlineMs }: HeardNotice): Notice {
  if (notice.kind !== 'changed') return notice;
  const { readDeadlineMs: _, ...change } = notice;
  return deadlineMs === null ? change : { ...change, readDeadlineMs: deadlineMs };
}

/**
 * All but the expirations that another replica has captured, and the notices whose deadlines it has
 * written down: a key that is gone by now would hide its deadline if it was read again. `repeated` are
 * keys whose expirations a server repeats. When the state cannot be read, all of it.
 */
export async function unsettled(
  heard: readonly Heard[],
  repeated: ReadonlySet<string>,
  parts: UnsettledParts,
): Promise<readonly Heard[]> {
  if (heard.length === 0) return heard;
  const { deadlines, databases, isWanted, serverNowMs, serverTime } = parts;
  // The clock may have been set since: the other replica may have known of it, and this one not yet.
  await serverTime.ask();
  try {
    // A replica without routes for them may have set their entries aside.
    for (const database of databases) await deadlines.bringBack(database, isWanted);
    const settledMs = settledBy(await deadlines.settledUntilMs(), serverNowMs());
    const expired = await uncaptured(heard, repeated, settledMs, parts);
    const notices = heard
      .filter((one) => one.kind === 'notice')
      .filter(({ heardAtMs }) => serverTime.corrected(heardAtMs) > settledMs);
    const claimed = await claimedLately(
      notices.map(({ notice }) => notice),
      parts,
    );
    const known = new Map<Heard, HeardNotice>(
      notices.map((one, at) => [one, isOver(one, claimed[at] ?? null) ? forgotten(one) : one]),
    );
    return heard.flatMap((one): readonly Heard[] => {
      if (one.kind === 'expired') return expired.has(one) ? [one] : [];
      const notice = known.get(one);
      return notice === undefined ? [] : [notice];
    });
  } catch {
    // Sent twice rather than never; of the deadlines, it is not known which are of expirations that are done.
    return heard.map((one) => (one.kind === 'expired' ? one : forgotten(one)));
  }
}

/** The expirations in `heard` that no replica has captured. */
async function uncaptured(
  heard: readonly Heard[],
  repeated: ReadonlySet<string>,
  settledMs: number,
  parts: UnsettledParts,
): Promise<ReadonlySet<Heard>> {
  const { deadlines, serverNowMs, serverTime } = parts;
  const expired = heard.flatMap((one) => {
    if (one.kind !== 'expired') return [];
    const detectedAtMs = serverTime.corrected(one.expiration.detectedAtMs);
    return { ...one, expiration: { ...one.expiration, detectedAtMs }, heard: one };
  });
  const expirations = expired.map(({ expiration }) => expiration);
  const claimed = await claimedLately(expirations, parts);
  const known = await deadlines.of(expirations);
  const last = lastClaimed(expired, claimed, serverNowMs());
  return new Set<Heard>(
    expired.flatMap(({ expiration, heard: one }, at) => {
      const knownMs = known[at] ?? null;
      const name = nameOf(expiration);
      const isLeft =
        expiration.detectedAtMs > settledMs &&
        !(repeated.has(name) && knownMs === null) &&
        !isDone(expiration, last.get(name), knownMs);
      return isLeft ? [one] : [];
    }),
  );
}

async function claimedLately(
  keys: readonly KeyInDatabase[],
  { deadlines, serverTime }: UnsettledParts,
): Promise<readonly (number | null)[]> {
  return (await deadlines.claimedLately(keys)).map((atMs) =>
    atMs === null ? null : serverTime.correctedWritten(atMs),
  );
}

/** Whether the life whose deadline was read has been claimed. */
function isOver({ deadlineMs }: HeardNotice, claimedMs: number | null): boolean {
  return deadlineMs !== null && claimedMs !== null && claimedMs >= deadlineMs - CLOCK_SLACK_MS;
}

function forgotten(heard: HeardNotice): HeardNotice {
  return { ...heard, deadlineMs: null };
}
