/** The width and the colors of standard output. */
import { isColored, type Paint, paintFor, wrap } from '../lib/terminal.js';
import type { CliContext, Output } from './context.js';

export interface Screen {
  readonly isTerminal: boolean;
  /** In characters; infinite when the output is no terminal. */
  readonly width: number;
  readonly paint: Paint;
}

/** The width if the terminal does not report one. */
const COLUMNS_DEFAULT = 80;

export function screenOf({ stdout, env }: Pick<CliContext, 'stdout' | 'env'>): Screen {
  const paint = paintFor(isColored(stdout, env));
  return { isTerminal: stdout.isTTY === true, width: widthOf(stdout), paint };
}

function widthOf({ isTTY, columns }: Output): number {
  return isTTY === true ? (columns ?? COLUMNS_DEFAULT) : Number.POSITIVE_INFINITY;
}

const ARROW = '→ ';

/** Advice behind an arrow, in lines of at most `width` characters. */
export function adviceLines(advice: string, width: number): readonly string[] {
  const [first = '', ...rest] = wrap(advice, width - ARROW.length);
  return [ARROW + first, ...rest.map((line) => ' '.repeat(ARROW.length) + line)];
}

const INDENT = '  ';

/** Wraps uncolored lines that are too long for a terminal, and indents the rest of each line. */
export function fitted(output: Output, text: string): string {
  const width = widthOf(output);
  const lines = text.split('\n').map((line) => {
    if (line.length <= width) return line;
    return wrap(line, width - INDENT.length).join(`\n${INDENT}`);
  });
  return lines.join('\n');
}
