/** Problems of the process as a whole, which main.ts may notice before the log is open. */
import { capitalize } from '../lib/capitalize.js';
import { printable } from '../lib/printable.js';

export type ProcessReport =
  /** A signal that the relay does not use. */
  | { readonly kind: 'ignored'; readonly signal: NodeJS.Signals }
  /** A warning of Node or a library; `name` is such as `DeprecationWarning`. */
  | { readonly kind: 'warning'; readonly name: string; readonly text: string }
  /** A second signal to stop. */
  | { readonly kind: 'cut off'; readonly signal: NodeJS.Signals }
  /** An uncaught error. */
  | { readonly kind: 'crashed'; readonly text: string };

/** A limit on remembered reports: a library may never repeat itself. */
const KNOWN_MAX = 1_000;

/** Passes on each distinct report once; keeps reports until a listener is set. */
export class ProcessReports {
  readonly #known = new Set<string>();
  #held: ProcessReport[] = [];
  #listener: ((report: ProcessReport) => void) | null = null;

  report(report: ProcessReport): void {
    const what = JSON.stringify(report);
    if (this.#known.has(what)) return;
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.add(what);
    if (this.#listener === null) this.#held.push(report);
    else this.#listener(report);
  }

  /** Replaces the listener, which receives the kept reports. */
  listen(listener: (report: ProcessReport) => void): void {
    this.#listener = listener;
    const held = this.#held;
    this.#held = [];
    for (const each of held) listener(each);
  }

  /** Returns and removes the reports that no listener has received. */
  takeHeld(): readonly ProcessReport[] {
    const held = this.#held;
    this.#held = [];
    return held;
  }
}

/** ioredis' warning when Redis requires no password and receives one. */
const PASSWORD_UNUSED = /does not require a password, but a password was supplied/;

/** Whether the report is about a password that Redis does not require. */
export function isPasswordUnused(report: ProcessReport): boolean {
  return report.kind === 'warning' && PASSWORD_UNUSED.test(report.text);
}

export const PASSWORD_UNUSED_TEXT =
  'Redis does not require the configured password; anyone who can connect to it can read and change its data';
export const PASSWORD_UNUSED_ADVICE =
  'set the password in Redis (requirepass, or ACL SETUSER), or remove it from the configuration';

/** One line, without a line end: what happened, and what to do if known. */
export function reportText(report: ProcessReport): string {
  switch (report.kind) {
    case 'ignored':
      return `ignored ${report.signal}, which the relay does not use. Send SIGTERM to stop the relay`;
    case 'warning':
      return isPasswordUnused(report)
        ? `${PASSWORD_UNUSED_TEXT}. ${capitalize(PASSWORD_UNUSED_ADVICE)}`
        : `${report.name}: ${printable(report.text)}`;
    case 'cut off':
      return `second signal (${report.signal}); stopping at once and aborting attempts`;
    case 'crashed':
      return printable(report.text);
  }
}
