/** Programs of any language, whose output is kept. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MISSING_VARIABLE, PATH } from '../../../scripts/lib/runtimes.mjs';

export const EXAMPLES = fileURLToPath(new URL('../../../examples/', import.meta.url));

/** The examples whose runtimes this machine does not have. */
export const missing: ReadonlySet<string> = new Set(
  (process.env[MISSING_VARIABLE] ?? '').split(','),
);

export interface Program extends AsyncDisposable {
  readonly stdout: string;
  readonly stderr: string;
  readonly running: boolean;
  /** The exit code; null when a signal ended it. Rejects when it could not be started. */
  readonly exited: Promise<number | null>;
  /** Sends the signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export function startProgram(
  [command = '', ...args]: readonly string[],
  options: { cwd: string; env: Readonly<Record<string, string>> },
): Program {
  // The output must not depend on the user's settings.
  const env = { ...process.env, LANG: 'C.UTF-8', LC_ALL: 'C.UTF-8', PATH, ...options.env };
  const stdio = ['ignore', 'pipe', 'pipe'] as const;
  const child = spawn(command, args, { cwd: options.cwd, env, stdio: [...stdio] });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
    });
  }
  const exited = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  exited.catch(() => undefined);
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (isRunning()) child.kill(signal);
    await exited.catch(() => undefined);
  };
  return {
    get stdout() {
      return said.stdout;
    },
    get stderr() {
      return said.stderr;
    },
    get running() {
      return isRunning();
    },
    exited,
    stop,
    [Symbol.asyncDispose]: () => stop('SIGKILL'),
  };
}

/** A program that ends by itself. */
export async function runProgram(...args: Parameters<typeof startProgram>) {
  const program = startProgram(...args);
  const code = await program.exited;
  return { code, stdout: program.stdout, stderr: program.stderr };
}

/** A program that must succeed; returns its output. */
export async function succeed(...args: Parameters<typeof startProgram>): Promise<string> {
  const { code, stdout, stderr } = await runProgram(...args);
  if (code !== 0) throw new Error(`${args[0].join(' ')}: exit code ${code}\n${stdout}${stderr}`);
  return stdout;
}
