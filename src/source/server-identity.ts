/** Which server this is: a name of ours that lies in it, and the name of the process that runs it. */
import type { Redis } from 'ioredis';

export interface FoundServer {
  /** What a relay has written there; null when nothing lies there. Undefined when it may not be read. */
  readonly id: string | null | undefined;
  /** Of the server's process, new at each restart; null when it is not shown. */
  readonly runId: string | null;
}

export class ServerIdentity {
  readonly #redis: Redis;
  readonly #key: string;

  /** `redis` is a connection whose database nobody else selects for longer than one pipeline. */
  constructor(redis: Redis, key: string) {
    this.#redis = redis;
    this.#key = key;
  }

  /** Rejects when the connection does. */
  async read(): Promise<FoundServer> {
    const replies = await this.#redis.pipeline().select(0).get(this.#key).info('server').exec();
    const [, id, info] = replies ?? [];
    this.#unlessBroken(id?.[0] ?? info?.[0] ?? null);
    const [, runId = null] = /^run_id:(\w+)/m.exec(info?.[0] ? '' : String(info?.[1])) ?? [];
    return { id: id?.[0] ? undefined : (id?.[1] as string | null), runId };
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
