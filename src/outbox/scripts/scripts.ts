/** The outbox's scripts, by name. Each is one atomic step. */
import type { Redis } from 'ioredis';
import { defineScripts, type Scripts } from '../../redis/scripts.js';
import { DROP, EXPIRE_DEAD, REPLAY } from './dead-letters.js';
import {
  CLAIM,
  DEPTH,
  ENQUEUE,
  LIMIT_WAITS,
  LOOK,
  PAUSE,
  RELEASE,
  RESUME,
  SETTLE_DEAD,
  SETTLE_DONE,
  SETTLE_RETRY,
} from './deliveries.js';
import { RESTORE, UPKEEP_LOOK } from './orphans.js';
import {
  DEAD_LETTER_UNKNOWN,
  FORGET_REPLICA,
  HEARTBEAT,
  OTHERS,
  RECLAIM,
  RELEASE_UNKNOWN,
} from './replicas.js';

/** Endpoints that one script examines: at most a few milliseconds' work for Redis. */
export const LOOK_BATCH = 200;

const OUTBOX_LUA = {
  enqueue: ENQUEUE,
  claim: CLAIM,
  look: LOOK,
  settleDone: SETTLE_DONE,
  settleRetry: SETTLE_RETRY,
  settleDead: SETTLE_DEAD,
  limitWaits: LIMIT_WAITS,
  release: RELEASE,
  depth: DEPTH,
  heartbeat: HEARTBEAT,
  releaseUnknown: RELEASE_UNKNOWN,
  others: OTHERS,
  reclaim: RECLAIM,
  forgetReplica: FORGET_REPLICA,
  deadLetterUnknown: DEAD_LETTER_UNKNOWN,
  replay: REPLAY,
  drop: DROP,
  expireDead: EXPIRE_DEAD,
  restore: RESTORE,
  upkeepLook: UPKEEP_LOOK,
  pause: PAUSE,
  resume: RESUME,
} as const;

export type OutboxScripts = Scripts<typeof OUTBOX_LUA>;

export function defineOutboxScripts(redis: Redis): OutboxScripts {
  return defineScripts(redis, OUTBOX_LUA);
}
