/**
 * Heartbeats of replicas, and takeover of abandoned claims. When a replica's heartbeat stops changing, its claims
 * become ready again. No clocks are compared. A replica that was only suspended (SIGSTOP, a long pause) finds its
 * claims void when it resumes: settling them changes nothing.
 */
import type { Clock } from '../lib/clock.js';
import { PeriodicLoop } from '../lib/periodic-loop.js';
import {
  DEAD_AFTER_MS,
  endpointKeys,
  endpointsKey,
  FORMAT_VERSION,
  formatKey,
  replicasKey,
} from '../state/format.js';
import { ignoreTrouble } from '../state/health.js';
import { scoresByName } from '../state/names.js';
import type { RedisState } from '../state/redis-state.js';
import { REPLICA } from '../state/stored.js';
import { Unchanged } from '../state/unchanged.js';
import { LOOK_BATCH, type OutboxScripts } from './scripts/scripts.js';

/** Several heartbeats fit into `DEAD_AFTER_MS`: losing one does not matter. */
export const HEARTBEAT_EVERY_MS = 2_500;

/** The wait after a failed heartbeat: endpoints must be registered before they can be missed. */
const HEARTBEAT_AGAIN_MS = 250;

/** A longer time between two heartbeats means that Redis was unavailable. */
const HEARTBEAT_GAP_MS_MAX = 2 * HEARTBEAT_EVERY_MS;

/**
 * While Redis is unavailable, no replica can send a heartbeat. After an outage, takeovers wait this long for the
 * others: the longest reconnection delay and one heartbeat.
 */
export const OTHERS_BACK_MS = 5_000;

/** Claims that one script releases. */
const RECLAIM_BATCH = 50;

export interface PresenceParts {
  readonly state: RedisState;
  readonly scripts: OutboxScripts;
  readonly replica: string;
  /** Returns the endpoints of this replica's current configuration. */
  readonly endpoints: () => readonly string[];
  readonly clock: Clock;
  /** Called with the number of a dead replica's claims that became ready again. */
  readonly onReclaimed: (endpoint: string, replica: string, count: number) => void;
}

export class Presence {
  readonly #parts: PresenceParts;
  readonly #heartbeats: PeriodicLoop;
  /** A loop of its own: with many endpoints a round takes long, and must not delay heartbeats. */
  readonly #reclaims: PeriodicLoop;
  /** The last heartbeats of all replicas. */
  readonly #signs = new Unchanged();
  #heartbeatAtMs = Number.NEGATIVE_INFINITY;
  /** Since when heartbeats have succeeded without a gap. */
  #steadySinceMs = Number.POSITIVE_INFINITY;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
    const { state, clock } = parts;
    this.#heartbeats = new PeriodicLoop(clock, async () => {
      // The next heartbeat makes up for a failure.
      const isDone = await state.pass('presence', () => this.heartbeat());
      return isDone ? HEARTBEAT_EVERY_MS : HEARTBEAT_AGAIN_MS;
    });
    this.#reclaims = new PeriodicLoop(clock, async () => {
      if (this.#isSteady()) await this.reclaim();
      return HEARTBEAT_EVERY_MS;
    });
  }

  start(): void {
    this.#heartbeats.start();
    this.#reclaims.start(HEARTBEAT_EVERY_MS);
  }

  /** Registers the endpoints of a reloaded configuration; the next heartbeat makes up for a failure. */
  announce(): void {
    void this.#parts.state.pass('presence', () => this.heartbeat());
  }

  /** Deregisters the replica: its remaining claims are ready for the others at once. */
  async stop(): Promise<void> {
    const { state, replica } = this.#parts;
    await Promise.all([this.#heartbeats.stop(), this.#reclaims.stop()]);
    const key = replicasKey(state.prefix);
    await ignoreTrouble(() => state.run('heartbeat', () => state.redis.zrem(key, replica)));
  }

  /** Whether Redis has been available for long enough that every live replica has sent a heartbeat. */
  #isSteady(): boolean {
    const nowMs = this.#parts.clock.monotonicMs();
    const isRecent = nowMs - this.#heartbeatAtMs <= HEARTBEAT_GAP_MS_MAX;
    return isRecent && nowMs - this.#steadySinceMs >= OTHERS_BACK_MS;
  }

  /** Sends one heartbeat, for this replica and its endpoints. */
  async heartbeat(): Promise<void> {
    const { state, scripts, replica, endpoints, clock } = this.#parts;
    const { prefix } = state;
    const keys = [replicasKey(prefix), endpointsKey(prefix), formatKey(prefix)];
    const args = [replica, FORMAT_VERSION, ...endpoints()];
    const isNew = await state.run('heartbeat', () => scripts.heartbeat(keys, args));
    if (isNew === 1) state.reportDataLoss();
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#heartbeatAtMs > HEARTBEAT_GAP_MS_MAX) this.#steadySinceMs = nowMs;
    this.#heartbeatAtMs = nowMs;
  }

  /** Takes over the claims of dead replicas, at each endpoint where possible. */
  async reclaim(): Promise<void> {
    const { state } = this.#parts;
    let dead: ReadonlySet<string> = new Set();
    let others: ReadonlyMap<string, readonly Buffer[]> = new Map();
    await state.pass('reclaim', async () => {
      dead = await this.#dead();
      others = await this.#others();
    });
    for (const [endpoint, replicas] of others) {
      if (this.#reclaims.signal.aborted) return;
      await state.pass('reclaim', async () => {
        for (const replica of replicas) {
          const name = replica.toString();
          const isListed = this.#signs.valueOf(name) !== null;
          if (!isListed || dead.has(name)) await this.#reclaimFrom(endpoint, replica);
        }
      });
    }
    for (const replica of dead) await state.pass('reclaim', () => this.#forget(replica));
  }

  /** The replicas whose heartbeats this replica has seen unchanged for long enough. */
  async #dead(): Promise<ReadonlySet<string>> {
    const { state, clock } = this.#parts;
    const key = replicasKey(state.prefix);
    const signs = await scoresByName(state, 'reclaim', key, REPLICA);
    const nowMs = clock.monotonicMs();
    this.#signs.update(signs, nowMs);
    return new Set(this.#signs.since(DEAD_AFTER_MS, nowMs).keys());
  }

  /** The other consumers of each endpoint's group that are not deleted yet. */
  async #others(): Promise<ReadonlyMap<string, readonly Buffer[]>> {
    const { state, scripts, replica } = this.#parts;
    const endpoints = this.#parts.endpoints();
    const others = new Map<string, readonly Buffer[]>();
    for (let from = 0; from < endpoints.length; from += LOOK_BATCH) {
      const some = endpoints.slice(from, from + LOOK_BATCH);
      const keys = some.map((endpoint) => endpointKeys(state.prefix, endpoint).ready);
      const found = await state.run('reclaim', () => scripts.others(keys, [replica]));
      for (const [at, names] of (found as Buffer[][]).entries()) others.set(some[at] ?? '', names);
    }
    return others;
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
    } while (count === RECLAIM_BATCH && !this.#reclaims.signal.aborted);
  }

  /** Removes a dead replica. Its claims at other endpoints are taken over by replicas that have those. */
  async #forget(replica: string): Promise<void> {
    const { state, scripts } = this.#parts;
    const args = [replica, this.#signs.valueOf(replica) ?? ''];
    const key = replicasKey(state.prefix);
    await state.run('reclaim', () => scripts.forgetReplica([key], args));
  }
}
