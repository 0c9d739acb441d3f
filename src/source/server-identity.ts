/** Identifies a server by an id that the relay writes to it, and by the run_id of its process. */
import type { Redis } from 'ioredis';
import { isOtherType } from '../redis/refusal.js';

export interface FoundServer {
  /** The id written by a relay. Null: the server has none. Undefined: the id cannot be read. */
  readonly id: string | null | undefined;
  /** The run_id of the server's process, new at each restart; null: not shown. */
  readonly runId: string | null;
}

/** The format of an id; any other value is overwritten. */
const ID = /^[0-9a-f]{32}$/;

export class ServerIdentity {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #runId: string | null;

  /** `redis` is a connection whose database no other code selects for longer than one pipeline. */
  constructor(redis: Redis, key: string, runId: string | null) {
    this.#redis = redis;
    this.#key = key;
    this.#runId = runId;
  }

  /** Rejects when the connection fails. */
  async read(): Promise<FoundServer> {
    const replies = await this.#redis.pipeline().select(0).get(this.#key).exec();
    const [refusal, found] = replies?.[1] ?? [null, null];
    this.#throwIfBroken(refusal);
    if (refusal !== null && !isOtherType(refusal)) return { id: undefined, runId: this.#runId };
    return { id: typeof found === 'string' && ID.test(found) ? found : null, runId: this.#runId };
  }

  /** If writing is not allowed, only the address identifies the server. */
  async write(id: string): Promise<void> {
    const replies = await this.#redis.pipeline().select(0).set(this.#key, id).exec();
    this.#throwIfBroken(replies?.[1]?.[0] ?? null);
  }

  #throwIfBroken(refusal: Error | null): void {
    if (refusal !== null && this.#redis.status !== 'ready') throw refusal;
  }
}
