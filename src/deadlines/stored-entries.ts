/**
 * Parses entries of the index as Redis returns them. Entries that no relay can have written are moved to the
 * quarantine. The key of an invalid entry is read again: the key may have a deadline of its own.
 */
import { isDeadline } from '../model/deadline.js';
import type { Deadline, KeyInDatabase } from '../model/vocabulary.js';
import { readCapturedMember } from '../state/format.js';
import type { Related, Suspect } from '../state/quarantine.js';
import type { RedisState } from '../state/redis-state.js';
import { entriesOf, isTime, type StoredEntry, scoreOf } from '../state/stored.js';
import type { CapturedName } from './deadlines.js';

/** Entries that are read together. */
export const SCAN_COUNT = 500;

/** Called with keys whose entries were not deadlines; must not wait. */
export type OnInvalid = (keys: readonly KeyInDatabase[]) => void;

export class StoredEntries {
  readonly #state: RedisState;
  readonly #onInvalid: OnInvalid;

  constructor(state: RedisState, onInvalid: OnInvalid) {
    this.#state = state;
    this.#onInvalid = onInvalid;
  }

  /** Returns the valid deadlines among entries of a part of the index. */
  async deadlines(
    database: number,
    part: string,
    entries: readonly StoredEntry[],
  ): Promise<Deadline[]> {
    const isValid = ({ score }: StoredEntry) => isDeadline(scoreOf(score));
    const valid = await this.#valid(part, entries, isValid, 'not a deadline');
    const invalid = entries.filter((entry) => !isValid(entry));
    this.invalid(invalid.map(({ member: key }) => ({ database, key })));
    return deadlinesOf(database, valid);
  }

  /** Returns the valid expirations among entries of `captured`. */
  async captured(part: string, entries: readonly StoredEntry[]): Promise<readonly CapturedName[]> {
    const isValid = ({ member, score }: StoredEntry) =>
      isTime(scoreOf(score)) && readCapturedMember(member) !== null;
    const valid = await this.#valid(part, entries, isValid, 'not <database>:<name>:<key>, by time');
    return valid.flatMap(({ member, score }) => {
      const captured = readCapturedMember(member);
      return captured === null ? [] : [{ ...captured, detectedAtMs: Number(score) }];
    });
  }

  /** Reports the keys of entries that were moved to the quarantine. */
  invalid(keys: readonly KeyInDatabase[]): void {
    if (keys.length > 0) this.#onInvalid(keys);
  }

  /** Matches the string of a key; null: none, or not one that a relay writes. Such a string goes to the quarantine. */
  async text(key: string, text: string | null, pattern: RegExp): Promise<RegExpExecArray | null> {
    const found = pattern.exec(text ?? '');
    if (text === null || found !== null) return found;
    const reason = 'not written by a relay';
    await this.#setAside([{ key, kind: 'string', name: '', value: text, reason, related: null }]);
    return null;
  }

  async #valid(
    key: string,
    entries: readonly StoredEntry[],
    isValid: (entry: StoredEntry) => boolean,
    reason: string,
  ): Promise<readonly StoredEntry[]> {
    const related: Related | null = null;
    const suspects = entries
      .filter((entry) => !isValid(entry))
      .map(({ member, score }): Suspect => {
        return { key, kind: 'member', name: member, value: score, reason, related };
      });
    await this.#setAside(suspects);
    return suspects.length === 0 ? entries : entries.filter(isValid);
  }

  #setAside(suspects: readonly Suspect[]): Promise<void> {
    return this.#state.setAside('track', suspects);
  }
}

/** Returns the entries of the members that have a score. */
export function foundOf(
  members: readonly Buffer[],
  scores: readonly (string | null)[],
): StoredEntry[] {
  return members.flatMap((member, at) => {
    const score = scores[at] ?? null;
    return score === null ? [] : [{ member, score }];
  });
}

export function deadlinesOf(database: number, entries: readonly StoredEntry[]): Deadline[] {
  return entries.map(({ member: key, score }) => ({ database, key, deadlineMs: Number(score) }));
}

/** Yields all entries of a sorted set, in batches; an entry that stays is yielded at least once. */
export async function* scanEntries(state: RedisState, key: string): AsyncGenerator<StoredEntry[]> {
  let cursor = '0';
  do {
    const [next, found] = await state.run('track', () =>
      state.redis.zscanBuffer(key, cursor, 'COUNT', SCAN_COUNT),
    );
    cursor = next.toString();
    const entries = entriesOf(found);
    if (entries.length > 0) yield entries;
  } while (cursor !== '0');
}
