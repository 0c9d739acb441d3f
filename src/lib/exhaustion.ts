/**
 * Errors about exhausted resources of this process or machine, with advice for the operator. This file is loaded
 * before all others, so it imports little.
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

/** Advice in the imperative, without a full stop; null for other error codes. */
export function remedyOf(code: string): string | null {
  return Object.hasOwn(REMEDIES, code) ? (REMEDIES[code] ?? null) : null;
}

/** An unexpected error in one line: a stack trace does not help an operator. */
export function unforeseenText(thrown: unknown): string {
  const code = codeOf(thrown);
  const remedy = remedyOf(code);
  if (remedy !== null) return `${messageOf(thrown)}; ${remedy}`;
  // Node opens hundreds of files at once while loading, and reports a file that it cannot open as missing.
  const hint =
    code === 'ERR_MODULE_NOT_FOUND' ? `; install the relay again, or ${remedyOf('EMFILE')}` : '';
  return `internal error: ${messageOf(thrown)}${hint}`;
}

/** Advice for the operator. */
export function preventionAdvice({ code }: Prevented): string {
  return `${remedyOf(code) ?? 'check the limits of this machine'}, or lower concurrency`;
}
