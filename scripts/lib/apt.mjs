/** Installs with apt where no password is needed: as root, or by sudo without a password. */
import { spawnSync } from 'node:child_process';

/** apt-get says more than the default when it fails. */
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

const APT = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get'];

/** @param {readonly string[]} words */
function run(words) {
  const [command = '', ...args] = words;
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: OUTPUT_BYTES_MAX,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = `${stdout ?? ''}${stderr ?? ''}${error ? `${error.message}\n` : ''}`;
  return { ok: status === 0, output: `$ ${words.join(' ')}\n${output}` };
}

const isRoot = () => process.getuid?.() === 0;

export function mayInstallWithApt() {
  return run(['apt-get', '--version']).ok && (isRoot() || run(['sudo', '-n', 'true']).ok);
}

/**
 * @param {readonly string[]} words
 * @returns {{ ok: boolean, output: string }} output: what it said, both streams
 */
export function runAsRoot(words) {
  return run(isRoot() ? words : ['sudo', '-n', ...words]);
}

/**
 * Returns what went wrong, or an empty text.
 * @param {readonly string[]} packages
 */
export function installWithApt(packages) {
  const update = runAsRoot([...APT, 'update']);
  const install = runAsRoot([...APT, 'install', '-y', '--no-install-recommends', ...packages]);
  return install.ok ? '' : update.output + install.output;
}
