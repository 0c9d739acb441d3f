/**
 * The log on standard output: JSON lines, or lines for people. Webhooks take priority over log lines: if
 * standard output is blocked, lines are dropped and counted.
 */
import { type Logger, pino } from 'pino';
import type { Clock } from '../lib/clock.js';
import { isoTimes } from '../lib/iso-time.js';
import { paintFor } from '../lib/terminal.js';
import type { Settings } from '../model/vocabulary.js';
import type { BufferedOutput } from './buffered-output.js';
import { terminalLine } from './terminal-lines.js';

/** The maximum size of lines that wait for a reader: a few ten thousand lines. */
export const LOG_BYTES_WAITING_MAX = 16 * 1024 * 1024;

const timeText = isoTimes();

const NOBODY_READS = `standard output was not read, and ${LOG_BYTES_WAITING_MAX / 1024 / 1024} MiB of lines waited`;

/** Lost lines: standard output is blocked, or the disk is full. */
export interface LostLineEvents {
  /** `lines` more lines are lost. */
  readonly onLost: (lines: number) => void;
  /** Lines can be written again; `lines` were lost since the last call, the last one for `reason`. */
  readonly onRegained: (lines: number, reason: string) => void;
}

export function createLog(
  { level, format }: Settings['log'],
  output: BufferedOutput,
  { onLost, onRegained }: LostLineEvents,
  clock: Pick<Clock, 'nowMs'>,
): Logger {
  /** Lost lines that are not reported yet. */
  let lost = 0;
  let reason = '';
  const lose = (count: number, cause: string) => {
    lost += count;
    reason = cause;
    onLost(count);
  };
  output.listen({
    onLost: lose,
    onDrained: () => {
      if (lost === 0) return;
      const before = lost;
      lost = 0;
      onRegained(before, reason);
    },
  });
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${timeText(clock.nowMs())}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const lines = {
    write(line: string): void {
      if (output.writableLength + line.length > LOG_BYTES_WAITING_MAX) lose(1, NOBODY_READS);
      else output.write(line);
    },
    /** Called by Pino after a fatal line. */
    flushSync: () => output.flush(),
  };
  if (format === 'json' || (format === 'auto' && !output.isTTY)) return pino(options, lines);
  const paint = paintFor(output.isColored);
  return pino(options, {
    ...lines,
    write: (line: string) => lines.write(terminalLine(line, output.columns, paint)),
  });
}
