/** The finding of one check, and the advice for it. Pure. */
import { pluralize } from '../lib/pluralize.js';

/**
 * `note`: nothing is known to be wrong. `warning`: a guarantee of the relay is weaker than it could be. `problem`:
 * the relay would not start, would not deliver, or would be late.
 */
export type Level = 'ok' | 'note' | 'warning' | 'problem';

export interface Finding<Subject extends string = string> {
  readonly level: Level;
  /** The checked thing, in a word or two. */
  readonly subject: Subject;
  /** The finding, in one line that is safe to print. */
  readonly text: string;
  /** What to do; null when nothing is to be done, or the text already contains it. */
  readonly advice: string | null;
  /** The command that the end of the advice introduces; null when there is none. */
  readonly command: string | null;
}

/** Subjects of the findings about a server, which `run` and `doctor` report. */
export type ServerSubject =
  | 'version'
  | 'role'
  | 'cluster'
  | 'sentinels'
  | 'clock'
  | 'idle timeout'
  | 'output limit'
  | 'eviction'
  | 'state version'
  | 'state eviction'
  | 'state persistence';

export type ServerFinding = Finding<ServerSubject>;

export function ok<Subject extends string>(subject: Subject, text: string): Finding<Subject> {
  return { level: 'ok', subject, text, advice: null, command: null };
}

const findingOf =
  (level: Level) =>
  <Subject extends string>(
    subject: Subject,
    text: string,
    advice: string | null = null,
    command: string | null = null,
  ): Finding<Subject> => ({ level, subject, text, advice, command });

export const note = findingOf('note');
export const warning = findingOf('warning');
export const problem = findingOf('problem');

export function countOf(findings: readonly Finding[], level: Level): number {
  return findings.filter((finding) => finding.level === level).length;
}

/** `2 problems, 1 warning`. */
export function summaryText(findings: readonly Finding[]): string {
  const [problems, warnings] = [countOf(findings, 'problem'), countOf(findings, 'warning')];
  if (problems + warnings === 0) return 'no problems found';
  return `${pluralize(problems, 'problem')}, ${pluralize(warnings, 'warning')}`;
}
