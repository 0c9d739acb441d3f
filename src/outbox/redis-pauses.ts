/** Pauses of endpoints in Redis, for all replicas; also used by the command line, beside running replicas. */
import { decodeUtf8 } from '../lib/printable.js';
import { DEADLINE_MS_MAX } from '../model/deadline.js';
import { endpointKeys } from '../state/format.js';
import type { RedisState } from '../state/redis-state.js';
import { PAUSE_REASON_CHARS_MAX, PAUSED_BY_CHARS_MAX, type Pause, type Pauses } from './outbox.js';
import type { OutboxScripts } from './scripts/scripts.js';

/** The values of `paused_at`, `paused_by` and `paused_for`; null: the field is missing. */
export type PauseFields = readonly [at: Buffer | null, by: Buffer | null, why: Buffer | null];

/** Null: not paused. Every client of this Redis can write the fields: any value of `paused_at` is a pause. Pure. */
export function pauseOf([at, by, why]: PauseFields): Pause | null {
  if (at === null) return null;
  const sinceMs = Number(at.toString('latin1'));
  const reason = textOf(why, PAUSE_REASON_CHARS_MAX);
  return {
    sinceMs: sinceMs >= 0 && sinceMs <= DEADLINE_MS_MAX ? sinceMs : 0,
    by: textOf(by, PAUSED_BY_CHARS_MAX),
    reason: reason === '' ? null : reason,
  };
}

function textOf(value: Buffer | null, charsMax: number): string {
  return (value === null ? '' : (decodeUtf8(value) ?? '')).slice(0, charsMax);
}

export class RedisPauses implements Pauses {
  readonly #state: RedisState;
  readonly #scripts: OutboxScripts;
  readonly #onResumed: (endpoint: string) => void;

  /** `onResumed` is called with each endpoint whose pause has ended. */
  constructor(
    state: RedisState,
    scripts: OutboxScripts,
    onResumed: (endpoint: string) => void = () => undefined,
  ) {
    this.#state = state;
    this.#scripts = scripts;
    this.#onResumed = onResumed;
  }

  async pause(endpoint: string, { by, reason }: Pick<Pause, 'by' | 'reason'>): Promise<boolean> {
    const keys = [endpointKeys(this.#state.prefix, endpoint).throttle];
    const args = [
      by.slice(0, PAUSED_BY_CHARS_MAX),
      (reason ?? '').slice(0, PAUSE_REASON_CHARS_MAX),
    ];
    return (await this.#state.run('pauses', () => this.#scripts.pause(keys, args))) === 1;
  }

  async resume(endpoint: string): Promise<boolean> {
    const keys = [endpointKeys(this.#state.prefix, endpoint).throttle];
    const ended = await this.#state.run('pauses', () => this.#scripts.resume(keys, []));
    this.#onResumed(endpoint);
    return ended === 1;
  }
}
