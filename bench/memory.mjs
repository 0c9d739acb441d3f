import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOKS = 8;

/**
 * The least of some looks over four seconds: garbage that is yet to be collected is no memory in use.
 * @param {number | undefined} pid
 */
export async function residentBytes(pid) {
  let least = Number.POSITIVE_INFINITY;
  for (let look = 0; look < LOOKS; look += 1) {
    await sleep(500);
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    const kib = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]);
    least = Math.min(least, kib * 1024);
  }
  return least;
}
