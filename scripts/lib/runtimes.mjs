/** Requirements of the examples and the completion scripts beside Node and Redis, with their Debian packages. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter } from 'node:path';

/** Debian's library for JSON in Java. */
export const GSON = '/usr/share/java/gson.jar';

/** Debian installs servers in a folder that may be missing in PATH. */
export const PATH = [process.env.PATH, '/usr/sbin'].join(delimiter);

/** The variable with the examples that the tests skip: their names, with commas. */
export const MISSING_VARIABLE = 'EXAMPLES_MISSING';

/** Further requirements of the examples for Node, from npm instead of Debian. */
export const NODE_PACKAGES = 'node-packages';

/** A JVM on a busy machine. */
const PROBE_MS_MAX = 20_000;

const ORDER_TIMEOUT_PROBE = `
  echo 'PHP ', PHP_VERSION, ', phpredis ', phpversion('redis'), ', ';
  passthru('mariadbd --version', $status);
  exit((int) !($status === 0 && extension_loaded('redis') && extension_loaded('pdo_mysql')));
`;

/**
 * @typedef {object} Runtime
 * @property {readonly string[]} packages
 * @property {readonly string[]} probe a command that succeeds where all is there; says its version
 * @property {readonly string[]} [files] what must be there, too
 */

/** By the name of the example, or of the shell. @satisfies {Readonly<Record<string, Runtime>>} */
export const RUNTIMES = {
  php: {
    packages: ['php-cli'],
    probe: ['php', '-r', 'echo PHP_VERSION; exit((int) (PHP_VERSION_ID < 80200));'],
  },
  python: { packages: ['python3'], probe: ['python3', '--version'] },
  go: { packages: ['golang-go'], probe: ['go', 'version'] },
  ruby: {
    packages: ['ruby', 'ruby-webrick'],
    probe: ['ruby', '-rwebrick', '-e', 'print RUBY_VERSION, ", WEBrick ", WEBrick::VERSION'],
  },
  java: {
    packages: ['default-jdk-headless', 'libgoogle-gson-java'],
    probe: ['javac', '--version'],
    files: [GSON],
  },
  perl: {
    packages: ['libplack-perl'],
    probe: ['perl', '-MPlack', '-e', 'print "$^V, Plack $Plack::VERSION"'],
  },
  'php-order-timeout': {
    // Not mariadb-server and mariadb-client: those would start a server of the machine's own.
    packages: ['php-cli', 'php-redis', 'php-mysql', 'mariadb-server-core', 'mariadb-client-core'],
    probe: ['php', '-r', ORDER_TIMEOUT_PROBE],
    files: ['/usr/bin/mariadb', '/usr/bin/mariadb-install-db'],
  },
  zsh: { packages: ['zsh'], probe: ['zsh', '--version'] },
  fish: { packages: ['fish'], probe: ['fish', '--version'] },
};

/** @typedef {keyof typeof RUNTIMES} Example */

/**
 * The version, in the runtime's own words; null when it is not there.
 * @param {Runtime} runtime
 */
export function versionOf({ probe, files = [] }) {
  const [command = '', ...args] = probe;
  const { status, stdout } = spawnSync(command, args, {
    env: { ...process.env, PATH },
    encoding: 'utf8',
    timeout: PROBE_MS_MAX,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return status === 0 && files.every((path) => existsSync(path)) ? stdout.trim() : null;
}
