/**
 * Runs the examples: `npm run test:examples`, with `-- --all` to fail where a runtime is missing
 * rather than leave its example out. What is missing is installed with apt, where that may be done.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { installWithApt, mayInstallWithApt } from './lib/apt.mjs';
import { MISSING_VARIABLE, NODE_PACKAGES, RUNTIMES, versionOf } from './lib/runtimes.mjs';
import { run, say } from './lib/steps.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs');
const NODE_EXAMPLES = join(ROOT, 'examples/receivers/node');

const USAGE = 'usage: npm run test:examples -- [--all]';

/** @returns {{ all: boolean } | null} null when it is used in a wrong way */
function optionsOf() {
  try {
    const { values } = parseArgs({ options: { all: { type: 'boolean', default: false } } });
    return values;
  } catch {
    return null;
  }
}

/** The examples whose runtimes are not there. */
const missingOf = () =>
  Object.entries(RUNTIMES).filter(([, runtime]) => versionOf(runtime) === null);

/** @param {readonly (readonly [string, { packages: readonly string[] }])[]} examples */
const packagesOf = (examples) => [...new Set(examples.flatMap(([, { packages }]) => packages))];

/** Returns the names of the examples that cannot be run here. */
function installRuntimes() {
  let missing = missingOf();
  if (missing.length > 0 && mayInstallWithApt()) {
    const packages = packagesOf(missing);
    say(`installing ${packages.join(', ')} (apt-get)`);
    const trouble = installWithApt(packages);
    if (trouble !== '') say(trouble);
    missing = missingOf();
  }
  for (const [name, runtime] of Object.entries(RUNTIMES)) {
    const version = versionOf(runtime);
    say(version === null ? `✗ ${name}: not there` : `✓ ${name}: ${version}`);
  }
  if (missing.length > 0) say(`for the rest: apt-get install ${packagesOf(missing).join(' ')}`);
  return missing.map(([name]) => name);
}

/** Whether the packages of the lock file have been installed since it was written. */
function nodePackagesAreThere() {
  const installed = join(NODE_EXAMPLES, 'node_modules/.package-lock.json');
  const lock = join(NODE_EXAMPLES, 'package-lock.json');
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs;
}

/** Returns the names of the examples that cannot be run here. */
async function installNodePackages() {
  if (nodePackagesAreThere()) return [];
  say('installing Express, Fastify and the Standard Webhooks library (npm ci)');
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
  const { code, stdout, stderr } = await run('npm', args, { cwd: NODE_EXAMPLES });
  if (code === 0) return [];
  say(`${stdout}${stderr}✗ ${NODE_PACKAGES}: not there`);
  return [NODE_PACKAGES];
}

/** @param {{ all: boolean }} options */
async function main({ all }) {
  const missing = [...installRuntimes(), ...(await installNodePackages())];
  if (all && missing.length > 0) {
    throw new Error(
      `expected every runtime, since --all was given; not there: ${missing.join(', ')}`,
    );
  }
  const args = [VITEST, 'run', '--project', 'examples'];
  const env = { ...process.env, [MISSING_VARIABLE]: missing.join(',') };
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, env, stdio: 'inherit' });
  process.exitCode = status ?? 1;
}

const options = optionsOf();
if (options === null) {
  process.stderr.write(`${USAGE}\n`);
  process.exitCode = 2;
} else {
  try {
    await main(options);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    process.stderr.write(`test-examples: ${text}\n`);
    process.exitCode = 1;
  }
}
