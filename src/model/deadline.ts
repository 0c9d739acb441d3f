/** The deadlines that the relay stores. */

/**
 * The last time that a webhook's date can represent, in the year 275760. Redis accepts later deadlines: a key with
 * one is treated like a key without a deadline.
 */
export const DEADLINE_MS_MAX = 8.64e15;

/** Whether an entry can have this deadline: Redis's deadlines are whole milliseconds. */
export function isDeadline(ms: number): boolean {
  return Number.isInteger(ms) && ms >= 0 && ms <= DEADLINE_MS_MAX;
}
