/** The outbox's scripts, by name. Each is one atomic step. */
import type { Redis } from 'ioredis';
import { defineScripts, type Scripts } from '../../redis/scripts.js';
import { DROP, EXPIRE_DEAD, REPLAY } from './dead-letters.js';
import {
  CLAIM,
  DEPTH,
  ENQUEUE,
  LIMIT_WAITS,
  RELEASE,
  SETTLE_DEAD,
  SETTLE_DONE,
  SETTLE_RETRY,
} from './deliveries.js';
import { RESTORE } from './orphans.js';
import { BEAT, BURY_UNKNOWN, FORGET_REPLICA, GIVE_BACK, RECLAIM } from './replicas.js';

const OUTBOX_LUA = {
  enqueue: ENQUEUE,
  claim: CLAIM,
  settleDone: SETTLE_DONE,
  settleRetry: SETTLE_RETRY,
  settleDead: SETTLE_DEAD,
  limitWaits: LIMIT_WAITS,
  release: RELEASE,
  depth: DEPTH,
  beat: BEAT,
  giveBack: GIVE_BACK,
  reclaim: RECLAIM,
  forgetReplica: FORGET_REPLICA,
  buryUnknown: BURY_UNKNOWN,
  replay: REPLAY,
  drop: DROP,
  expireDead: EXPIRE_DEAD,
  restore: RESTORE,
} as const;

export type OutboxScripts = Scripts<typeof OUTBOX_LUA>;

export function defineOutboxScripts(redis: Redis): OutboxScripts {
  return defineScripts(redis, OUTBOX_LUA);
}
