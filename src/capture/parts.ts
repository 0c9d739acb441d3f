/** What capture is made of. Types only. */
import type { Chance, Clock } from '../clock.js';
import type { ChangedKey } from '../deadlines/deadlines.js';
import type { CaptureEvents } from '../events/capture-events.js';
import type { ValuesByRoute } from '../key-value.js';
import type { Outbox } from '../outbox/outbox.js';
import type { ClaimedKey, Expiration, KeyInDatabase, Notice, Route } from '../vocabulary.js';

/** What capture needs of the index of deadlines, and of the keys. */
export interface Index {
  /** The deadline that is known of each key; null where none is. */
  of(keys: readonly KeyInDatabase[]): Promise<readonly (number | null)[]>;
  /** These keys are about to be claimed: what is being read of them is out of date. */
  overtaken(keys: readonly KeyInDatabase[]): void;
  /** These keys are claimed. */
  claimed(keys: readonly KeyInDatabase[]): void;
  /** Whether something may have expired unheard that is not captured yet. */
  isCatchingUp(): boolean;
  /** Resolves once the overdue keys that expired unheard are captured; false if the term ends first. */
  caughtUp(): Promise<boolean>;
  /**
   * Reads the deadlines of these keys again; resolves with those that are gone. One that comes with a
   * deadline had it before: if it has passed, that is the one that the key expired by.
   */
  changed(keys: readonly ChangedKey[]): Promise<readonly KeyInDatabase[]>;
  /** These keys went for another reason than their deadlines. */
  removed(keys: readonly KeyInDatabase[]): Promise<void>;
  /**
   * Whether an `expired` that comes long before the deadline in the index can only be of a key that a
   * command removed: the server publishes that, and the index has every deadline of the database as it is.
   */
  tellsRemovals(database: number): boolean;
  /** A notice is lost: deadlines in the index may be out of date. */
  noticeLost(): void;
}

/** What capture needs of the values that webhooks carry. */
export interface ClaimedValues {
  /** Whether the webhook of a key carries any. */
  isCarried(key: KeyInDatabase): boolean;
  /** Expirations whose values may be held in memory together. */
  readonly countMax: number;
  /** What the webhooks of each carry, by the name of the route. */
  of(expirations: readonly Expiration[]): Promise<readonly ValuesByRoute[]>;
  /** These are in the outbox. */
  claimed(claimed: readonly ClaimedKey[]): Promise<void>;
}

/** The clock of the Redis that holds the keys, which may be set at any time. */
export interface ServerTime {
  /** Asks for it now; resolves when it is known, or cannot be. Never rejects. */
  ask(): Promise<void>;
  /** A time that was read from it, by the clock as it is known now. */
  corrected(readMs: number): number;
}

export interface CaptureParts {
  readonly routes: readonly Route[];
  readonly outbox: Outbox;
  readonly index: Index;
  /** Null when no route asks for a value. */
  readonly values: ClaimedValues | null;
  readonly serverTime: ServerTime;
  readonly events: CaptureEvents;
  readonly clock: Clock;
  readonly chance: Chance;
  /** Called when another replica captures, with the notifications not captured here, in their order. */
  readonly onFenced: (heard: readonly (Expiration | Notice)[]) => void;
}
