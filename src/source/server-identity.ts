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
  readonly #connect: () => Promise<Redis>;
  readonly #key: string;
  readonly #runId: string | null;

  /** `connect`: to the server, where no other code selects a database for longer than one pipeline. */
  constructor(connect: () => Promise<Redis>, key: string, runId: string | null) {
    this.#connect = connect;
    this.#key = key;
    this.#runId = runId;
  }

  /** Rejects when the connection fails. */
  async read(): Promise<FoundServer> {
    const redis = await this.#connect();
    const replies = await redis.pipeline().select(0).get(this.#key).exec();
    const [refusal, found] = replies?.[1] ?? [null, null];
    throwIfBroken(redis, refusal);
    if (refusal !== null && !isOtherType(refusal)) return { id: undefined, runId: this.#runId };
    return { id: typeof found === 'string' && ID.test(found) ? found : null, runId: this.#runId };
  }

  /** If writing is not allowed, only the address identifies the server. */
  async write(id: string): Promise<void> {
    const redis = await this.#connect();
    const replies = await redis.pipeline().select(0).set(this.#key, id).exec();
    throwIfBroken(redis, replies?.[1]?.[0] ?? null);
  }
}

function throwIfBroken(redis: Redis, refusal: Error | null): void {
  if (refusal !== null && redis.status !== 'ready') throw refusal;
}
