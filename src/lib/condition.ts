import type { Clock } from './clock.js';

/** Notifies waiters that something may have changed. */
export class Condition {
  readonly #waiting = new Set<() => void>();
  #rung = 0;

  /** The number of notifications so far. */
  get version(): number {
    return this.#rung;
  }

  notifyAll(): void {
    this.#rung += 1;
    for (const wake of this.#waiting) wake();
  }

  /** Resolves on a notification, after `ms` unless that is null, or when the signal aborts. */
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
