/** Runs the canary through the databases, again and again, and knows what it last showed. */
import type { Clock } from '../lib/clock.js';
import {
  CanaryLostError,
  NoDatabaseError,
  NotificationsLostError,
  NotificationsOffError,
  type RelayError,
} from '../model/errors.js';
import type { RedisSettings } from '../model/vocabulary.js';
import { addressOf } from '../redis/client.js';
import { judgeNoDatabase } from '../server/judge.js';
import type { SourceEvents } from '../telemetry/source-events.js';
import type { Canary } from './canary.js';
import { missingFlags, WANTED_FLAGS } from './notifications.js';

/** From one proof of all databases to the next. */
const CANARY_EVERY_MS = 5_000;

/** What proves that notifications flow. */
export type Proof =
  | { readonly kind: 'proved'; readonly note: string | null }
  /** The canary may not be written, by the operator's own choice. */
  | { readonly kind: 'forbidden'; readonly reason: string }
  /** Its removal was heard in place of its expiration: notifications arrive. */
  | { readonly kind: 'evicted'; readonly reason: string }
  /** It cannot be written now, or does not live long enough to be heard. */
  | { readonly kind: 'failing'; readonly reason: string };

const PROVED: Proof = { kind: 'proved', note: null };
const PROVED_ALONE: Proof = {
  kind: 'proved',
  note: 'only expirations are heard: deletions cannot be told from them',
};
const NOT_TRIED: Proof = { kind: 'failing', reason: 'not tried yet' };

/** What is known of the notifications before a canary has been tried. */
export interface Hearing {
  /** The server's notify-keyspace-events; null when it does not show it. */
  readonly setting: string | null;
  /** Whether the channels of what else becomes of keys may be subscribed to. */
  readonly mayHearChanges: boolean;
}

export interface ProverParts {
  readonly settings: RedisSettings;
  readonly events: SourceEvents;
  readonly clock: Clock;
}

export class Prover {
  readonly #canary: Canary;
  readonly #hearing: Hearing;
  /** Whether the last canary's TTL was heard (class g); null before there was one. */
  #hearsChanges: boolean | null = null;
  readonly #parts: ProverParts;
  readonly #proofs: Map<number, Proof>;
  readonly #address: string;
  #provedAtMs: number;

  constructor(canary: Canary, hearing: Hearing, parts: ProverParts) {
    this.#canary = canary;
    this.#hearing = hearing;
    this.#parts = parts;
    this.#proofs = new Map(parts.settings.databases.map((database) => [database, NOT_TRIED]));
    this.#address = addressOf(parts.settings);
    this.#provedAtMs = parts.clock.monotonicMs();
  }

  /** When notifications were last known to flow, by the monotonic clock. */
  get provedAtMs(): number {
    return this.#provedAtMs;
  }

  /** What the last canaries showed: of all databases, what is worst. */
  get proof(): Proof {
    const proofs = [...this.#proofs.values()];
    return (
      proofs.find(({ kind }) => kind === 'failing') ??
      proofs.find(({ kind }) => kind === 'forbidden') ??
      proofs.find(({ kind }) => kind === 'evicted') ??
      (this.#hearsChanges === false ? PROVED_ALONE : PROVED)
    );
  }

  /** One proof of every database; rejects when a canary is lost, or the session closes. */
  async proveAll(closing: AbortSignal): Promise<void> {
    for (const database of this.#parts.settings.databases) {
      closing.throwIfAborted();
      await this.#proveOne(database, closing);
    }
  }

  /**
   * Until the session closes; rejects when a canary is lost, and with what `recheck` rejects with,
   * which looks with each canary whether the server is what it was.
   */
  async proveForever(recheck: () => Promise<void>, closing: AbortSignal): Promise<never> {
    for (;;) {
      await this.#parts.clock.sleep(CANARY_EVERY_MS, closing);
      await recheck();
      await this.proveAll(closing);
      // A server that was demoted meanwhile refuses the canary.
      if (this.proof.kind === 'failing') await recheck();
    }
  }

  async #proveOne(database: number, closing: AbortSignal): Promise<void> {
    const { events } = this.#parts;
    const result = await this.#canary.prove(database, closing);
    switch (result.kind) {
      case 'heard':
        events.canaryHeard(result.lagMs);
        this.#checkChanges(result.hearsChanges);
        return this.#proved(database);
      case 'flowing':
        events.canaryOvertaken(database);
        return this.#proved(database);
      case 'removed':
        return this.#removed(database);
      case 'evicted':
        // Of expirations nothing was heard: the setting has to show that they are published.
        if (missingFlags(this.#hearing.setting ?? '') !== '') return this.#removed(database);
        return this.#evicted(database);
      case 'unwritable': {
        const { reason, isForbidden } = result;
        const proof: Proof = isForbidden
          ? { kind: 'forbidden', reason }
          : { kind: 'failing', reason: `cannot be written: ${reason}` };
        return this.#unproved(database, proof, () =>
          events.canaryUnwritable(this.#address, reason),
        );
      }
      case 'no_database':
        throw this.#noDatabase(database);
      case 'lost':
        throw this.#lost(database);
    }
  }

  /**
   * The setting may be hidden, and need not be in force: each canary shows by itself whether class g
   * flows. Throws when it did, and does not any more.
   */
  #checkChanges(hears: boolean): void {
    const before = this.#hearsChanges;
    this.#hearsChanges = hears;
    if (hears || before === false) return;
    if (before === true) {
      throw new NotificationsLostError(
        `Redis at ${this.#address} does not publish any more what becomes of keys: class g of ` +
          'notify-keyspace-events has been taken out',
      );
    }
    const { setting, mayHearChanges } = this.#hearing;
    const isKnown = setting !== null && missingFlags(setting, 'g') !== '';
    if (isKnown || !mayHearChanges) return;
    this.#parts.events.notificationsPartial(this.#address, setting, WANTED_FLAGS);
  }

  #proved(database: number): void {
    const wasTroubled = isTroubled(this.proof) && this.proof !== NOT_TRIED;
    this.#proofs.set(database, PROVED);
    this.#provedAtMs = this.#parts.clock.monotonicMs();
    if (wasTroubled && !isTroubled(this.proof)) {
      this.#parts.events.canaryRecovered(this.#address);
    }
  }

  #removed(database: number): void {
    const reason =
      'removed before its time: a flush or an eviction policy takes volatile keys ' +
      `(database ${database})`;
    this.#unproved(database, { kind: 'failing', reason }, () =>
      this.#parts.events.canaryRemoved(this.#address, reason),
    );
  }

  #evicted(database: number): void {
    this.#provedAtMs = this.#parts.clock.monotonicMs();
    const reason = `the test key was evicted or deleted before its deadline (database ${database})`;
    this.#unproved(database, { kind: 'evicted', reason }, () =>
      this.#parts.events.canaryEvicted(this.#address, reason),
    );
  }

  /** Says so, unless the same was said already, of this database or of another. */
  #unproved(database: number, proof: Exclude<Proof, { kind: 'proved' }>, say: () => void): void {
    const known = [...this.#proofs.values()].some(
      (other) => other.kind !== 'proved' && other.reason === proof.reason,
    );
    this.#proofs.set(database, proof);
    if (!known) say();
  }

  #noDatabase(database: number): RelayError {
    const { text, advice } = judgeNoDatabase(database, this.#parts.settings);
    return new NoDatabaseError(`${text}: ${advice}`);
  }

  #lost(database: number): RelayError {
    const everProved = [...this.#proofs.values()].includes(PROVED);
    if (this.#hearing.setting === null && !everProved) {
      return new NotificationsOffError(
        `Redis at ${this.#address} does not publish expirations (a test key in database ` +
          `${database} expired unheard) and does not show its setting: set ` +
          `notify-keyspace-events to "${WANTED_FLAGS}" where the server is configured (a managed ` +
          'service: its parameter group)',
      );
    }
    return new CanaryLostError(
      `a test key in database ${database} of Redis at ${this.#address} expired unheard`,
    );
  }
}

function isTroubled({ kind }: Proof): boolean {
  return kind === 'failing' || kind === 'evicted';
}
