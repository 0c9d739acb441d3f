/** The primaries whose keys this replica watches now, and which of them has a key. */
import type { Deadline } from '../model/vocabulary.js';
import { type Slots, slotOf } from '../redis/slots.js';
import type { Session } from '../source/session.js';

/** A primary during a term. */
export interface Owner {
  /** The slots that it has, as known now. */
  readonly slots: Slots;
  readonly session: Session;
  /** Requests an immediate sweep of its keys. */
  readonly sweepNow: () => void;
  /** Captures keys of a database that are missing after their deadlines, without a notification. */
  readonly captureMissing: (
    database: number,
    missing: readonly Deadline[],
    signal: AbortSignal,
  ) => Promise<void>;
}

export class Owners {
  #all: readonly Owner[] = [];

  get all(): readonly Owner[] {
    return this.#all;
  }

  /** The only primary that there is; null: there are several, or it is not watched now. */
  get sole(): Owner | null {
    const [first] = this.#all;
    return first?.slots.isAll === true ? first : null;
  }

  join(owner: Owner): void {
    this.#all = [...this.#all, owner];
  }

  leave(owner: Owner): void {
    this.#all = this.#all.filter((one) => one !== owner);
  }

  /** The primary of a key; null: it is not watched now. */
  of(key: Buffer): Owner | null {
    const { sole } = this;
    if (sole !== null) return sole;
    const slot = slotOf(key);
    return this.#all.find(({ slots }) => slots.has(slot)) ?? null;
  }

  /** Groups keys by their primaries; null: none that is watched now. */
  group<Key extends { readonly key: Buffer }>(
    keys: readonly Key[],
  ): ReadonlyMap<Owner | null, readonly Key[]> {
    const { sole } = this;
    if (sole !== null) return new Map([[sole, keys]]);
    const groups = new Map<Owner | null, Key[]>();
    for (const key of keys) {
      const owner = this.of(key.key);
      const group = groups.get(owner);
      if (group === undefined) groups.set(owner, [key]);
      else group.push(key);
    }
    return groups;
  }
}
