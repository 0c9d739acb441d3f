/** A command's inputs and outputs, passed in so that tests can replace them. */
import type { Hangups } from '../lib/hangups.js';
import type { BufferedOutput } from '../telemetry/buffered-output.js';
import type { ProcessReports } from '../telemetry/process-reports.js';

export type Output = NodeJS.WritableStream & {
  readonly isTTY?: boolean;
  /** The width of a terminal. */
  readonly columns?: number;
};

export interface CliContext {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly stdout: Output;
  readonly stderr: Output;
  /** The log of `run`. */
  readonly logOutput: BufferedOutput;
  /** Problems of the process itself. */
  readonly reports: ProcessReports;
  /** Aborts on the first SIGTERM, SIGINT or SIGQUIT; the reason is the signal's name. */
  readonly stop: AbortSignal;
  /** SIGHUP, which only `run` does not take for a stop. */
  readonly hangups: Hangups;
}

/** 0: success. 1: the operator must act, as standard error explains. 2: usage error. */
export type ExitCode = 0 | 1 | 2;

/** A command: resolves with its exit code, rejects with a RelayError. */
export type CommandAction<Options> = (context: CliContext, options: Options) => Promise<ExitCode>;

export interface FileOption {
  /** The value of `-c FILE`. */
  readonly config?: string;
}
