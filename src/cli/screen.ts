/** The width and the colors of standard output. */
import { isColored, type Paint, paintFor } from '../lib/terminal.js';
import type { CliContext } from './context.js';

export interface Screen {
  readonly isTerminal: boolean;
  /** In characters; infinite when the output is no terminal. */
  readonly width: number;
  readonly paint: Paint;
}

/** The width if the terminal does not report one. */
const COLUMNS_DEFAULT = 80;

export function screenOf({ stdout, env }: Pick<CliContext, 'stdout' | 'env'>): Screen {
  const isTerminal = stdout.isTTY === true;
  const width = isTerminal ? (stdout.columns ?? COLUMNS_DEFAULT) : Number.POSITIVE_INFINITY;
  return { isTerminal, width, paint: paintFor(isColored(stdout, env)) };
}
