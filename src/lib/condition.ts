import type { Clock } from './clock.js';

/** A condition variable: waiters look again when they are notified. */
export class Condition {
  readonly #waiting = new Set<() => void>();
  #version = 0;

  /** The number of notifications. */
  get version(): number {
    return this.#version;
  }

  notifyAll(): void {
    this.#version += 1;
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next notification, after `ms` unless that is null, or when the signal aborts. */
  wait(clock: Clock, ms: number | null, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const wake = () => {
        cancel();
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const cancel = ms === null ? () => undefined : clock.after(ms, wake);
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake, { once: true });
    });
  }
}
