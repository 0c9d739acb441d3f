/** Runs the shell blocks of the documentation as they are. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from './cli.js';
import { ROOT } from './doc-pages.js';

/** A process whose output is kept. Disposing it ends all processes that it has started. */
export function startProcess(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
) {
  const child: ChildProcess = spawn(command, args, { cwd, env, detached: true });
  const run = { output: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      run.output += text;
    });
  }
  const exited = new Promise<number | null>((resolve) => child.on('exit', resolve));
  return {
    run,
    exited,
    async [Symbol.asyncDispose]() {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // All of them have ended already.
      }
      await exited;
    },
  };
}

/** A replacement for `redis-cli`, which the machine may lack if Redis runs in Docker. */
const REDIS_CLI = `#!${process.execPath}
const { Redis } = require(${JSON.stringify(join(ROOT, 'node_modules/ioredis'))});
const redis = new Redis(process.env.REDIS_URL);
redis.call(...process.argv.slice(2)).then(console.log).finally(() => redis.disconnect());
`;

/** A folder in which `expiry-relay` is this build, and `redis-cli` connects to `redisUrl`. */
export async function docShell(redisUrl: string, files: Record<string, string>) {
  const folder = await tempFolder({
    ...files,
    'expiry-relay': `#!/bin/sh\nexec "${process.execPath}" "${ROOT}dist/main.js" "$@"\n`,
    'redis-cli': REDIS_CLI,
  });
  await chmod(join(folder.path, 'expiry-relay'), 0o755);
  await chmod(join(folder.path, 'redis-cli'), 0o755);
  const env = { PATH: `${folder.path}:${process.env.PATH}`, REDIS_URL: redisUrl };
  return {
    env,
    path: folder.path,
    /** Runs a script with `more` in its environment. */
    start: (script: string, more: Record<string, string> = {}) =>
      startProcess('bash', ['-euc', script], folder.path, { ...env, ...more }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** Makes a program of Node.js print what it prints on a terminal of 120 columns, without colors. */
export const ON_TERMINAL = {
  NO_COLOR: '1',
  NODE_OPTIONS:
    '--import=data:text/javascript,Object.assign(process.stdout,{isTTY:true,columns:120})',
};

/** Numbers that differ between machines and runs: ports, versions, times, durations and ids of keys. */
const VARIABLE =
  /127\.0\.0\.1:\d+|\d+(\.\d+)? ms|Redis \d+\.\d+\.\d+|\b\d{4}\b|\d\d:\d\d:\d\d\.\d+/g;

/** The lines of a documented output that are not in the actual output. A line may end with `…` where it is cut. */
export function missingLines(documented: string, actual: string): readonly string[] {
  const plain = (text: string) => text.replaceAll(VARIABLE, 'N');
  const lines = plain(actual).split('\n');
  return documented
    .trimEnd()
    .split('\n')
    .filter((line) => {
      const [start = ''] = plain(line).split('…');
      return !lines.some((found) => found.startsWith(start.trimEnd()));
    });
}
