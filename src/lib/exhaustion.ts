/**
 * Errors that say what this process or machine has run out of, and what an operator can do about it. It is
 * loaded before anything else, and therefore imports little.
 */

import { codeOf, messageOf } from '../model/errors.js';
import type { Prevented } from '../model/vocabulary.js';

const REMEDIES: Readonly<Record<string, string>> = {
  EMFILE: "raise the process's limit of open files (ulimit -n)",
  ENFILE: "raise the machine's limit of open files (fs.file-max)",
  EADDRNOTAVAIL: 'widen net.ipv4.ip_local_port_range',
  EAGAIN: "raise the machine's limits of threads and ports",
  ENOBUFS: 'give the machine or container more memory',
  ENOMEM: 'give the machine or container more memory',
  EAI_MEMORY: 'give the machine or container more memory',
  ERR_MEMORY_ALLOCATION_FAILED: 'give the machine or container more memory',
  ERR_WORKER_OUT_OF_MEMORY: 'give the machine or container more memory',
  ERR_SSL_MALLOC_FAILURE: 'give the machine or container more memory',
};

/** In the imperative, without an end of sentence; null when the code is of no such error. */
export function remedyOf(code: string): string | null {
  return Object.hasOwn(REMEDIES, code) ? (REMEDIES[code] ?? null) : null;
}

/** An error that nobody foresaw, in one line: a trace is of no use to an operator. */
export function unforeseenText(thrown: unknown): string {
  const code = codeOf(thrown);
  const remedy = remedyOf(code);
  if (remedy !== null) return `${messageOf(thrown)}; ${remedy}`;
  // Node opens some hundred files at once to load the program, and takes one that it cannot open for none.
  const hint =
    code === 'ERR_MODULE_NOT_FOUND' ? `; install the relay again, or ${remedyOf('EMFILE')}` : '';
  return `internal error: ${messageOf(thrown)}${hint}`;
}

/** What an operator can do about it. */
export function preventionAdvice({ code }: Prevented): string {
  return `${remedyOf(code) ?? "see this machine's limits"}, or lower concurrency`;
}
