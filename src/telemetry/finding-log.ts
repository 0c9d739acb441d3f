/** Logs the warnings and problems that `doctor` reports about a server, each once while it lasts. */
import type { Logger } from 'pino';
import { capitalize } from '../lib/capitalize.js';
import type { Level, ServerFinding, ServerSubject } from '../server/finding.js';

/** The event of each subject. */
export const SERVER_EVENTS: Readonly<Record<ServerSubject, string>> = {
  version: 'server_version',
  role: 'server_role',
  cluster: 'cluster_part',
  sentinels: 'sentinels',
  clock: 'server_clock',
  'idle timeout': 'server_idle_timeout',
  'output limit': 'server_output_limit',
  eviction: 'keys_evictable',
  'state version': 'state_version',
  'state eviction': 'state_evictable',
  'state persistence': 'state_persistence',
};

export class FindingLog {
  readonly #log: Logger;
  /** The last logged level of each subject whose warning or problem still stands. */
  readonly #logged = new Map<ServerSubject, Level>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** `findings` must be complete: a missing subject counts as cleared. */
  log(address: string, findings: readonly ServerFinding[]): void {
    const present = findings.filter(({ level }) => level === 'warning' || level === 'problem');
    for (const subject of this.#logged.keys()) {
      if (present.some((finding) => finding.subject === subject)) continue;
      this.#logged.delete(subject);
      const line = { event: SERVER_EVENTS[subject], redis: address, subject };
      this.#log.info(line, `${subject}: resolved`);
    }
    for (const { level, subject, text, advice } of present) {
      if (this.#logged.get(subject) === level) continue;
      this.#logged.set(subject, level);
      const line = { event: SERVER_EVENTS[subject], redis: address, subject };
      const message = advice === null ? text : `${text}. ${capitalize(advice)}`;
      if (level === 'problem') this.#log.error(line, message);
      else this.#log.warn(line, message);
    }
  }
}
