/** The depth of an endpoint in Redis; also read by the command line, beside running replicas. */
import { endpointKeys } from '../state/format.js';
import type { RedisState } from '../state/redis-state.js';
import type { Depth } from './outbox.js';
import { type PauseFields, pauseOf } from './redis-pauses.js';
import type { OutboxScripts } from './scripts/scripts.js';

/** The oldest due delivery. Times are by the clock of the state Redis. */
export interface OldestDue {
  /** Its entry or member. */
  readonly what: string;
  readonly dueMs: number;
  /** The present time. */
  readonly atMs: number;
}

/** As the script returns it. */
type DepthReply = readonly [
  ...[pending: number, what: Buffer, dueMs: number, atMs: number],
  ...[deadLetters: number, throttledForMs: number],
  ...PauseFields,
];

export async function readDepth(
  state: RedisState,
  scripts: OutboxScripts,
  endpoint: string,
): Promise<Omit<Depth, 'oldestDueForMs'> & { readonly oldest: OldestDue | null }> {
  const names = endpointKeys(state.prefix, endpoint);
  const keys = [names.ready, names.deliveries, names.waiting, names.throttle, names.deadOrder];
  const reply = await state.run('depth', () => scripts.depth(keys, []), endpoint);
  const [pending, what, dueMs, atMs, deadLetters, throttledForMs, ...pause] = reply as DepthReply;
  const name = what.toString();
  return {
    pending,
    oldest: name === '' ? null : { what: name, dueMs, atMs },
    deadLetters,
    throttledForMs,
    paused: pauseOf(pause),
  };
}
