/** The built relay as a separate process, with its file as a value. */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../scripts/lib/free-port.mjs';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

/** A folder for a profile of the relay, to be read with a browser's developer tools. */
const { CPU_PROFILE_DIR } = process.env;
const PROFILING = CPU_PROFILE_DIR ? ['--cpu-prof', '--cpu-prof-dir', CPU_PROFILE_DIR] : [];

/** The options with which the image starts it. */
const NODE_OPTIONS = ['--max-semi-space-size=8', '--no-parallel-scavenge'];

/** A scrape costs the relay milliseconds, which the measurement must not include. */
const LOOK_EVERY_MS = 250;

/**
 * A file with one endpoint and one route.
 * @param {string} redisUrl
 * @param {object} endpoint `url` and `secrets`, and what else it is to have
 * @param {object} [route] what it is to have but for `order:{id}:unpaid`
 */
export function shopFile(redisUrl, endpoint, route = {}) {
  const cancel = { name: 'cancel-unpaid-order', match: 'order:{id}:unpaid', to: 'shop' };
  return {
    redis: { url: redisUrl },
    endpoints: { shop: endpoint },
    routes: [{ ...cancel, ...route }],
  };
}

/**
 * Its log is thrown away: reading a log is not part of the measurement.
 * @param {object} file
 */
export async function startRelay(file) {
  const dir = await mkdtemp(join(tmpdir(), 'expiry-relay-bench-'));
  const path = join(dir, 'relay.yaml');
  const adminPort = await freePort();
  const listen = `127.0.0.1:${adminPort}`;
  // JSON is YAML.
  await writeFile(path, JSON.stringify({ admin: { listen }, ...file }));
  const child = spawn(process.execPath, [...NODE_OPTIONS, ...PROFILING, MAIN, 'run', '-c', path], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  let isExpected = false;
  const end = () => {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  };
  process.once('exit', end);
  const exited = new Promise((resolve) => child.once('exit', resolve)).then((code) => {
    if (!isExpected) throw new Error(`expected the relay to run, but it ended with code ${code}`);
  });
  // Callers that wait for the relay receive this error.
  exited.catch(() => undefined);

  /**
   * Resolves when the metric is there, and as wanted; rejects when the relay has ended.
   * @param {string} name without `expiry_relay_`
   * @param {(value: number) => boolean} isWanted
   */
  async function metricIs(name, isWanted) {
    const isSo = async () => {
      const value = (await metrics().catch(() => null))?.get(name);
      return value !== undefined && isWanted(value);
    };
    while (!(await isSo())) await Promise.race([sleep(LOOK_EVERY_MS), exited]);
  }

  /** Each series, and for each metric their sum, by its name without `expiry_relay_`. */
  async function metrics() {
    const text = await (await fetch(`http://${listen}/metrics`)).text();
    /** @type {Map<string, number>} */
    const sums = new Map();
    const series = text.matchAll(/^expiry_relay_(\w+)(\{.*\})? (\S+)$/gm);
    for (const [, name = '', labels, value] of series) {
      sums.set(name, (sums.get(name) ?? 0) + Number(value));
      if (labels !== undefined) sums.set(name + labels, Number(value));
    }
    return sums;
  }

  return {
    pid: child.pid ?? 0,
    adminPort,
    metrics,
    metricIs,
    /** Resolves when it listens and its first sweep is over: it knows all keys that there were. */
    async ready() {
      const isReady = () =>
        fetch(`http://${listen}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        );
      while (!(await isReady())) await Promise.race([sleep(LOOK_EVERY_MS), exited]);
      await metricIs('sweep_duration_seconds', (seconds) => seconds > 0);
    },
    pause: () => child.kill('SIGSTOP'),
    resume: () => child.kill('SIGCONT'),
    stop: async () => {
      isExpected = true;
      child.kill('SIGTERM');
      await exited;
      process.removeListener('exit', end);
      end();
    },
  };
}
