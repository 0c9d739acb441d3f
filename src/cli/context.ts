/** What a command gets from the outside, so that a test can give it. */
import type { BufferedOutput } from '../telemetry/buffered-output.js';
import type { ProcessReports } from '../telemetry/process-reports.js';

export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean };

export interface CliContext {
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Where the log of `run` goes. */
  readonly logOutput: BufferedOutput;
  /** What is wrong with the process. */
  readonly reports: ProcessReports;
  /** Aborts on the first SIGTERM, SIGINT, SIGQUIT or SIGHUP, with the signal's name as its reason. */
  readonly stop: AbortSignal;
}

/** 0: fine. 1: the operator must act; standard error says what. 2: wrong usage. */
export type ExitCode = 0 | 1 | 2;

/** A command's work: resolves with its exit code, rejects with a RelayError. */
export type CommandAction<Options> = (context: CliContext, options: Options) => Promise<ExitCode>;

export interface FileOption {
  /** From `-c FILE`. */
  readonly config?: string;
}
