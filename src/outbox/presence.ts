/**
 * Which replicas live. Each one keeps a key of its own alive; what a replica had claimed whose key
 * is gone becomes ready again. A replica that only stood still (SIGSTOP, a long pause) finds its
 * claims void when it wakes up: what it then settles changes nothing.
 */
import type { Redis } from 'ioredis';
import type { Clock } from '../clock.js';
import { messageOf, StateUnavailableError } from '../errors.js';
import { DEAD_AFTER_MS, endpointKeys, GROUP, replicaKey } from './format.js';
import { Scripts } from './scripts.js';

/** Several within `DEAD_AFTER_MS`, so that one that is lost does not matter. */
const BEAT_EVERY_MS = 2_500;

/** Claims that one script hands back. */
const RECLAIM_BATCH = 100;

export interface PresenceParts {
  readonly redis: Redis;
  /** What the keys begin with: `state.prefix`. */
  readonly prefix: string;
  readonly replica: string;
  readonly endpoints: readonly string[];
  readonly clock: Clock;
  /** Told of deliveries that a dead replica had claimed, once they are ready again. */
  readonly onReclaimed: (endpoint: string, replica: string, count: number) => void;
  /** Told when Redis cannot be used; the next beat tries again. */
  readonly onFailed: (error: unknown) => void;
}

export class Presence {
  readonly #parts: PresenceParts;
  readonly #scripts: Scripts;
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: PresenceParts) {
    this.#parts = parts;
    this.#scripts = new Scripts(parts.redis);
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Says goodbye: what this replica still holds is ready for the others at once. */
  async stop(): Promise<void> {
    const { redis, prefix, replica, onFailed } = this.#parts;
    this.#stop.abort();
    await this.#loop;
    await redis.del(replicaKey(prefix, replica)).catch(onFailed);
  }

  /** Signs of life, and a look at the others' after each. */
  async #run(): Promise<void> {
    const { clock, onFailed } = this.#parts;
    while (!this.#stop.signal.aborted) {
      try {
        await this.beat();
        await this.reclaim();
      } catch (error) {
        onFailed(error);
      }
      await clock.sleep(BEAT_EVERY_MS, this.#stop.signal);
    }
  }

  /** One sign of life. */
  async beat(): Promise<void> {
    const { redis, prefix, replica } = this.#parts;
    await redis.set(replicaKey(prefix, replica), '', 'PX', DEAD_AFTER_MS);
  }

  /** Makes ready again what dead replicas had claimed. */
  async reclaim(): Promise<void> {
    for (const endpoint of this.#parts.endpoints) {
      for (const replica of await this.#othersAt(endpoint)) {
        await this.#reclaimFrom(endpoint, replica);
      }
    }
  }

  /** The other replicas that have ever claimed here, and have not been cleared away. */
  async #othersAt(endpoint: string): Promise<string[]> {
    const { redis, prefix } = this.#parts;
    const { ready } = endpointKeys(prefix, endpoint);
    let consumers: unknown[];
    try {
      consumers = (await redis.xinfo('CONSUMERS', ready, GROUP)) as unknown[];
    } catch (error) {
      // Nothing has been claimed yet: there is no stream, or no group on it.
      if (/no such key|NOGROUP/.test(messageOf(error))) return [];
      throw new StateUnavailableError(messageOf(error));
    }
    const names = consumers.map((consumer) => {
      const fields = consumer as unknown[];
      return String(fields[fields.indexOf('name') + 1]);
    });
    return names.filter((name) => name !== this.#parts.replica);
  }

  async #reclaimFrom(endpoint: string, replica: string): Promise<void> {
    const { prefix, onReclaimed } = this.#parts;
    const { ready } = endpointKeys(prefix, endpoint);
    const keys = [ready, replicaKey(prefix, replica)];
    let count: number;
    do {
      count = Number(await this.#scripts.reclaim(keys, [replica, RECLAIM_BATCH]));
      if (count > 0) onReclaimed(endpoint, replica, count);
    } while (count === RECLAIM_BATCH && !this.#stop.signal.aborted);
  }
}
