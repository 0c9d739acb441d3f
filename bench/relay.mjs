/** The built relay as a process of its own, with a file given as a value. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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
  const listen = `127.0.0.1:${await freePort()}`;
  await writeFile(path, JSON.stringify({ admin: { listen }, ...file }));
  const child = spawn(process.execPath, [...PROFILING, MAIN, 'run', '-c', path], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  return {
    pid: child.pid ?? 0,
    /** Resolves when it listens. */
    async ready() {
      const isReady = () =>
        fetch(`http://${listen}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        );
      while (!(await isReady())) await sleep(50);
    },
    pause: () => child.kill('SIGSTOP'),
    resume: () => child.kill('SIGCONT'),
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** @returns {Promise<number>} */
function freePort() {
  const server = createServer();
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}
