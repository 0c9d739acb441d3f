#!/usr/bin/env node
/** argv and signals → cli; sets the exit code. */
import { fstatSync } from 'node:fs';
import { constants } from 'node:os';
import { format } from 'node:util';
import { unforeseenText } from './lib/exhaustion.js';
import { Hangups } from './lib/hangups.js';
import { isColored } from './lib/terminal.js';
import { messageOf } from './model/errors.js';
import { BufferedOutput } from './telemetry/buffered-output.js';
import { FileOutput } from './telemetry/file-output.js';
import { ProcessReports, reportText } from './telemetry/process-reports.js';

const stop = new AbortController();
const reports = new ProcessReports();
// A terminal that is closed sends it twice, through its shell as well: only the first counts.
const hangups = new Hangups(() => {
  if (!stop.signal.aborted) stop.abort('SIGHUP');
});

/** The first asks for a clean stop, the second does not ask. */
function onSignal(signal: NodeJS.Signals): void {
  if (stop.signal.aborted) {
    reports.report({ kind: 'cut off', signal });
    process.exit(1);
  }
  stop.abort(signal);
}

/** Without a listener, SIGUSR1 opens Node's inspector, which shows secrets, and the others kill. */
function onUnused(signal: NodeJS.Signals): void {
  reports.report({ kind: 'ignored', signal });
}

/** Whether the operator wants the inspector. */
const INSPECT = /--inspect(-brk|-wait)?(=|\s|$)/;

/** A SIGUSR1 that came while Node itself started has opened the inspector. */
async function closeUnaskedInspector(): Promise<void> {
  const options = [...process.execArgv, process.env.NODE_OPTIONS ?? ''];
  if (options.some((option) => INSPECT.test(option))) return;
  // A Node may be built without it.
  const inspector = await import('node:inspector').catch(() => null);
  if (inspector?.url() === undefined) return;
  inspector.close();
  onUnused('SIGUSR1');
}

/** How long the reader of the output may take for the last of it. */
const LAST_OUTPUT_MS_MAX = 1_000;

function onUnforeseen(thrown: unknown): void {
  reports.report({ kind: 'crashed', text: unforeseenText(thrown) });
  process.exit(1);
}

const UNUSED = ['SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGIO', 'SIGSTKFLT'] as const;
// SIGPWR: the power fails. SIGXCPU: the process has used its CPU time, and is killed soon.
const STOPPING = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGPWR', 'SIGXCPU'] as const;
// A system may lack some of them.
const exists = (name: string) => name in constants.signals;
for (const name of UNUSED.filter(exists)) process.on(name, onUnused);
for (const name of STOPPING.filter(exists)) process.on(name, onSignal);
process.on('SIGHUP', () => hangups.notify());
process.on('uncaughtException', onUnforeseen);
process.on('unhandledRejection', onUnforeseen);

// Node's own listener prints them; there is none where NODE_NO_WARNINGS is set.
if (process.listenerCount('warning') > 0) {
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => {
    reports.report({ kind: 'warning', name, text: message });
  });
}

// What a library prints would be a line of no log.
for (const method of ['debug', 'log', 'info', 'warn', 'error', 'trace'] as const) {
  console[method] = (...values: unknown[]) => {
    reports.report({ kind: 'warning', name: 'output of a library', text: format(...values) });
  };
}

const { isTTY } = process.stdout;
const kind = fstatSync(process.stdout.fd);
const isStream = isTTY || kind.isFIFO() || kind.isSocket();
const logOutput = new BufferedOutput(
  isStream ? process.stdout : new FileOutput(process.stdout.fd),
  isColored(process.stdout, process.env),
);
// Whatever the end is, what has been said before is not lost.
process.on('exit', () => {
  for (const report of reports.takeHeld()) {
    process.stderr.write(`expiry-relay: ${reportText(report)}\n`);
  }
  logOutput.flush();
});

// The reader of the output may end early (`expiry-relay schema | head`).
let outputError: Error | null = null;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') outputError ??= error;
});
process.stderr.on('error', () => undefined);

// Loaded last: as PID 1 of a container, a process without handlers does not hear SIGTERM at all.
const { runCli } = await import('./cli/cli.js');
const { systemClock } = await import('./lib/clock.js');
await closeUnaskedInspector();

const code = await runCli({
  argv: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  logOutput,
  reports,
  stop: stop.signal,
  hangups,
});
logOutput.flush();
if (process.stdout.writableLength > 0) {
  const flushed = new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
  await Promise.race([flushed, systemClock.sleep(LAST_OUTPUT_MS_MAX)]);
}
// Errors of output come a turn later.
await systemClock.turn();
if (outputError !== null) {
  process.stderr.write(
    `expiry-relay: cannot write to standard output: ${messageOf(outputError)}\n`,
  );
}
process.exit(outputError === null ? code : code || 1);
