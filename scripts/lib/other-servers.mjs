/**
 * Other Redis-compatible servers than the machine's own, for `npm run test:servers`. Debian's other
 * suites have them: their packages are downloaded from the mirror that this machine uses, verified
 * with Debian's keyring, and unpacked into a cache folder. Nothing is installed.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findRedisServer } from './redis-server.mjs';

/** Outlives a clean checkout: each server is downloaded once. */
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'expiry-relay/servers');
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** apt-get says more than the default when it fails. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
/** One suite's index and some 15 packages, on a slow line. */
const COMMAND_MS_MAX = 300_000;

/**
 * `suites` hold the server and its libraries; `binary` is the server within its packages. One
 * without suites is the machine's own Redis server, which `lacks` a command.
 *
 * @typedef {{ suites: readonly string[], packages: readonly string[], binary: string }} Packaged
 * @typedef {{ lacks: string }} Own
 */

const REDIS = { packages: ['redis-server', 'redis-tools'], binary: 'usr/bin/redis-server' };
const VALKEY = { packages: ['valkey-server', 'valkey-tools'], binary: 'usr/bin/valkey-server' };

/** @type {Readonly<Record<string, Packaged | Own>>} */
export const OTHER_SERVERS = {
  // Redis 6.2 differs from 7.0 by lacking this command; no suite of Debian has Redis 6.2.
  'redis-6.2': { lacks: 'PEXPIRETIME' },
  'redis-8.0': { ...REDIS, suites: ['trixie'] },
  'valkey-8.0': { ...VALKEY, suites: ['bookworm', 'bookworm-backports'] },
  'valkey-8.1': { ...VALKEY, suites: ['trixie'] },
  'valkey-9': { ...VALKEY, suites: ['sid'] },
};

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {string} [cwd]
 * @returns {string} its standard output
 */
function run(command, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
    timeout: COMMAND_MS_MAX,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (status === 0) return stdout;
  const said = `${stderr ?? ''}${error ? `${error.message}\n` : ''}`.trim();
  throw new Error(`${command} ${args.at(-1)} failed: ${said}`);
}

/** The mirror of Debian that this machine uses. */
function mirror() {
  const format = '$(REPO_URI) $(ORIGIN) $(LABEL)';
  const lines = run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  // Security updates have the label Debian-Security, and a mirror of their own.
  const found = /^(\S+) Debian Debian$/m.exec(lines);
  if (found?.[1] !== undefined) return found[1];
  throw new Error('this machine has no package index of Debian (run apt-get update)');
}

/**
 * apt with its own sources, index and cache in a folder; it takes nothing to be installed.
 * @param {string} folder
 * @param {readonly string[]} suites
 */
function aptIn(folder, suites) {
  mkdirSync(join(folder, 'lists/partial'), { recursive: true });
  mkdirSync(join(folder, 'cache/archives/partial'), { recursive: true });
  const uri = mirror();
  const sources = suites.map((suite) => `deb [signed-by=${KEYRING}] ${uri} ${suite} main\n`);
  writeFileSync(join(folder, 'sources.list'), sources.join(''));
  const options = [
    `Dir::State=${folder}`,
    `Dir::State::Lists=${join(folder, 'lists')}`,
    'Dir::State::status=/dev/null',
    `Dir::Cache=${join(folder, 'cache')}`,
    `Dir::Etc::SourceList=${join(folder, 'sources.list')}`,
    'Dir::Etc::SourceParts=/dev/null',
    'Acquire::Languages=none',
    'APT::Sandbox::User=root',
    'APT::Update::Error-Mode=any',
  ].flatMap((option) => ['-o', option]);
  return {
    /** @param {readonly string[]} args */
    get: (...args) => run('apt-get', [...options, '-qq', ...args], folder),
    /** @param {readonly string[]} args */
    cache: (...args) => run('apt-cache', [...options, ...args], folder),
  };
}

/**
 * The packages and all libraries that they need, those of the libraries included.
 * @param {ReturnType<typeof aptIn>} apt
 * @param {readonly string[]} packages
 */
function withLibraries(apt, packages) {
  const kinds = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'];
  const flags = kinds.map((kind) => `--no-${kind}`);
  const all = new Set(packages);
  for (let latest = [...packages]; latest.length > 0; ) {
    const depends = apt.cache('depends', ...flags, ...latest);
    const needed = [...depends.matchAll(/^ [ |](?:Pre)?Depends: ((?:lib|zlib)\S+)$/gm)];
    latest = needed.map(([, name = '']) => name).filter((name) => !all.has(name));
    for (const name of latest) all.add(name);
  }
  return [...all];
}

/**
 * The folders below one that hold libraries, and the loader of programs among them.
 * @param {string} folder
 */
function librariesIn(folder) {
  const folders = ['lib', 'usr/lib']
    .map((path) => join(folder, path))
    .filter((path) => existsSync(path))
    .flatMap((path) => readdirSync(path).map((name) => join(path, name)))
    .filter((path) => statSync(path).isDirectory());
  const loader = folders
    .flatMap((path) => readdirSync(path).map((name) => join(path, name)))
    .find((path) => /\/ld-linux[^/]*\.so\.\d+$/.test(path));
  if (loader === undefined) throw new Error(`no program loader is in ${folder}`);
  return { folders, loader };
}

/** @param {readonly string[]} words */
function shellWords(words) {
  return words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
}

/**
 * An executable that becomes the command: it has the same process id.
 * @param {string} path
 * @param {readonly string[]} command
 * @param {string} [lacks] a command that the server is not to have, unless its arguments rename it
 */
function writeExecutable(path, command, lacks) {
  const line = `exec ${shellWords(command)} "$@"`;
  // A sentinel accepts no such argument.
  const without = `case "$*" in *${lacks}*|*--sentinel*) ;; *) ${line} --rename-command ${lacks} '' ;; esac\n`;
  writeFileSync(path, `#!/bin/sh\n${lacks === undefined ? '' : without}${line}\n`);
  chmodSync(path, 0o755);
}

/**
 * Downloads and unpacks beside the folder, and moves the result there: an interrupted run leaves
 * nothing that looks complete.
 * @param {Packaged} server
 * @param {string} folder
 */
function unpack({ suites, packages, binary }, folder) {
  const work = mkdtempSync(`${folder}-`);
  try {
    const apt = aptIn(join(work, 'apt'), suites);
    apt.get('update');
    apt.get('download', ...withLibraries(apt, packages));
    for (const name of readdirSync(join(work, 'apt')).filter((file) => file.endsWith('.deb'))) {
      run('dpkg-deb', ['--extract', join(work, 'apt', name), join(work, 'root')]);
    }
    if (!existsSync(join(work, 'root', binary))) throw new Error(`no ${binary} is in the packages`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(join(work, 'root'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * The path of an executable that starts a server of `OTHER_SERVERS`, as `redis-server` does: for
 * startRedis({ binary }), or for EXPIRY_RELAY_REDIS_SERVER. The first call downloads the server.
 * @param {string} name
 * @returns {string}
 * @throws {Error} with the reason that it is unavailable on this machine
 */
export function otherServer(name) {
  const server = OTHER_SERVERS[name];
  if (server === undefined) {
    const names = Object.keys(OTHER_SERVERS).join(', ');
    throw new Error(`expected one of ${names}, found "${name}"`);
  }
  const executable = join(CACHE, `${name}.sh`);
  mkdirSync(CACHE, { recursive: true });
  if ('lacks' in server) {
    const own = findRedisServer();
    if (own?.kind !== 'binary') throw new Error('this machine has no redis-server of its own');
    writeExecutable(executable, [own.path], server.lacks);
    return executable;
  }
  const folder = join(CACHE, name);
  if (!existsSync(folder)) unpack(server, folder);
  const { folders, loader } = librariesIn(folder);
  const command = [loader, '--library-path', folders.join(':'), join(folder, server.binary)];
  writeExecutable(executable, command);
  return executable;
}
