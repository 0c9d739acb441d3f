/** The log: JSON lines for machines, or the same made readable; on standard output either way. */
import { destination, type Logger, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';
import type { Settings } from './vocabulary.js';

export function createLog({ level, format }: Settings['log']): Logger {
  const options = {
    level,
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (format === 'pretty')
    return pino(
      options,
      pretty({ sync: true, singleLine: true, ignore: 'event', errorLikeObjectKeys: [] }),
    );
  const output = destination({ fd: process.stdout.fd, sync: true });
  // Whoever reads the log may go away (a closed pipe); the webhooks go on.
  output.on('error', () => undefined);
  return pino(options, output);
}
