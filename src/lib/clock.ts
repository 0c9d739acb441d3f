/**
 * Time and chance, as arguments: the only place that asks the system for either, so that every
 * decision can be tested at any hour and with any luck.
 */
import { randomBytes } from 'node:crypto';

export interface Clock {
  /** Milliseconds since the Unix epoch, by this machine's clock. */
  nowMs(): number;
  /** Milliseconds that only ever grow, from an arbitrary start: for measuring lengths of time. */
  monotonicMs(): number;
  /** Resolves after `ms`, or at once when the signal aborts; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Resolves after everything else that is ready has had its turn: input, output, timers. */
  turn(): Promise<void>;
  /** Calls `callback` once after `ms`. Returns the cancellation. */
  after(ms: number, callback: () => void): () => void;
}

export interface Chance {
  /** In [0, 1). */
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

/** setTimeout fires at once for anything longer than this, so longer waits are cut into pieces. */
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
