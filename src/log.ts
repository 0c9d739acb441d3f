/**
 * The log: JSON lines for machines, or the same made readable; on standard output either way.
 * Webhooks matter more than log lines: when nobody reads them, lines are dropped, and counted.
 */
import { type Logger, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';
import type { TextOutput } from './gathered-output.js';
import type { Settings } from './vocabulary.js';

/** What may wait for whoever reads the log: a few ten thousand lines. */
export const LOG_BYTES_WAITING_MAX = 16 * 1024 * 1024;

/** Standard output, as far as the log uses it. */
export interface LogOutput extends TextOutput {
  /** There when it gathers what is written. */
  flush?(): void;
}

/** `onDropped` is told of each line for which there is no room. */
export function createLog(
  { level, format }: Settings['log'],
  output: LogOutput,
  onDropped: () => void,
): Logger {
  const options = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const lines = {
    write(line: string): void {
      if (output.writableLength + line.length > LOG_BYTES_WAITING_MAX) onDropped();
      else output.write(line);
    },
    /** Pino asks for it after a fatal line. */
    flushSync: () => output.flush?.(),
  };
  if (format === 'json') return pino(options, lines);
  const prettify = pretty.prettyFactory({
    singleLine: true,
    ignore: 'event',
    errorLikeObjectKeys: [],
    colorize: output.isTTY === true,
  });
  return pino(options, {
    ...lines,
    write: (line: string) => lines.write(prettify(JSON.parse(line)) ?? ''),
  });
}
