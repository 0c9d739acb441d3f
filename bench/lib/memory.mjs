/** The memory of a process. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Node returns memory some twenty seconds after a burst. */
const LOOKS = 60;

export const MIB = 1024 * 1024;

/**
 * @param {number} pid
 * @param {'VmRSS' | 'VmHWM'} field
 */
async function statusBytes(pid, field) {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
}

/**
 * * The smallest of several measurements over half a minute, since uncollected garbage is not in use.
 * @param {number} pid
 */
export async function residentBytes(pid) {
  let least = Number.POSITIVE_INFINITY;
  for (let look = 0; look < LOOKS; look += 1) {
    await sleep(500);
    least = Math.min(least, await statusBytes(pid, 'VmRSS'));
  }
  return least;
}

/** @param {number} pid */
export const residentBytesNow = (pid) => statusBytes(pid, 'VmRSS');

/** The most that it has had, garbage and all. @param {number} pid */
export const residentBytesMax = (pid) => statusBytes(pid, 'VmHWM');

/** @param {number} bytes */
export const mib = (bytes) => `${(bytes / MIB).toFixed(1)} MiB`;
