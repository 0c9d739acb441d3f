/**
 * The log: JSON lines for machines, or the same made readable; on standard output either way.
 * Webhooks matter more than log lines: when nobody reads them, lines are dropped, and counted.
 */
import { type Logger, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';
import type { Settings } from './vocabulary.js';

/** What may wait for whoever reads the log: a few ten thousand lines. */
export const LOG_BYTES_WAITING_MAX = 16 * 1024 * 1024;

/** Standard output, as far as the log uses it. */
export interface LogOutput extends NodeJS.WritableStream {
  /** Bytes written to it and not yet read. */
  readonly writableLength: number;
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
  };
  if (format === 'json') return pino(options, lines);
  const prettify = pretty.prettyFactory({
    singleLine: true,
    ignore: 'event',
    errorLikeObjectKeys: [],
    colorize: 'isTTY' in output && output.isTTY === true,
  });
  return pino(options, { write: (line: string) => lines.write(prettify(JSON.parse(line)) ?? '') });
}
