import { setMaxListeners } from 'node:events';

/**
 * Runs tasks until all of them have ended. When a task rejects or `signal` aborts, the tasks' own signal aborts;
 * the rejection is passed on once every task has ended.
 */
export async function runTogether(
  signal: AbortSignal,
  tasks: readonly ((signal: AbortSignal) => Promise<unknown>)[],
): Promise<void> {
  const ending = new AbortController();
  // Each task may add several listeners to the signal; Node warns beyond ten.
  setMaxListeners(0, ending.signal);
  const end = () => ending.abort();
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });
  const running = tasks.map((task) => task(ending.signal));
  try {
    await Promise.all(running);
  } finally {
    end();
    signal.removeEventListener('abort', end);
    await Promise.allSettled(running);
  }
}
