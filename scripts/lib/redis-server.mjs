/**
 * Real Redis servers for the tests, the demo and the benches: found on the machine, started on a
 * free port of 127.0.0.1, and ended with the process that started them.
 *
 * @typedef {{ kind: 'binary', path: string } | { kind: 'docker', image: string }} RedisServer
 *
 * @typedef {object} StartOptions
 * @property {number | undefined} [port] default: a free one
 * @property {readonly string[] | undefined} [args] appended to redis-server's arguments, such as
 *   `['--appendonly', 'yes']`
 * @property {string | undefined} [dir] its working directory, kept afterwards; default: a temporary
 *   one, removed by stop()
 * @property {string | undefined} [password] becomes `requirepass`
 * @property {string | undefined} [binary] the path of an executable, such as one of
 *   other-servers.mjs; default: what findRedisServer() finds
 * @property {Readonly<Record<string, string>> | undefined} [env] added to its environment; not with Docker
 *
 * @typedef {AsyncDisposable & RedisProcess} RunningRedis disposing stops it
 *
 * @typedef {object} RedisProcess
 * @property {number} port
 * @property {string} url with the password, when there is one
 * @property {number} pid the server's, or that of Docker's client; another one after restart()
 * @property {string} dir
 * @property {() => Promise<void>} stop SIGTERM, or SIGKILL when that takes too long; removes the
 *   temporary directory. Harmless when it has ended already.
 * @property {(signal: NodeJS.Signals) => Promise<void>} kill sends a signal that ends the server
 *   and waits for its exit (to pause it, `process.kill(pid, 'SIGSTOP')`)
 * @property {() => Promise<void>} restart stops it if it still runs, and starts it with the same
 *   port, directory and arguments
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { accessSync, constants, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.mjs';

export const REDIS_IMAGE = 'redis:7-bookworm';

/** Folders of package managers that may be missing in PATH. */
const MORE_FOLDERS = ['/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

/** A server with test data is up in 50 ms; a busy machine, or one loading a large file, is slower. */
const START_MS_MAX = 20_000;
/** Docker may have to fetch the image first. */
const DOCKER_START_MS_MAX = 120_000;
/** After SIGTERM; more than writing a test's data takes. */
const STOP_MS_MAX = 5_000;
const PROBE_MS_MAX = 1_000;
const PROBE_EVERY_MS = 10;
/** Another process may take the port between our looking and Redis's binding. */
const PORT_TRIES_MAX = 5;
/** Shown when a start fails: Redis logs the reason in its last lines. */
const OUTPUT_LINES_MAX = 15;
const OUTPUT_CHARS_MAX = 4_000;

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Whether a Docker engine answers. */
function dockerAnswers() {
  return spawnSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 }).status === 0;
}

/**
 * `$EXPIRY_RELAY_REDIS_SERVER`, else `redis-server` of this machine, else Docker.
 * @returns {RedisServer | null}
 */
export function findRedisServer() {
  const chosen = process.env.EXPIRY_RELAY_REDIS_SERVER;
  if (chosen) {
    if (isExecutable(chosen)) return { kind: 'binary', path: chosen };
    throw new Error(
      `EXPIRY_RELAY_REDIS_SERVER: expected the path of a redis-server, found "${chosen}", ` +
        'which is no executable file; correct or unset it',
    );
  }
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...MORE_FOLDERS];
  for (const folder of folders) {
    const path = join(folder, 'redis-server');
    if (folder !== '' && isExecutable(path)) return { kind: 'binary', path };
  }
  return dockerAnswers() ? { kind: 'docker', image: REDIS_IMAGE } : null;
}

/**
 * One running server process.
 * @typedef {object} Child
 * @property {number} pid
 * @property {boolean} exited
 * @property {boolean} isDocker
 * @property {Promise<void>} exit resolves when it has ended and all of its output is read
 * @property {() => string} output its last lines
 * @property {(signal: NodeJS.Signals) => void} signal
 */

/** @type {Set<Child>} */
const living = new Set();

/** Temporary directories that stop() has not removed yet. @type {Set<string>} */
const tempDirs = new Set();

process.on('exit', () => {
  for (const child of living) child.signal('SIGKILL');
  for (const dir of tempDirs) rmSync(dir, { recursive: true, force: true });
});

/**
 * @param {RedisServer} server
 * @param {string} dir
 * @param {readonly string[]} args
 * @param {Readonly<Record<string, string>>} env
 * @returns {Child}
 */
function launch(server, dir, args, env) {
  const name = `expiry-relay-redis-${randomUUID()}`;
  const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  const [command, words] =
    server.kind === 'binary'
      ? [server.path, args]
      : [
          'docker',
          ['run', '--rm', '--name', name, '--network', 'host', '--user', user]
            .concat(['--volume', `${dir}:${dir}`, server.image, 'redis-server'])
            .concat(args),
        ];
  const redis = spawn(command, words, {
    cwd: dir,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let tail = '';
  /** @param {string} text */
  const keep = (text) => {
    tail = (tail + text).slice(-OUTPUT_CHARS_MAX);
  };
  redis.stdout.setEncoding('utf8').on('data', keep);
  redis.stderr.setEncoding('utf8').on('data', keep);
  redis.on('error', (error) => keep(`${error.message}\n`));
  /** @type {Child} */
  const child = {
    pid: redis.pid ?? -1,
    exited: false,
    isDocker: server.kind === 'docker',
    exit: new Promise((resolve) => {
      redis.once('close', () => {
        child.exited = true;
        living.delete(child);
        resolve();
      });
    }),
    output: () => tail.trim().split('\n').slice(-OUTPUT_LINES_MAX).join('\n'),
    signal: (signal) => {
      // Docker's client cannot pass SIGKILL on, and the container outlives it.
      const killed =
        server.kind === 'docker' &&
        spawnSync('docker', ['kill', '--signal', signal, name], { stdio: 'ignore' }).status === 0;
      if (!killed && !child.exited) redis.kill(signal);
    },
  };
  living.add(child);
  return child;
}

/**
 * Asks once whether the server of this process answers on the port. Another server may have been
 * quicker to take the port, so the answer's process id counts, where we may read it.
 * @param {number} port
 * @param {string | undefined} password
 * @param {Child} child
 * @returns {Promise<boolean>}
 */
function answers(port, password, child) {
  const commands = [['PING'], ['INFO', 'server']];
  if (password !== undefined) commands.unshift(['AUTH', password]);
  const request = commands
    .map((words) => words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`))
    .map((words) => `*${words.length}\r\n${words.join('')}`)
    .join('');
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    let text = '';
    /** @param {boolean} answered */
    const finish = (answered) => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(PROBE_MS_MAX, () => finish(false));
    socket.on('error', () => finish(false));
    socket.on('close', () => finish(false));
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const pid = /^process_id:(\d+)/m.exec(text);
      if (/^-LOADING/m.test(text)) finish(false);
      else if (pid) finish(child.isDocker || Number(pid[1]) === child.pid);
      else if (/^-(NOAUTH|WRONGPASS|NOPERM|DENIED|ERR)[^\r]*\r\n/m.test(text)) finish(true);
    });
  });
}

/**
 * Resolves when the server answers; rejects with its last lines when it dies or stays silent.
 * @param {Child} child
 * @param {number} port
 * @param {string | undefined} password
 */
async function untilReady(child, port, password) {
  const limitMs = child.isDocker ? DOCKER_START_MS_MAX : START_MS_MAX;
  const startMs = performance.now();
  while (!child.exited) {
    if ((await answers(port, password, child)) && !child.exited) return;
    if (performance.now() - startMs > limitMs) {
      await end(child);
      throw new Error(
        `expected redis-server to answer on port ${port} within ${limitMs} ms, found silence; ` +
          `its last lines:\n${child.output()}`,
      );
    }
    await Promise.race([sleep(PROBE_EVERY_MS), child.exit]);
  }
  await child.exit;
  throw new Error(
    `expected redis-server to answer on port ${port}, but it ended; its last lines:\n` +
      child.output(),
  );
}

/**
 * SIGTERM, then SIGKILL.
 * @param {Child} child
 */
async function end(child) {
  if (child.exited) return;
  child.signal('SIGTERM');
  const timer = setTimeout(() => child.signal('SIGKILL'), STOP_MS_MAX);
  await child.exit;
  clearTimeout(timer);
}

/**
 * Starts a Redis server and waits until it answers. It keeps nothing on disk unless `args` say so.
 * @param {StartOptions} [options]
 * @returns {Promise<RunningRedis>}
 * @throws {Error} with the server's last lines when it dies before it answers
 */
export async function startRedis(options = {}) {
  /** @type {RedisServer | null} */
  const server = options.binary ? { kind: 'binary', path: options.binary } : findRedisServer();
  if (server === null) {
    throw new Error(
      'expected a redis-server on the PATH or a Docker engine, found neither; ' +
        'install Redis, or set EXPIRY_RELAY_REDIS_SERVER to its path',
    );
  }
  const { args = [], password, env = {} } = options;
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'expiry-relay-redis-')));
  if (options.dir === undefined) tempDirs.add(dir);
  const removeDir = async () => {
    if (tempDirs.delete(dir)) await rm(dir, { recursive: true, force: true });
  };

  /** @param {number} port */
  const start = async (port) => {
    const own = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--daemonize', 'no'];
    if (!args.includes('--save')) own.push('--save', '');
    if (password !== undefined) own.push('--requirepass', password);
    const started = launch(server, dir, [...own, ...args], env);
    await untilReady(started, port, password);
    return started;
  };

  const startSomewhere = async () => {
    for (let tries = 1; ; tries += 1) {
      const port = options.port ?? (await freePort());
      try {
        return { port, child: await start(port) };
      } catch (error) {
        const lostRace = options.port === undefined && /address already in use/i.test(`${error}`);
        if (!lostRace || tries === PORT_TRIES_MAX) throw error;
      }
    }
  };

  let { port, child } = await startSomewhere().catch(async (error) => {
    await removeDir();
    throw error;
  });
  const stop = async () => {
    await end(child);
    await removeDir();
  };
  const credentials = password === undefined ? '' : `:${encodeURIComponent(password)}@`;
  return {
    port,
    url: `redis://${credentials}127.0.0.1:${port}`,
    dir,
    get pid() {
      return child.pid;
    },
    stop,
    kill: async (signal) => {
      child.signal(signal);
      await child.exit;
    },
    restart: async () => {
      await end(child);
      child = await start(port);
    },
    [Symbol.asyncDispose]: stop,
  };
}
