/** The built relay as a separate process, as users run it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import { stringify } from 'yaml';
import { TEST_SECRET } from './domain.js';
import { eventually } from './eventually.js';
import { ObservedRelay } from './relay-metrics.js';

export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export interface LogLine extends Record<string, unknown> {
  readonly level: string;
  readonly event: string;
  readonly msg: string;
}

/** Several relays that start at once on a busy machine take half of it. */
const READY_MS_MAX = 40_000;

const textOf = (file: RelayFile) => stringify({ admin: { listen: '127.0.0.1:0' }, ...file });

/** A relay.yaml as a value; `admin` is always set to a free port. */
export type RelayFile = Record<string, unknown>;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A command of the relay that terminates. */
export async function runCommand(
  args: readonly string[],
  options: { env?: Record<string, string>; cwd?: string; openFilesMax?: number } = {},
): Promise<Exit & { stdout: string; stderr: string }> {
  const { env = {}, cwd, openFilesMax } = options;
  const child = spawnMain(args, env, cwd, openFilesMax);
  return { ...(await child.exited), stdout: child.stdout(), stderr: child.stderr() };
}

interface Spawned {
  readonly process: ChildProcess;
  readonly exited: Promise<Exit>;
  stdout(): string;
  stderr(): string;
}

export function spawnMain(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd?: string,
  openFilesMax?: number,
): Spawned {
  const command = [process.execPath, MAIN, ...args];
  const limited = ['sh', '-c', `ulimit -n ${openFilesMax} && exec "$0" "$@"`, ...command];
  const [program = '', ...words] = openFilesMax === undefined ? command : limited;
  const child = spawn(program, words, {
    env: { PATH: process.env.PATH, ...env },
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exited = new Promise<Exit>((resolve) => {
    child.on('exit', (code, signal) => {
      if (child.stdout?.isPaused()) resolve({ code, signal });
    });
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  return { process: child, exited, stdout: () => stdout, stderr: () => stderr };
}

export class RelayProcess extends ObservedRelay implements AsyncDisposable {
  readonly #spawned: Spawned;
  readonly #dir: string;
  readonly #lines: LogLine[] = [];
  /** The number of characters of the output that are parsed. */
  #parsed = 0;

  private constructor(spawned: Spawned, dir: string) {
    super();
    this.#spawned = spawned;
    this.#dir = dir;
  }

  /** Starts it and returns at once; see `ready`. */
  static async spawn(
    file: RelayFile,
    env: Record<string, string> = {},
    openFilesMax?: number,
  ): Promise<RelayProcess> {
    const dir = await mkdtemp(join(tmpdir(), 'expiry-relay-test-'));
    const path = join(dir, 'relay.yaml');
    await writeFile(path, textOf(file));
    return new RelayProcess(spawnMain(['run', '-c', path], env, undefined, openFilesMax), dir);
  }

  /** The path of its configuration file. */
  get file(): string {
    return join(this.#dir, 'relay.yaml');
  }

  /** Writes its configuration file in place; the relay notices that by itself. */
  rewrite(file: RelayFile): Promise<void> {
    return writeFile(this.file, textOf(file));
  }

  /** Starts it and waits until it is ready. */
  static async start(
    file: RelayFile,
    env: Record<string, string> = {},
    openFilesMax?: number,
  ): Promise<RelayProcess> {
    const relay = await RelayProcess.spawn(file, env, openFilesMax);
    try {
      await relay.ready();
    } catch (error) {
      await relay[Symbol.asyncDispose]();
      throw new Error(`${error}\n${relay.stdout}${relay.stderr}`);
    }
    return relay;
  }

  get pid(): number {
    return this.#spawned.process.pid ?? 0;
  }

  get stdout(): string {
    return this.#spawned.stdout();
  }

  get stderr(): string {
    return this.#spawned.stderr();
  }

  /** The reason in its log that it could not start; empty if there is none. */
  get startError(): string {
    return String(this.logs('start_failed')[0]?.error ?? '');
  }

  get exited(): Promise<Exit> {
    return this.#spawned.exited;
  }

  get running(): boolean {
    const { exitCode, signalCode } = this.#spawned.process;
    return exitCode === null && signalCode === null;
  }

  /** The log lines so far; throws when one is no JSON. */
  override logs(event?: string): LogLine[] {
    const { stdout } = this;
    // Each line is parsed once: this is called every few milliseconds.
    for (let end = stdout.indexOf('\n', this.#parsed); end >= 0; ) {
      const line = stdout.slice(this.#parsed, end);
      if (line !== '') this.#lines.push(JSON.parse(line) as LogLine);
      this.#parsed = end + 1;
      end = stdout.indexOf('\n', this.#parsed);
    }
    return this.#lines.filter((line) => event === undefined || line.event === event);
  }

  /** Waits for a log line of this event. */
  logged(event: string, withinMs?: number): Promise<LogLine> {
    return eventually(`log line "${event}"`, () => this.logs(event)[0], withinMs);
  }

  async adminUrl(): Promise<string> {
    const { admin } = await this.logged('starting');
    return `http://${admin}`;
  }

  override async get(path: string): Promise<{ status: number; text: string }> {
    const { statusCode, body } = await request((await this.adminUrl()) + path);
    return { status: statusCode, text: await body.text() };
  }

  async ready(withinMs = READY_MS_MAX): Promise<void> {
    await eventually(
      'ready',
      async () => {
        if (!this.running) throw new Error('the relay has ended');
        return (await this.get('/readyz')).status === 200;
      },
      withinMs,
    );
  }

  /** Stops reading its standard output, like a hanging log collector. */
  stopReading(): void {
    this.#spawned.process.stdout?.pause();
  }

  kill(signal: NodeJS.Signals): void {
    this.#spawned.process.kill(signal);
  }

  /** Sends the signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.kill(signal);
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) this.kill('SIGKILL');
    await this.exited;
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** The smallest useful file, for one receiver and every key. */
export function simpleFile(
  redisUrl: string,
  endpointUrl: string,
  more: { endpoint?: Record<string, unknown>; route?: Record<string, unknown> } & RelayFile = {},
): RelayFile {
  const { endpoint, route, ...rest } = more;
  return {
    redis: { url: redisUrl },
    endpoints: { shop: { url: endpointUrl, secrets: [TEST_SECRET], ...endpoint } },
    routes: [{ name: 'all', match: '*', to: 'shop', ...route }],
    ...rest,
  };
}
