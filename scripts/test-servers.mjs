/**
 * Runs tests on other servers: `npm run test:servers`. The servers of WHOLE run the projects
 * `servers` and `servers-nightly` of vitest.config.ts, the others `servers` alone. `-- --brief` runs
 * `servers` on those of WHOLE, `--only valkey-9` selects a server, `--all` fails where a server
 * cannot be had rather than leave it out, and paths select suites. It needs the network until each
 * server has been downloaded once.
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

/** Each of the others differs little from one of these, or from the machine's own Redis. */
const WHOLE = ['redis-8.0', 'valkey-8.0', 'valkey-9'];

const USAGE = `usage: npm run test:servers -- [--brief] [--only ${NAMES.join('|')}] [--all] [PATH ...]`;

/** null when it is used in a wrong way */
function optionsOf() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        all: { type: 'boolean', default: false },
        brief: { type: 'boolean', default: false },
        only: { type: 'string' },
      },
    });
    const { all, brief, only } = values;
    const names = NAMES.filter((name) =>
      only === undefined ? WHOLE.includes(name) || !brief : name === only,
    );
    return names.length > 0 ? { names, all, brief, paths: positionals } : null;
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

/**
 * Such as "Valkey 8.0.1".
 * @param {string} binary
 */
function versionOf(binary) {
  const { stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  const [, make = 'unknown', version = ''] = /^(\S+) server v=(\S+)/.exec(stdout) ?? [];
  return `${make} ${version}`;
}

/**
 * @param {string} binary
 * @param {boolean} isBrief
 * @param {readonly string[]} paths
 */
function runTests(binary, isBrief, paths) {
  const more = isBrief ? [] : ['--project', 'servers-nightly'];
  const args = [VITEST, 'run', '--project', 'servers', ...more, ...paths];
  const env = { ...process.env, EXPIRY_RELAY_REDIS_SERVER: binary };
  return spawnSync(process.execPath, args, { cwd: ROOT, env, stdio: 'inherit' }).status === 0;
}

const options = optionsOf();
if (options === null) {
  process.stderr.write(`${USAGE}\n`);
  process.exitCode = 2;
} else {
  const { names, all, brief, paths } = options;
  const summary = names.map((name) => {
    const binary = find(name);
    if (binary === null) return { line: `- ${name}: skipped`, isWrong: all };
    const title = `${name} (${versionOf(binary)})`;
    say(`running the tests on ${title}`);
    const startMs = performance.now();
    const passed = runTests(binary, brief || !WHOLE.includes(name), paths);
    const seconds = Math.round((performance.now() - startMs) / 1_000);
    return { line: `${passed ? '✓' : '✗'} ${title}: ${seconds} s`, isWrong: !passed };
  });
  for (const { line } of summary) say(line);
  if (summary.some(({ isWrong }) => isWrong)) process.exitCode = 1;
}
