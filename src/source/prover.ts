/** Runs the canary in all databases periodically, and keeps the latest results. */
import { capitalize } from '../lib/capitalize.js';
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

/** The interval between two rounds. */
const CANARY_EVERY_MS = 5_000;

/** Whether notifications are known to arrive. */
export type Proof =
  | { readonly kind: 'proved'; readonly note: string | null }
  /** The operator's permissions do not allow the canary to be written. */
  | { readonly kind: 'forbidden'; readonly reason: string }
  /** The canary's removal was received instead of its expiration: notifications arrive. */
  | { readonly kind: 'evicted'; readonly reason: string }
  /** The canary cannot be written now, or is removed too early. */
  | { readonly kind: 'failing'; readonly reason: string };

const PROVED: Proof = { kind: 'proved', note: null };
const PROVED_ALONE: Proof = {
  kind: 'proved',
  note: 'only expirations are received; deletions may be reported as expirations',
};
const NOT_TRIED: Proof = { kind: 'failing', reason: 'not tried yet' };

/** What is known about notifications before the first canary. */
export interface Hearing {
  /** The server's notify-keyspace-events; null: the server does not show the setting. */
  readonly setting: string | null;
  /** Whether the channels of events other than expirations may be subscribed to. */
  readonly areChangesAllowed: boolean;
}

export interface ProverParts {
  readonly settings: RedisSettings;
  readonly events: SourceEvents;
  readonly clock: Clock;
}

export class Prover {
  readonly #canary: Canary;
  readonly #hearing: Hearing;
  /** Whether the last canary's TTL was received (class g); null before the first canary. */
  #receivesChanges: boolean | null = null;
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

  /** When notifications were last known to arrive, by the monotonic clock. */
  get provedAtMs(): number {
    return this.#provedAtMs;
  }

  /** The worst of the databases' latest results. */
  get proof(): Proof {
    const proofs = [...this.#proofs.values()];
    return (
      proofs.find(({ kind }) => kind === 'failing') ??
      proofs.find(({ kind }) => kind === 'forbidden') ??
      proofs.find(({ kind }) => kind === 'evicted') ??
      (this.#receivesChanges === false ? PROVED_ALONE : PROVED)
    );
  }

  /** Runs the canary in every database; rejects when one is lost, or the session closes. */
  async proveAll(closing: AbortSignal): Promise<void> {
    for (const database of this.#parts.settings.databases) {
      closing.throwIfAborted();
      await this.#proveOne(database, closing);
    }
  }

  /**
   * Runs until the session closes. Rejects when a canary is lost, or `recheck` rejects; `recheck` verifies the server
   * before each round.
   */
  async proveForever(recheck: () => Promise<void>, closing: AbortSignal): Promise<never> {
    for (;;) {
      await this.#parts.clock.sleep(CANARY_EVERY_MS, closing);
      await recheck();
      await this.proveAll(closing);
      // A server that was demoted meanwhile rejects the canary.
      if (this.proof.kind === 'failing') await recheck();
    }
  }

  async #proveOne(database: number, closing: AbortSignal): Promise<void> {
    const { events } = this.#parts;
    const result = await this.#canary.prove(database, closing);
    switch (result.kind) {
      case 'received':
        events.canaryReceived(result.lagMs);
        this.#checkChanges(result.receivesChanges);
        return this.#recordProof(database);
      case 'flowing':
        events.canaryOvertaken(database);
        return this.#recordProof(database);
      case 'removed':
        return this.#recordRemoval(database);
      case 'evicted':
        // No expiration was received: only the setting shows whether they are published.
        if (missingFlags(this.#hearing.setting ?? '') !== '') return this.#recordRemoval(database);
        return this.#recordEviction(database);
      case 'unwritable': {
        const { reason, isForbidden } = result;
        const proof: Proof = isForbidden
          ? { kind: 'forbidden', reason }
          : { kind: 'failing', reason: `cannot be written: ${reason}` };
        return this.#recordFailure(database, proof, () =>
          events.canaryUnwritable(this.#address, reason),
        );
      }
      case 'no_database':
        throw this.#noDatabaseError(database);
      case 'lost':
        throw this.#lostError(database);
    }
  }

  /**
   * Checks whether class g arrives. The setting may be hidden, or not in force, so each canary shows it. Throws when
   * the class arrived before, and does not any more.
   */
  #checkChanges(receives: boolean): void {
    const before = this.#receivesChanges;
    this.#receivesChanges = receives;
    if (receives || before === false) return;
    if (before === true) {
      throw new NotificationsLostError(
        `Redis at ${this.#address} no longer publishes changes of keys: class g was removed from ` +
          'notify-keyspace-events',
      );
    }
    const { setting, areChangesAllowed } = this.#hearing;
    const isKnown = setting !== null && missingFlags(setting, 'g') !== '';
    if (isKnown || !areChangesAllowed) return;
    this.#parts.events.notificationsPartial(this.#address, setting, WANTED_FLAGS);
  }

  #recordProof(database: number): void {
    const wasTroubled = isTroubled(this.proof) && this.proof !== NOT_TRIED;
    this.#proofs.set(database, PROVED);
    this.#provedAtMs = this.#parts.clock.monotonicMs();
    if (wasTroubled && !isTroubled(this.proof)) {
      this.#parts.events.canaryRecovered(this.#address);
    }
  }

  #recordRemoval(database: number): void {
    const reason =
      `the canary key in database ${database} was removed before its deadline, by a flush or an ` +
      'eviction policy';
    this.#recordFailure(database, { kind: 'failing', reason }, () =>
      this.#parts.events.canaryRemoved(this.#address, reason),
    );
  }

  #recordEviction(database: number): void {
    this.#provedAtMs = this.#parts.clock.monotonicMs();
    const reason = `the canary key in database ${database} was evicted or deleted before its deadline`;
    this.#recordFailure(database, { kind: 'evicted', reason }, () =>
      this.#parts.events.canaryEvicted(this.#address, reason),
    );
  }

  /** Records a result, and reports it unless the same reason was already reported for any database. */
  #recordFailure(
    database: number,
    proof: Exclude<Proof, { kind: 'proved' }>,
    say: () => void,
  ): void {
    const known = [...this.#proofs.values()].some(
      (other) => other.kind !== 'proved' && other.reason === proof.reason,
    );
    this.#proofs.set(database, proof);
    if (!known) say();
  }

  #noDatabaseError(database: number): RelayError {
    const { text, advice } = judgeNoDatabase(database, this.#parts.settings);
    return new NoDatabaseError(`${text}. ${capitalize(advice ?? '')}`);
  }

  #lostError(database: number): RelayError {
    const everProved = [...this.#proofs.values()].includes(PROVED);
    if (this.#hearing.setting === null && !everProved) {
      return new NotificationsOffError(
        `Redis at ${this.#address} does not publish expirations (the canary key in database ` +
          `${database} expired without a notification) and does not show its setting. Set ` +
          `notify-keyspace-events to "${WANTED_FLAGS}" in the configuration of the server (for a managed ` +
          'service, its parameter group)',
      );
    }
    return new CanaryLostError(
      `the canary key in database ${database} of Redis at ${this.#address} expired without a notification`,
    );
  }
}

function isTroubled({ kind }: Proof): boolean {
  return kind === 'failing' || kind === 'evicted';
}
