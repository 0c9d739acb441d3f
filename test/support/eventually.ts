import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 10;

/** Waits until `look` gives something truthy; rejects with what it last gave after `withinMs`. */
export async function eventually<Found>(
  what: string,
  look: () => Found | Promise<Found>,
  withinMs = 20_000,
): Promise<NonNullable<Found>> {
  const deadlineMs = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > deadlineMs) {
      throw new Error(`${what}: not within ${withinMs} ms; last: ${JSON.stringify(found)}`);
    }
    await sleep(POLL_MS);
  }
}
