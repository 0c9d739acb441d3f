/**
 * Time and randomness as arguments, so that tests control both. No other file reads the system's clock, timers or
 * random numbers.
 */
import { randomBytes } from 'node:crypto';

export interface Clock {
  /** Milliseconds since the Unix epoch, by this machine's clock. */
  nowMs(): number;
  /** Monotonic milliseconds from an arbitrary start, for measuring durations. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Resolves after all other ready work has run: input, output, timers. */
  turn(): Promise<void>;
  /** Calls `callback` once after `ms`. Returns the cancellation. */
  after(ms: number, callback: () => void): () => void;
}

export interface Chance {
  /** A number in [0, 1). */
  fraction(): number;
  /** 128 random bits in lower-case hex. */
  token(): string;
}

/** Resolves when the signal has aborted; never rejects. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** setTimeout fires at once for longer delays, so longer delays are split. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const wake = () => {
        cancel();
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const cancel = systemClock.after(ms, wake);
      signal?.addEventListener('abort', wake, { once: true });
    }),
  turn: () => new Promise((resolve) => setImmediate(resolve)),
  after: (ms, callback) => {
    const dueMs = performance.now() + ms;
    const step = () => {
      const leftMs = dueMs - performance.now();
      if (leftMs > TIMER_MS_MAX) timer = setTimeout(step, TIMER_MS_MAX);
      else timer = setTimeout(callback, Math.max(0, leftMs));
    };
    let timer: NodeJS.Timeout | undefined;
    step();
    return () => clearTimeout(timer);
  },
};

export const systemChance: Chance = {
  fraction: () => Math.random(),
  token: () => randomBytes(16).toString('hex'),
};
