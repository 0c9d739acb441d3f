/**
 * Runs the project `servers` of vitest.config.ts on each other server: `npm run test:servers`, with
 * `-- --only valkey-9` for one of them, and `-- --all` to fail where a server cannot be had rather
 * than leave it out. It needs the network until each server has been downloaded once.
 */
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { OTHER_SERVERS, otherServer } from './lib/other-servers.mjs';
import { say } from './lib/steps.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
const NAMES = Object.keys(OTHER_SERVERS);

const USAGE = `usage: npm run test:servers -- [--only ${NAMES.join('|')}] [--all]`;

/** @returns {{ names: readonly string[], all: boolean } | null} null when it is used in a wrong way */
function optionsOf() {
  try {
    const { values } = parseArgs({
      options: { only: { type: 'string' }, all: { type: 'boolean', default: false } },
    });
    const names = NAMES.filter((name) => name === (values.only ?? name));
    return names.length > 0 ? { names, all: values.all } : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @returns {string | null} null when it cannot be had, which is said
 */
function find(name) {
  try {
    return otherServer(name);
  } catch (error) {
    say(`skipped ${name}: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

/** @param {string} binary */
function runTests(binary) {
  const args = [VITEST, 'run', '--project', 'servers'];
  const env = { ...process.env, EXPIRY_RELAY_REDIS_SERVER: binary };
  return spawnSync(process.execPath, args, { cwd: ROOT, env, stdio: 'inherit' }).status === 0;
}

const options = optionsOf();
if (options === null) {
  process.stderr.write(`${USAGE}\n`);
  process.exitCode = 2;
} else {
  const summary = options.names.map((name) => {
    const binary = find(name);
    if (binary === null) return { line: `- ${name}: skipped`, isWrong: options.all };
    say(`running the tests on ${name}`);
    const passed = runTests(binary);
    return { line: `${passed ? '✓' : '✗'} ${name}`, isWrong: !passed };
  });
  for (const { line } of summary) say(line);
  if (summary.some(({ isWrong }) => isWrong)) process.exitCode = 1;
}
