/** Formats findings for people. Pure. */
import { wrap } from '../lib/terminal.js';
import type { Finding, Level } from '../server/finding.js';
import { adviceLines, type Screen } from './screen.js';

const MARKS: Readonly<Record<Level, string>> = {
  ok: '[+]',
  note: '[i]',
  warning: '[!]',
  problem: '[-]',
};

const COLORS = { ok: 'green', note: 'blue', warning: 'yellow', problem: 'red' } as const;

/** Between the subject and the text. */
const GAP = '  ';

/**
 * The finding, then its advice and command on lines of their own. Text is wrapped to the width of the screen, except
 * for commands, which are to be copied. `subjectChars`: the width of the subject column.
 */
export function findingText(
  { level, subject, text, advice, command }: Finding,
  subjectChars: number,
  { width, paint }: Screen,
): string {
  const mark = MARKS[level];
  const name = subject.padEnd(subjectChars);
  const indent = ' '.repeat(mark.length + 1 + name.length + GAP.length);
  const [first = '', ...rest] = wrap(text, width - indent.length);
  const below = advice === null ? [] : adviceLines(advice, width - indent.length);
  const lines = [
    `${paint(COLORS[level], mark)} ${name}${GAP}${first}`,
    ...[...rest, ...below].map((line) => indent + line),
    ...(command === null ? [] : [paint('cyan', command)]),
  ];
  return lines.map((line) => `${line}\n`).join('');
}
