/** The built relay as a process of its own, with a file given as a value. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

/** A folder for a profile of the relay, to be read with a browser's developer tools. */
const { CPU_PROFILE_DIR } = process.env;
const PROFILING = CPU_PROFILE_DIR ? ['--cpu-prof', '--cpu-prof-dir', CPU_PROFILE_DIR] : [];

/**
 * Its log is thrown away: what reads a log is not what is measured.
 * @param {object} file
 */
export async function startRelay(file) {
  const dir = await mkdtemp(join(tmpdir(), 'expiry-relay-bench-'));
  const path = join(dir, 'relay.yaml');
  // JSON is YAML.
  await writeFile(path, JSON.stringify({ admin: { listen: '127.0.0.1:0' }, ...file }));
  const child = spawn(process.execPath, [...PROFILING, MAIN, 'run', '-c', path], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  return {
    pid: child.pid ?? 0,
    pause: () => child.kill('SIGSTOP'),
    resume: () => child.kill('SIGCONT'),
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
