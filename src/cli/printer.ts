/** Standard output with back-pressure: nothing is written before the reader asks for it. */
import { untilAborted } from '../lib/clock.js';
import type { CliContext, ExitCode } from './context.js';

export class Printer {
  readonly #stdout: CliContext['stdout'];
  readonly #stop: AbortSignal;
  readonly #stopped: Promise<boolean>;

  constructor({ stdout, stop }: Pick<CliContext, 'stdout' | 'stop'>) {
    this.#stdout = stdout;
    this.#stop = stop;
    this.#stopped = untilAborted(stop).then(() => false);
  }

  /** Resolves once the reader has taken the text; false when the reader is gone or the command must stop. */
  async print(text: string | Uint8Array): Promise<boolean> {
    if (this.#stop.aborted) return false;
    const taken = new Promise<boolean>((resolve) => {
      this.#stdout.write(text, (error) => resolve(error === null || error === undefined));
    });
    return Promise.race([taken, this.#stopped]);
  }
}

/** Exit code when output ended early: success if the reader closed the pipe, failure after a signal. */
export function interruptedExitCode({ stop, stderr }: CliContext): ExitCode {
  if (!stop.aborted) return 0;
  stderr.write(`expiry-relay: interrupted by ${stop.reason}\n`);
  return 1;
}
