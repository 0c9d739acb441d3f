/** Identifies a server by a name that the relay writes into it, and by the run_id of its process. */
import type { Redis } from 'ioredis';

export interface FoundServer {
  /** The name written by a relay: null if the server has none, undefined if it cannot be read. */
  readonly id: string | null | undefined;
  /** Of the server's process, new at each restart; null when it is not shown. */
  readonly runId: string | null;
}

export class ServerIdentity {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #runId: string | null;

  /** `redis` is a connection whose database nobody else selects for longer than one pipeline. */
  constructor(redis: Redis, key: string, runId: string | null) {
    this.#redis = redis;
    this.#key = key;
    this.#runId = runId;
  }

  /** Rejects when the connection does. */
  async read(): Promise<FoundServer> {
    const replies = await this.#redis.pipeline().select(0).get(this.#key).exec();
    const [refusal, id] = replies?.[1] ?? [null, null];
    this.#unlessBroken(refusal);
    return { id: refusal === null ? (id as string | null) : undefined, runId: this.#runId };
  }

  /** Where it may not be written, the server is known by its address alone. */
  async write(id: string): Promise<void> {
    const replies = await this.#redis.pipeline().select(0).set(this.#key, id).exec();
    this.#unlessBroken(replies?.[1]?.[0] ?? null);
  }

  #unlessBroken(refusal: Error | null): void {
    if (refusal !== null && this.#redis.status !== 'ready') throw refusal;
  }
}
