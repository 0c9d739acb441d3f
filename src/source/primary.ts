/**
 * Verifies that the server is still the session's primary. A failover closes no connection: the demoted server still
 * replies, and publishes `del` for each key that expires on the new primary.
 */
import type { ChainableCommander, Redis } from 'ioredis';
import { RedisChangedError, type RelayError } from '../model/errors.js';
import type { RedisSettings } from '../model/vocabulary.js';
import { addressOf, redisError, replicaError } from '../redis/client.js';
import { isElsewhere, isRefusal, isReply } from '../redis/refusal.js';
import { settingNames } from '../redis/setting-names.js';
import { parseInfo } from '../server/info.js';
import { roleOf } from '../server/properties.js';

/** Errors of a server that is not the primary of a key, at least for now. */
const NOT_PRIMARY = /^(READONLY|MOVED|ASK|CLUSTERDOWN|LOADING|MASTERDOWN)\b/;

/** A server's replication properties; null: not shown. */
interface Replication {
  /** The primary of a replica as host:port, or 'another server' if not shown. */
  readonly primary: string | null;
  /** The replication id, new each time that the server becomes a primary. */
  readonly id: string | null;
  /** Set if the server was a replica before it became a primary. */
  readonly formerId: string | null;
}

/** HELLO is not used here. */
const NO_HELLO: ReadonlyMap<string, string> = new Map();

const UNKNOWN: Replication = { primary: null, id: null, formerId: null };

interface Question {
  readonly ask: (pipeline: ChainableCommander, key: string, value: string) => ChainableCommander;
  readonly read: (reply: unknown) => Replication;
}

/** The questions, best first. The first one that the server allows is used from then on. */
const QUESTIONS: readonly Question[] = [
  { ask: (pipeline) => pipeline.info('replication'), read: (reply) => ofInfo(String(reply)) },
  { ask: (pipeline) => pipeline.role(), read: (reply) => ofRole(reply as unknown[]) },
  // A replica rejects a write.
  { ask: (pipeline, key, value) => pipeline.set(key, value, 'XX'), read: () => UNKNOWN },
];

interface Answer {
  readonly replication: Replication;
  /** The error for the relay's own key; null: none. */
  readonly refusal: string | null;
}

export interface PrimaryParts {
  readonly redis: Redis;
  readonly settings: RedisSettings;
  /** The marker's key: a node of a cluster that has lost its slot is not its primary. */
  readonly ownKey: () => string;
}

export class Primary {
  readonly #parts: PrimaryParts;
  readonly #address: string;
  /** The index of the question in use. */
  #asked = 0;
  #id: string | null = null;
  /** False if the relay's own keys are on another node than the watched one. */
  #hadSlot = true;
  #lose: (error: RelayError) => void = () => undefined;
  /** Resolves once, with the reason why the server is not the session's primary any more. Never rejects. */
  readonly lost = new Promise<RelayError>((resolve) => {
    this.#lose = resolve;
  });

  private constructor(parts: PrimaryParts) {
    this.#parts = parts;
    this.#address = addressOf(parts.settings);
  }

  /** Rejects when the server is not a primary. */
  static async open(parts: PrimaryParts): Promise<Primary> {
    const primary = new Primary(parts);
    await primary.#begin();
    return primary;
  }

  /**
   * Resolves if the server has been the session's primary without interruption. Rejects if not, which ends the session,
   * or if that cannot be determined now.
   */
  async check(): Promise<void> {
    const error = this.#changeIn(await this.#ask());
    if (error === null) return;
    this.#lose(error);
    throw error;
  }

  async #begin(): Promise<void> {
    const answer = await this.#ask();
    const { refusal, replication } = answer;
    const { primary, id } = replication;
    if (primary !== null) throw replicaError(this.#parts.settings, primary);
    if (refusal?.startsWith('READONLY')) throw redisError(refusal, this.#parts.settings);
    this.#hadSlot = refusal === null || !isElsewhere(refusal);
    this.#id = id;
    const error = this.#changeIn(answer);
    if (error !== null) throw error;
  }

  async #ask(): Promise<Answer> {
    const { redis, settings } = this.#parts;
    const ownKey = this.#parts.ownKey();
    const [database = 0] = settings.databases;
    const question = QUESTIONS[this.#asked];
    const pipeline = redis.pipeline().select(database).exists(ownKey);
    const asking = question?.ask(pipeline, ownKey, String(database)) ?? pipeline;
    const replies = (await asking.exec()) ?? [];
    const errors = replies.flatMap(([error]) => error ?? []);
    const broken = errors.find((error) => !isReply(error));
    if (broken !== undefined) throw broken;
    const refusal = errors.find(({ message }) => NOT_PRIMARY.test(message))?.message ?? null;
    const [, , [error, reply] = [null, null]] = replies;
    if (refusal !== null || error === null) {
      const isTold = error === null && question !== undefined;
      return { replication: isTold ? question.read(reply) : UNKNOWN, refusal };
    }
    if (!isRefusal(error)) throw redisError(error, settings);
    this.#asked += 1;
    return this.#ask();
  }

  #changeIn({ replication: { primary, id, formerId }, refusal }: Answer): RelayError | null {
    const at = `Redis at ${this.#address}`;
    const { server } = settingNames(this.#parts.settings, 'redis');
    const then = `The relay reconnects until ${server} leads to the primary`;
    if (primary !== null) {
      return new RedisChangedError(`${at} was demoted and is a replica of ${primary} now. ${then}`);
    }
    if (refusal !== null && isElsewhere(refusal)) {
      // A cluster that the relay follows tells by itself which primary has which slot.
      if (!this.#hadSlot || this.#parts.settings.cluster !== null) return null;
      return new RedisChangedError(
        `${at} no longer serves the slot of the relay's own keys (${refusal}), as after a failover ` +
          `or a slot migration. ${then}`,
      );
    }
    if (refusal?.startsWith('READONLY')) {
      return new RedisChangedError(`${at} was demoted and rejects writes (${refusal}). ${then}`);
    }
    if (refusal !== null) return redisError(refusal, this.#parts.settings);
    if (this.#id !== null && id !== this.#id && formerId !== null) {
      return new RedisChangedError(
        `${at} was a replica for a while and is the primary again. The relay reconnects and ` +
          'recovers missed expirations',
      );
    }
    // A primary also gets another id when its first replica connects.
    this.#id = id;
    return null;
  }
}

function ofInfo(text: string): Replication {
  const info = parseInfo(text);
  const formerId = info.get('master_replid2');
  return {
    primary: primaryOf(roleOf(null, NO_HELLO, info)),
    id: info.get('master_replid'),
    formerId: formerId !== null && /[^0]/.test(formerId) ? formerId : null,
  };
}

function ofRole(reply: readonly unknown[]): Replication {
  return { ...UNKNOWN, primary: primaryOf(roleOf(reply, NO_HELLO, null)) };
}

/** Null: not a replica. */
function primaryOf({ role, primary }: ReturnType<typeof roleOf>): string | null {
  return role === 'replica' ? (primary ?? 'another server') : null;
}
