import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { runCli } from '../../src/cli/cli.js';
import type { CliContext, ExitCode } from '../../src/cli/context.js';
import { Hangups } from '../../src/lib/hangups.js';
import { BufferedOutput } from '../../src/telemetry/buffered-output.js';
import { ProcessReports } from '../../src/telemetry/process-reports.js';
import { TEST_SECRET } from './domain.js';

/** A writable that keeps its input, and optionally is a terminal. */
export class Sink extends Writable {
  text = '';
  readonly isTTY: boolean;
  readonly columns: number;

  constructor({ isTTY = false, columns = 80 }: { isTTY?: boolean; columns?: number } = {}) {
    super({ decodeStrings: false });
    this.isTTY = isTTY;
    this.columns = columns;
  }

  override _write(chunk: Buffer | string, _: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** A running command in this process. */
export interface CliRun {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly done: Promise<ExitCode>;
  stop(): void;
}

interface Given {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Whether the output is a terminal. */
  readonly isTTY?: boolean;
  /** The width of the terminal; 80 by default. */
  readonly columns?: number;
}

/** The environment of a command, its output, and a function to stop it. */
export function contextFor(argv: readonly string[], given: Given = {}) {
  const stop = new AbortController();
  const stdout = new Sink(given);
  const stderr = new Sink(given);
  const context: CliContext = {
    argv,
    env: given.env ?? {},
    cwd: given.cwd ?? tmpdir(),
    stdout,
    stderr,
    logOutput: new BufferedOutput(stdout),
    reports: new ProcessReports(),
    hangups: new Hangups(() => stop.abort('SIGHUP')),
    stop: stop.signal,
  };
  return { context, stdout, stderr, stop: () => stop.abort('SIGTERM') };
}

export function startCli(argv: readonly string[], given: Given = {}): CliRun {
  const { context, ...run } = contextFor(argv, given);
  return { ...run, done: runCli(context) };
}

/** Runs a command to its end. */
export async function cli(...args: Parameters<typeof startCli>) {
  const run = startCli(...args);
  return { code: await run.done, stdout: run.stdout.text, stderr: run.stderr.text };
}

/** A folder with the given files, gone when disposed. */
export async function tempFolder(
  files: Readonly<Record<string, string>>,
): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'expiry-relay-test-'));
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** The path of a file with one endpoint and one route, whose state is at `url`; deleted when the test ends. */
export async function stateFile(url: string, state: object = {}): Promise<string> {
  const text = stringify({
    redis: { url },
    state,
    endpoints: { shop: { url: 'http://127.0.0.1:9', secrets: [TEST_SECRET] } },
    routes: [{ name: 'cancel', match: 'order:*', to: 'shop' }],
  });
  const folder = await tempFolder({ 'relay.yaml': text });
  onTestFinished(() => folder[Symbol.asyncDispose]());
  return join(folder.path, 'relay.yaml');
}
