/** The plan of a writer for a key. */
import type { Random } from './random.js';
import type { Command, Ending, Held, Life } from './records.js';

/** The endings of a key, in percent. */
export const FATES = {
  expire: 38,
  delete: 20,
  extend: 8,
  shorten: 2,
  persist: 5,
  overwrite: 5,
  rename: 5,
  replace: 2,
  recreate: 9,
  'delete and recreate': 6,
} as const;

export type Fate = keyof typeof FATES;

/** Nothing is done to a key later than this before its deadline, but for the last moments. */
const WELL_BEFORE_MS = 300;
const LAST_MOMENT_MS = { min: 5, max: 60 } as const;

/** A life as it is being written down. */
export class WrittenLife implements Life {
  readonly key: string;
  readonly held: [Held, ...Held[]];
  ending: Ending = { kind: 'expired' };

  readonly origin: Life | null;

  constructor(key: string, first: Held, origin: Life | null) {
    this.key = key;
    this.origin = origin;
    this.held = [first];
    this.#judge(first);
  }

  get deadlineMs(): number {
    return (this.held.at(-1) ?? this.held[0]).deadlineMs;
  }

  got(deadlineMs: number, since: Command): void {
    this.held.push({ deadlineMs, since });
    this.#judge({ deadlineMs, since });
  }

  /** Late enough, it may have been a deadline in the past: Redis then deletes the key, and nothing expires. */
  #judge({ deadlineMs, since }: Held): void {
    if (since.toMs >= deadlineMs) this.unknown();
  }

  ended(kind: Exclude<Ending['kind'], 'expired' | 'unknown'>, at: Command): void {
    this.ending = { kind, at };
  }

  unknown(): void {
    this.ending = { kind: 'unknown' };
  }
}

/** The TTL of a key. Some expire before a replica can read them. */
export function lifeMsOf(random: Random, lifeMsMax: number): number {
  const lengths = { blink: 3, short: 17, usual: 55, long: 25 };
  switch (random.weighted(lengths)) {
    case 'blink':
      return random.between(3, 20);
    case 'short':
      return random.between(20, 400);
    case 'usual':
      return random.between(400, lifeMsMax / 2);
    case 'long':
      return random.between(lifeMsMax / 2, lifeMsMax);
  }
}

/** When something is to be done to a key with this deadline; null when there is no time. */
export function momentOf(random: Random, nowMs: number, deadlineMs: number): number | null {
  const leftMs = deadlineMs - WELL_BEFORE_MS - nowMs;
  const moments = { soon: 30, 'some time': 60, 'at last': 10 };
  const moment = random.weighted(moments);
  if (moment === 'at last' && leftMs > 0) {
    return deadlineMs - random.between(LAST_MOMENT_MS.min, LAST_MOMENT_MS.max);
  }
  if (leftMs <= 0) return null;
  return nowMs + random.between(0, moment === 'soon' ? Math.min(50, leftMs) : leftMs);
}
