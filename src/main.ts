#!/usr/bin/env node
/** argv and signals → cli; sets the exit code. */
import { messageOf } from './errors.js';
import { GatheredOutput } from './gathered-output.js';

const stop = new AbortController();

/** The first asks for a clean stop, the second does not ask. */
function onSignal(name: NodeJS.Signals): void {
  if (stop.signal.aborted) {
    process.stderr.write('expiry-relay: ended by a second signal; what was under way is cut off\n');
    process.exit(1);
  }
  stop.abort(name);
}

/** A terminal that is closed says so twice, through its shell as well: only the first counts. */
function onHangup(name: NodeJS.Signals): void {
  if (!stop.signal.aborted) stop.abort(name);
}

/** How long whoever reads our output may take for the last of it. */
const LAST_OUTPUT_MS_MAX = 1_000;

/** What nobody foresaw: said in one line, since a trace is of no use to an operator. */
function onUnforeseen(thrown: unknown): void {
  const { code } = Object(thrown) as { code?: unknown };
  // Node opens some hundred files at once to load the program.
  const text =
    code === 'EMFILE' || code === 'ENFILE'
      ? `${messageOf(thrown)}. Raise the limit of open files (ulimit -n)`
      : `internal error: ${messageOf(thrown)}`;
  process.stderr.write(`expiry-relay: ${text}\n`);
  process.exit(1);
}

process.on('SIGTERM', onSignal);
process.on('SIGINT', onSignal);
process.on('SIGHUP', onHangup);
process.on('uncaughtException', onUnforeseen);
process.on('unhandledRejection', onUnforeseen);

const logOutput = new GatheredOutput(process.stdout);
// Whatever the end is, what has been said before is not lost.
process.on('exit', () => logOutput.flush());

// Whoever reads our output may leave early (`expiry-relay schema | head`).
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);

// Loaded last: as PID 1 of a container, a process without handlers does not hear SIGTERM at all.
const { runCli } = await import('./cli/cli.js');
const { systemClock } = await import('./clock.js');

const code = await runCli({
  argv: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  logOutput,
  stop: stop.signal,
});
logOutput.flush();
const flushed = new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
await Promise.race([flushed, systemClock.sleep(LAST_OUTPUT_MS_MAX)]);
process.exit(code);
