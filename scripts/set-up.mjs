/**
 * Makes a bare clone ready for `npm test`, `npm run demo` and the benches: Node's version, the
 * dependencies, the build, a Redis server. Needs nothing but Node. Each step is skipped when there
 * is nothing to do, says one line when there is, and shows what its commands said when it fails.
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installWithApt, mayInstallWithApt, runAsRoot } from './lib/apt.mjs';
import { findRedisServer, REDIS_IMAGE } from './lib/redis-server.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** npm says more than the default when it fails. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
/** Set-ups that run at the same time get in each other's way once, hardly twice. */
const REPLACE_TRIES_MAX = 5;
const REDIS_UNIT = 'redis-server.service';

/** The operator must act; the message says how. */
class SetUpError extends Error {}

/** @param {string} line */
function say(line) {
  process.stdout.write(`set-up: ${line}\n`);
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {{ ok: boolean, output: string }} output: what it said, both streams
 */
function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = `${stdout ?? ''}${stderr ?? ''}${error ? `${error.message}\n` : ''}`;
  return { ok: status === 0, output: `$ ${command} ${args.join(' ')}\n${output}` };
}

/** @param {string} path relative to the root */
function readJson(path) {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
}

function checkNode() {
  const wanted = String(readJson('package.json').engines.node);
  const [, major = 0, minor = 0] = (/^>=(\d+)\.(\d+)/.exec(wanted) ?? []).map(Number);
  const [ownMajor = 0, ownMinor = 0] = process.versions.node.split('.').map(Number);
  if (ownMajor > major || (ownMajor === major && ownMinor >= minor)) return;
  throw new SetUpError(
    `expected Node ${wanted}, found ${process.versions.node}; install a newer one`,
  );
}

/**
 * * Whether the packages of package-lock.json are installed, in their versions. Optional ones may be
 * absent: most of it is for other platforms. What was added by hand does no harm.
 */
function dependenciesAreThere() {
  try {
    const wanted = readJson('package-lock.json').packages;
    const installed = readJson('node_modules/.package-lock.json').packages;
    return Object.entries(wanted).every(([path, { version, optional, link }]) => {
      if (path === '' || link) return true;
      if (installed[path] === undefined) return optional === true;
      return (
        installed[path].version === version && readJson(`${path}/package.json`).version === version
      );
    });
  } catch {
    return false;
  }
}

function installDependencies() {
  if (dependenciesAreThere()) return;
  say('installing the dependencies (npm ci)');
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund'];
  // NODE_ENV=production, or a user's settings, would leave out what the build and the tests need.
  const { ok, output } = run('npm', ['ci', ...flags, '--include=dev', '--include=optional']);
  if (!ok && !dependenciesAreThere()) {
    throw new SetUpError(`${output}npm ci failed; see above`);
  }
}

/**
 * The files below a folder with that ending, without it, relative to the folder.
 * @param {string} folder
 * @param {string} ending
 */
function filesIn(folder, ending) {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(ending) && !path.endsWith('.d.ts'))
    .map((path) => path.slice(0, -ending.length))
    .sort();
}

/** Whether dist has one output for each source, and nothing that it is made from is newer. */
function buildIsFresh() {
  if (!existsSync(join(ROOT, 'dist/main.js'))) return false;
  const sources = filesIn('src', '.ts');
  if (filesIn('dist', '.js').join('\n') !== sources.join('\n')) return false;
  const builtMs = statSync(join(ROOT, 'dist/main.js')).mtimeMs;
  return ['tsconfig.json', 'package.json', 'package-lock.json']
    .concat(sources.map((source) => `src/${source}.ts`))
    .every((path) => statSync(join(ROOT, path)).mtimeMs <= builtMs);
}

/**
 * Builds beside dist and then replaces dist: it is complete at any time, and outputs of deleted
 * sources do not survive.
 */
function build() {
  if (buildIsFresh()) return;
  say('building dist (tsc)');
  const fresh = join(ROOT, `.dist-${process.pid}`);
  const old = `${fresh}-old`;
  const started = new Date();
  try {
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const { ok, output } = run(process.execPath, [tsc, '-p', 'tsconfig.json', '--outDir', fresh]);
    if (!ok) throw new SetUpError(`${output}the build failed; see above`);
    if (!existsSync(join(fresh, 'main.js'))) {
      throw new SetUpError('expected the build to make dist/main.js; is src/main.ts missing?');
    }
    // A source that was saved while tsc ran must count as newer.
    utimesSync(join(fresh, 'main.js'), started, started);
    replaceDist(fresh, old);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}

/**
 * @param {string} fresh
 * @param {string} old where the previous one goes
 */
function replaceDist(fresh, old) {
  const dist = join(ROOT, 'dist');
  for (let tries = 1; ; tries += 1) {
    try {
      rmSync(old, { recursive: true, force: true });
      if (existsSync(dist)) renameSync(dist, old);
      renameSync(fresh, dist);
      return;
    } catch (error) {
      // Another set-up moves its equivalent build here at the same time.
      if (buildIsFresh()) return;
      if (tries === REPLACE_TRIES_MAX) throw error;
    }
  }
}

function installRedis() {
  const found = findRedisServer();
  if (found?.kind === 'binary') return;
  if (found?.kind === 'docker' && run('docker', ['image', 'inspect', REDIS_IMAGE]).ok) return;
  const aptSaid = installRedisWithApt();
  if (findRedisServer()?.kind === 'binary') return;
  const dockerSaid = found?.kind === 'docker' ? pullRedisImage() : '';
  if (found?.kind === 'docker' && dockerSaid === '') return;
  throw new SetUpError(
    `${aptSaid}${dockerSaid}expected a Redis server, found none; do one of these:\n` +
      '  - install it: apt-get install redis-server, dnf install redis, apk add redis, ' +
      'brew install redis\n' +
      '  - set EXPIRY_RELAY_REDIS_SERVER to the path of a redis-server\n' +
      `  - start Docker, which then fetches ${REDIS_IMAGE}`,
  );
}

/** Returns what went wrong, or an empty text. */
function installRedisWithApt() {
  if (!mayInstallWithApt()) return '';
  say('installing redis-server (apt-get)');
  const withoutService = existsSync('/run/systemd/system');
  // Debian starts and enables what it installs, but not a masked unit; a runtime mask is gone after
  // the next start of the machine even if this process dies here.
  if (withoutService) runAsRoot(['systemctl', 'mask', '--runtime', REDIS_UNIT]);
  try {
    return installWithApt(['redis-server']);
  } finally {
    if (withoutService) {
      runAsRoot(['systemctl', 'unmask', '--runtime', REDIS_UNIT]);
      runAsRoot(['systemctl', 'disable', '--now', REDIS_UNIT]);
    }
  }
}

/** Returns what went wrong, or an empty text. */
function pullRedisImage() {
  say(`fetching ${REDIS_IMAGE} (docker pull)`);
  const { ok, output } = run('docker', ['pull', REDIS_IMAGE]);
  return ok ? '' : output;
}

try {
  checkNode();
  installDependencies();
  build();
  installRedis();
} catch (error) {
  process.stderr.write(`set-up: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
