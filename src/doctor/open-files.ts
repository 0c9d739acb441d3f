/** Checks the open-file limit of this process against the connections of its endpoints. */
import { readFile } from 'node:fs/promises';
import type { Endpoint } from '../model/endpoint.js';
import { type Finding, warning } from '../server/finding.js';

/** Other open files: program files during startup, Redis, the admin port, the log. */
const OTHER_FILES = 128;

/** The Linux limits of this process; Node raises the soft limit to the hard limit on startup. */
const LIMITS_FILE = '/proc/self/limits';

type EachConcurrency = readonly Pick<Endpoint, 'concurrency'>[];

/** The message for a limit that is too low. */
export interface FewOpenFiles {
  readonly text: string;
  readonly advice: string;
}

/** Files beyond the needs of the endpoints and the rest of the relay; negative when the limit is too low. */
export async function spareOpenFiles(endpoints: readonly Endpoint[]): Promise<number> {
  const limits = await readFile(LIMITS_FILE, 'utf8').catch(() => '');
  return spareFiles(endpoints, limits);
}

/** Null when the limit is high enough, or the system does not show it. */
export async function fewOpenFiles(endpoints: readonly Endpoint[]): Promise<FewOpenFiles | null> {
  const limits = await readFile(LIMITS_FILE, 'utf8').catch(() => '');
  return judgeOpenFiles(endpoints, limits);
}

/** Pure; `limits` has the format of /proc/self/limits. */
export function judgeOpenFiles(endpoints: EachConcurrency, limits: string): FewOpenFiles | null {
  const max = filesMax(limits);
  const concurrency = concurrencyOf(endpoints);
  const needed = concurrency + OTHER_FILES;
  if (needed <= max) return null;
  return {
    text:
      `the limit is ${max} (ulimit -n); the concurrency of all endpoints is ${concurrency}, and the ` +
      `relay needs about ${OTHER_FILES} more`,
    advice:
      `raise the limit to at least ${needed} (docker: --ulimit nofile=${needed}; systemd: ` +
      `LimitNOFILE=${needed}), or lower concurrency; until then, webhooks wait for one another`,
  };
}

/** Pure. */
export const spareFiles = (endpoints: EachConcurrency, limits: string): number =>
  filesMax(limits) - concurrencyOf(endpoints) - OTHER_FILES;

const filesMax = (limits: string): number =>
  Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);

const concurrencyOf = (endpoints: EachConcurrency): number =>
  endpoints.reduce((sum, each) => sum + each.concurrency, 0);

export async function examineOpenFiles(endpoints: readonly Endpoint[]): Promise<Finding[]> {
  const few = await fewOpenFiles(endpoints);
  return few === null ? [] : [warning('open files', few.text, few.advice)];
}
