/**
 * Whether the server is still the primary that it was when the session began. A failover closes no
 * connection: the demoted server goes on answering, and publishes `del` for each key that expires on
 * the new primary.
 */
import type { ChainableCommander, Redis } from 'ioredis';
import { RedisChangedError, RedisIsReplicaError, type RelayError } from '../model/errors.js';
import type { RedisSettings } from '../model/vocabulary.js';
import { addressOf, redisError, replicaAdvice } from '../redis/client.js';
import { isElsewhere, isRefusal, isReply } from '../redis/refusal.js';
import { parseInfo } from '../server/info.js';
import { roleOf } from '../server/properties.js';

/** What a server answers that is not, or not now, the primary of a key. */
const NOT_PRIMARY = /^(READONLY|MOVED|ASK|CLUSTERDOWN|LOADING|MASTERDOWN)\b/;

/** What a server shows of its replication; null where it does not. */
interface Replication {
  /** host:port of the primary that it is a replica of, or 'another server' where that is not shown. */
  readonly primary: string | null;
  /** Another one each time the server becomes a primary. */
  readonly id: string | null;
  /** Set when it was a replica before it became a primary. */
  readonly formerId: string | null;
}

/** HELLO is not asked here. */
const NO_HELLO: ReadonlyMap<string, string> = new Map();

const UNKNOWN: Replication = { primary: null, id: null, formerId: null };

interface Question {
  readonly ask: (pipeline: ChainableCommander, key: string, value: string) => ChainableCommander;
  readonly read: (reply: unknown) => Replication;
}

/** The best one first: the first that the server allows is asked from then on. */
const QUESTIONS: readonly Question[] = [
  { ask: (pipeline) => pipeline.info('replication'), read: (reply) => ofInfo(String(reply)) },
  { ask: (pipeline) => pipeline.role(), read: (reply) => ofRole(reply as unknown[]) },
  // A replica refuses it.
  { ask: (pipeline, key, value) => pipeline.set(key, value, 'XX'), read: () => UNKNOWN },
];

interface Answer {
  readonly replication: Replication;
  /** How it refused the relay's own key; null when it did not. */
  readonly refusal: string | null;
}

export interface PrimaryParts {
  readonly redis: Redis;
  readonly settings: RedisSettings;
  /** The marker's: a node of a cluster that has lost its slot is not its primary. */
  readonly ownKey: string;
}

export class Primary {
  readonly #parts: PrimaryParts;
  readonly #address: string;
  /** Which of the questions is asked. */
  #asked = 0;
  #id: string | null = null;
  /** A relay may keep its own keys on another node, and watch this one. */
  #hadSlot = true;
  #lose: (error: RelayError) => void = () => undefined;
  /** Resolves, once, with why the server is not that primary any more. Never rejects. */
  readonly lost = new Promise<RelayError>((resolve) => {
    this.#lose = resolve;
  });

  private constructor(parts: PrimaryParts) {
    this.#parts = parts;
    this.#address = addressOf(parts.settings);
  }

  /** Rejects when the server is no primary. */
  static async of(parts: PrimaryParts): Promise<Primary> {
    const primary = new Primary(parts);
    await primary.#begin();
    return primary;
  }

  /**
   * Resolves when the server is that primary, and has been all the time since the session began.
   * Rejects when it is not, which ends the session, and when nobody can tell now.
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
    if (primary !== null) throw new RedisIsReplicaError(replicaAdvice(this.#address, primary));
    if (refusal?.startsWith('READONLY')) throw redisError(refusal, this.#parts.settings);
    this.#hadSlot = refusal === null || !isElsewhere(refusal);
    this.#id = id;
    const error = this.#changeIn(answer);
    if (error !== null) throw error;
  }

  async #ask(): Promise<Answer> {
    const { redis, settings, ownKey } = this.#parts;
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
    const then = 'The relay connects again, and waits until redis.url leads to the primary';
    if (primary !== null) {
      return new RedisChangedError(`${at} was demoted: it is a replica of ${primary} now. ${then}`);
    }
    if (refusal !== null && isElsewhere(refusal)) {
      if (!this.#hadSlot) return null;
      return new RedisChangedError(
        `${at} has lost the slot of the relay's own keys (${refusal}): a failover, or a slot that ` +
          `was moved. ${then}`,
      );
    }
    if (refusal?.startsWith('READONLY')) {
      return new RedisChangedError(`${at} was demoted: it refuses writes (${refusal}). ${then}`);
    }
    if (refusal !== null) return redisError(refusal, this.#parts.settings);
    if (this.#id !== null && id !== this.#id && formerId !== null) {
      return new RedisChangedError(
        `${at} was a replica for a while, and is the primary again. The relay connects again, and ` +
          'reads what expired meanwhile',
      );
    }
    // A primary gets another id, too, when its first replica comes.
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

/** Null for what is no replica. */
function primaryOf({ role, primary }: ReturnType<typeof roleOf>): string | null {
  return role === 'replica' ? (primary ?? 'another server') : null;
}
