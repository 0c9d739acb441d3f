/**
 * The outbox's writes, each one atomic script, on one connection: sent once, then named by their
 * digest, again after a restart. Every key that a script touches is declared.
 */
import type { Redis } from 'ioredis';
import { DROP, EXPIRE_DEAD, REPLAY } from './dead-letters.js';
import {
  CLAIM,
  DEPTH,
  ENQUEUE,
  RELEASE,
  SETTLE_DEAD,
  SETTLE_DONE,
  SETTLE_RETRY,
} from './deliveries.js';
import { BEAT, BURY_UNKNOWN, GIVE_BACK, RECLAIM, UNKNOWN } from './replicas.js';

const LUA = {
  enqueue: ENQUEUE,
  claim: CLAIM,
  settleDone: SETTLE_DONE,
  settleRetry: SETTLE_RETRY,
  settleDead: SETTLE_DEAD,
  release: RELEASE,
  depth: DEPTH,
  beat: BEAT,
  giveBack: GIVE_BACK,
  reclaim: RECLAIM,
  unknown: UNKNOWN,
  buryUnknown: BURY_UNKNOWN,
  replay: REPLAY,
  drop: DROP,
  expireDead: EXPIRE_DEAD,
} as const;

/** Replies hold Buffers in the place of strings. */
type Run = (
  keys: readonly string[],
  args: readonly (string | number | Buffer)[],
) => Promise<unknown>;

export type Scripts = Readonly<Record<keyof typeof LUA, Run>>;

export function defineScripts(redis: Redis): Scripts {
  const names = Object.keys(LUA) as (keyof typeof LUA)[];
  return Object.fromEntries(names.map((name) => [name, define(redis, name)])) as Scripts;
}

function define(redis: Redis, name: keyof typeof LUA): Run {
  const command = `expiryRelay${name}`;
  redis.defineCommand(command, { lua: LUA[name] });
  const commands = redis as unknown as Record<string, (...words: unknown[]) => Promise<unknown>>;
  return (keys, args) => {
    const run = commands[`${command}Buffer`];
    if (run === undefined) throw new Error(`no such script: ${name}`);
    return run.call(redis, keys.length, ...keys, ...args);
  };
}
