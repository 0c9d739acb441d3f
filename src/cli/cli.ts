/** Runs the command line: parses it, runs the command, and reports its error. */
import { CommanderError } from 'commander';
import { unforeseenText } from '../lib/exhaustion.js';
import { RelayError, SettingsError, UsageError } from '../model/errors.js';
import type { CliContext, ExitCode } from './context.js';
import { createProgram } from './program.js';
import { fitted } from './screen.js';

/** Never rejects: every error becomes a message on standard error and an exit code. */
export async function runCli(context: CliContext): Promise<ExitCode> {
  let code: ExitCode = 0;
  const program = createProgram(context, (result) => {
    code = result;
  });
  try {
    await program.parseAsync([...context.argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    context.stderr.write(fitted(context.stderr, `${textOf(error)}\n`));
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Omits the program's name for configuration errors: editors expect lines that begin with `file:line:column`. */
function textOf(error: unknown): string {
  if (error instanceof SettingsError) return error.message;
  return `expiry-relay: ${error instanceof RelayError ? error.message : unforeseenText(error)}`;
}
