/**
 * Which replicas live. Each replica writes a sign of life every few seconds. When a sign of life stops
 * changing, the claims of its replica become ready again. No clocks are compared. A replica that was only
 * suspended (SIGSTOP, a long pause) finds its claims void when it resumes: what it then settles changes nothing.
 */
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../model/errors.js';
import {
  DEAD_AFTER_MS,
  endpointKeys,
  endpointsKey,
  FORMAT_VERSION,
  formatKey,
  GROUP,
  replicasKey,
} from '../state/format.js';
import { ignoreTrouble } from '../state/health.js';
import { scoresByName } from '../state/names.js';
import type { RedisState } from '../state/redis-state.js';
import { REPLICA } from '../state/stored.js';
import { Unchanged } from '../state/unchanged.js';
import type { OutboxScripts } from './scripts/scripts.js';

/** Several within `DEAD_AFTER_MS`, so that one that is lost does not matter. */
export const HEARTBEAT_EVERY_MS = 2_500;

/** The wait after one that was not taken: what has endpoints must be known before it can be missed. */
const BEAT_AGAIN_MS = 250;

/** Redis was away for a while when two that it took lie further apart. */
const BEAT_GAP_MS_MAX = 2 * HEARTBEAT_EVERY_MS;

/**
 * While Redis is away no replica can give a sign of life. The others have so long to come back before
 * what they had claimed is taken over: the longest wait before a connection is made anew, and a beat.
 */
export const OTHERS_BACK_MS = 5_000;

/** Claims that one script hands back. */
const RECLAIM_BATCH = 100;

export interface PresenceParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  readonly replica: string;
  /** Those that this replica's file has. */
  readonly endpoints: readonly string[];
  readonly clock: Clock;
  /** Told of deliveries that a dead replica had claimed, once they are ready again. */
  readonly onReclaimed: (endpoint: string, replica: string, count: number) => void;
}

export class Presence {
  readonly #parts: PresenceParts;
  readonly #stop = new AbortController();
  /** The last signs of life of all replicas. */
  readonly #signs = new Unchanged();
  #beatAtMs = Number.NEGATIVE_INFINITY;
  /** Since when signs of life have been taken without a gap. */
  #steadySinceMs = Number.POSITIVE_INFINITY;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: PresenceParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Says goodbye: what this replica still holds is ready for the others at once. */
  async stop(): Promise<void> {
    const { state, replica } = this.#parts;
    this.#stop.abort();
    await this.#loop;
    const key = replicasKey(state.prefix);
    await ignoreTrouble(() => state.run('beat', () => state.redis.zrem(key, replica)));
  }

  /** Signs of life; what fails is done by the next. */
  async #run(): Promise<void> {
    const { clock, state } = this.#parts;
    const { signal } = this.#stop;
    const reclaiming = this.#reclaimForEver();
    while (!signal.aborted) {
      const beatAtMs = this.#beatAtMs;
      await state.pass('presence', () => this.beat());
      const isTaken = this.#beatAtMs !== beatAtMs;
      await clock.sleep(isTaken ? HEARTBEAT_EVERY_MS : BEAT_AGAIN_MS, signal);
    }
    await reclaiming;
  }

  /** On its own: with many endpoints a look at all of them takes long, and signs of life do not wait. */
  async #reclaimForEver(): Promise<void> {
    const { clock } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(HEARTBEAT_EVERY_MS, signal);
      if (this.#isSteady()) await this.reclaim();
    }
  }

  /** Whether Redis has been there for so long that whoever lives has said so. */
  #isSteady(): boolean {
    const nowMs = this.#parts.clock.monotonicMs();
    const isRecent = nowMs - this.#beatAtMs <= BEAT_GAP_MS_MAX;
    return isRecent && nowMs - this.#steadySinceMs >= OTHERS_BACK_MS;
  }

  /** One sign of life, of this replica and of the endpoints that it has. */
  async beat(): Promise<void> {
    const { state, scripts, replica, endpoints, clock } = this.#parts;
    const { prefix } = state;
    const keys = [replicasKey(prefix), endpointsKey(prefix), formatKey(prefix)];
    const args = [replica, FORMAT_VERSION, ...endpoints];
    const isNew = await state.run('beat', () => scripts.beat(keys, args));
    if (isNew === 1) state.emptied();
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#beatAtMs > BEAT_GAP_MS_MAX) this.#steadySinceMs = nowMs;
    this.#beatAtMs = nowMs;
  }

  /** Makes ready again what dead replicas had claimed, at each endpoint where that can be done. */
  async reclaim(): Promise<void> {
    const { state } = this.#parts;
    let dead: ReadonlySet<string> = new Set();
    await state.pass('reclaim', async () => {
      dead = await this.#dead();
    });
    for (const endpoint of this.#parts.endpoints) {
      if (this.#stop.signal.aborted) return;
      await state.pass('reclaim', async () => {
        for (const replica of await this.#othersAt(endpoint)) {
          const name = replica.toString();
          const isThere = this.#signs.valueOf(name) !== null;
          if (!isThere || dead.has(name)) await this.#reclaimFrom(endpoint, replica);
        }
      });
    }
    for (const replica of dead) await state.pass('reclaim', () => this.#forget(replica));
  }

  /** Those whose signs of life this replica has seen unchanged for long enough. */
  async #dead(): Promise<ReadonlySet<string>> {
    const { state, clock } = this.#parts;
    const key = replicasKey(state.prefix);
    const signs = await scoresByName(state, 'reclaim', key, REPLICA);
    const nowMs = clock.monotonicMs();
    this.#signs.note(signs, nowMs);
    return new Set(this.#signs.since(DEAD_AFTER_MS, nowMs).keys());
  }

  /**
   * The other replicas that have ever claimed here, and have not been cleared away. Another client may have
   * claimed as well, under any name.
   */
  async #othersAt(endpoint: string): Promise<Buffer[]> {
    const { state } = this.#parts;
    const { ready } = endpointKeys(state.prefix, endpoint);
    const look = async () => {
      try {
        return (await state.redis.callBuffer('XINFO', 'CONSUMERS', ready, GROUP)) as Buffer[][];
      } catch (error) {
        // Nothing has been claimed yet: there is no stream, or no group on it.
        if (/no such key|NOGROUP/.test(messageOf(error))) return [];
        throw error;
      }
    };
    const consumers = await state.run('reclaim', look, endpoint);
    const names = consumers.flatMap(
      (fields) => fields[fields.findIndex((field) => field.toString() === 'name') + 1] ?? [],
    );
    return names.filter((name) => name.toString() !== this.#parts.replica);
  }

  async #reclaimFrom(endpoint: string, replica: Buffer): Promise<void> {
    const { state, scripts, onReclaimed } = this.#parts;
    const { ready } = endpointKeys(state.prefix, endpoint);
    const keys = [ready, replicasKey(state.prefix)];
    const name = replica.toString();
    let count: number;
    do {
      const args = [replica, this.#signs.valueOf(name) ?? '', RECLAIM_BATCH];
      count = Number(await state.run('reclaim', () => scripts.reclaim(keys, args), endpoint));
      if (count > 0) onReclaimed(endpoint, name, count);
    } while (count === RECLAIM_BATCH && !this.#stop.signal.aborted);
  }

  /** What it had claimed at other endpoints is left to those who have them. */
  async #forget(replica: string): Promise<void> {
    const { state, scripts } = this.#parts;
    const args = [replica, this.#signs.valueOf(replica) ?? ''];
    const key = replicasKey(state.prefix);
    await state.run('reclaim', () => scripts.forgetReplica([key], args));
  }
}
