/** The CPU time of a process. */
import { readFile } from 'node:fs/promises';

/** Of the times in /proc; the same on every Linux that Node runs on. */
const TICKS_PER_S = 100;

/**
 * Seconds of processor time since its start, user and system; null where there is no /proc.
 * @param {number} pid
 * @returns {Promise<number | null>}
 */
export async function cpuSeconds(pid) {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may hold blanks.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
  } catch {
    return null;
  }
}

/**
 * Seconds that the main thread of a process was ready to run and had no core, since its start; null
 * where there is no /proc.
 * @param {number} pid
 * @returns {Promise<number | null>}
 */
export async function waitedSeconds(pid) {
  const stat = await readFile(`/proc/${pid}/schedstat`, 'utf8').catch(() => null);
  return stat === null ? null : Number(stat.split(' ')[1]) / 1e9;
}

/**
 * What each process has had of the processors for one of `count` pieces of work, in µs.
 * @param {readonly string[]} names
 * @param {readonly (number | null)[]} before
 * @param {readonly (number | null)[]} after
 * @param {number} count
 */
export function cpuPerPiece(names, before, after, count) {
  return names
    .map((name, at) => {
      const [from = null, to = null] = [before[at], after[at]];
      const each = from === null || to === null ? Number.NaN : ((to - from) / count) * 1e6;
      return `${name} ${Math.round(each)}`;
    })
    .join(', ');
}
