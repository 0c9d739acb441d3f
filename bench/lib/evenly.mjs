/** Keys that are added at an even rate. */
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * @typedef {object} Rate
 * @property {number} count
 * @property {number} perSecond
 * @property {number} lifeMs
 */

/**
 * One second of keys named `warm` comes first.
 * @param {Rate} rate
 * @param {(name: string, deadlineMs: number) => Promise<unknown>} add
 */
export async function addEvenly({ count, perSecond, lifeMs }, add) {
  const startMs = performance.now();
  for (let n = -perSecond; n < count; n += 1) {
    const dueInMs = startMs + ((n + perSecond) * 1_000) / perSecond - performance.now();
    if (dueInMs > 0) await sleep(dueInMs);
    await add(n < 0 ? 'warm' : String(n), Date.now() + lifeMs);
  }
}
