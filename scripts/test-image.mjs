// cspell:ignore secrts
/**
 * Builds the container image and uses it as an operator would: locked down, beside a real Redis and
 * a real receiver of webhooks. Needs a Docker engine; one line per step.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { COMMAND_MS_MAX, docker, haveEngine, inspect } from './lib/docker.mjs';
import { freePort } from './lib/free-port.mjs';
import {
  hasNoShell,
  holdsOnlyProductionDependencies,
  holdsOnlyTheApp,
  surveyFromInside,
} from './lib/image-survey.mjs';
import { startRedis } from './lib/redis-server.mjs';
import { run, step, succeed, summarize } from './lib/steps.mjs';
import { startVerifyingReceiver } from './lib/verifying-receiver.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const IMAGE = 'expiry-relay:test';
/** The default configuration file of the image. */
const FILE_IN_IMAGE = '/etc/expiry-relay/relay.yaml';
const NODE_IN_IMAGE = '/nodejs/bin/node';
const LOCKED_DOWN = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];

/** A first build fetches the base images and all dependencies. */
const BUILD_MS_MAX = 600_000;
/** On a busy machine; an idle one needs a second. */
const READY_MS_MAX = 30_000;
const HEALTHY_MS_MAX = 60_000;
/** No attempt is in progress then, and neither shutdown.grace nor the engine's SIGKILL at 10 s matters. */
const STOP_MS_MAX = 5_000;
const KEY_LIFE_MS = 500;
/** One key in an empty database: Redis expires it within about a second. */
const WEBHOOK_MS_MAX = 15_000;
const POLL_EVERY_MS = 100;

/** @type {import('./lib/image-survey.mjs').Manifest & { version: string }} */
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const container = `expiry-relay-test-${randomUUID()}`;
const readmeContainer = `${container}-readme`;
const folder = mkdtempSync(join(tmpdir(), 'expiry-relay-image-'));
const secret = `whsec_${randomBytes(32).toString('base64')}`;

/** Runs in any case. */
function cleanUp() {
  const words = ['rm', '--force', container, readmeContainer];
  spawnSync('docker', words, { stdio: 'ignore', timeout: COMMAND_MS_MAX });
  rmSync(folder, { recursive: true, force: true });
}
process.on('exit', cleanUp);
process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

/**
 * * One command in a separate container.
 * @param {readonly string[]} options Docker's
 * @param {readonly string[]} args the relay's
 */
function runInImage(options, args) {
  const words = ['run', '--rm', '--network', 'host', ...options, IMAGE, ...args];
  return run('docker', words, { limitMs: COMMAND_MS_MAX });
}

/**
 * Asks until the answer is not null.
 * @template T
 * @param {string} what is waited for
 * @param {number} limitMs
 * @param {() => Promise<T | null> | T | null} ask
 * @returns {Promise<T>}
 */
async function eventually(what, limitMs, ask) {
  const startMs = performance.now();
  for (;;) {
    const answer = await ask();
    if (answer !== null) return answer;
    if (performance.now() - startMs > limitMs) {
      throw new Error(
        `expected ${what} within ${limitMs} ms; the container's log:\n${await log()}`,
      );
    }
    await sleep(POLL_EVERY_MS);
  }
}

/** The output of the container, with the log (standard output) last. */
async function log() {
  const { stdout, stderr } = await run('docker', ['logs', container]);
  return `${stderr}${stdout}`;
}

async function builds() {
  // The classic builder would otherwise keep the container of a step that fails.
  const args = ['build', '--force-rm', '--network', 'host', '--tag', IMAGE, '.'];
  await docker(args, { limitMs: BUILD_MS_MAX });
  const { Size: bytes } = await inspect('image', IMAGE);
  return `${Math.round(bytes / 1e6)} MB`;
}

async function isNotRoot() {
  const { User: user } = (await inspect('image', IMAGE)).Config;
  assert.match(user, /^[1-9]\d*(:[1-9]\d*)?$/, `expected a user by number, not 0; found "${user}"`);
  return user;
}

/** The shell form would need a shell, and would keep SIGTERM from the relay. */
async function hasExecForms() {
  const { Entrypoint, Cmd, Healthcheck } = (await inspect('image', IMAGE)).Config;
  const [main, options] = [
    '/app/dist/main.js',
    ['--max-semi-space-size=8', '--no-parallel-scavenge'],
  ];
  assert.deepEqual(Entrypoint, [NODE_IN_IMAGE, ...options, main]);
  assert.deepEqual(Cmd, ['run']);
  assert.deepEqual(Healthcheck.Test, ['CMD', NODE_IN_IMAGE, main, 'healthcheck']);
}

async function isLabelled() {
  const { Labels: labels } = (await inspect('image', IMAGE)).Config;
  for (const name of ['title', 'description', 'licenses']) {
    assert.ok(labels?.[`org.opencontainers.image.${name}`], `expected a label for ${name}`);
  }
}

/** @returns {Promise<import('./lib/image-survey.mjs').Survey>} */
async function survey() {
  const script = `(${surveyFromInside})()`;
  const words = ['run', '--rm', '--network', 'host', '--entrypoint', NODE_IN_IMAGE, IMAGE];
  return JSON.parse(await docker([...words, '--eval', script]));
}

async function printsVersion() {
  const { code, stdout, stderr } = await runInImage(LOCKED_DOWN, ['--version']);
  assert.equal(code, 0, stderr);
  assert.equal(stdout, `${manifest.version}\n`);
  return manifest.version;
}

/**
 * Writes a file that the image's user may read, and returns Docker's options to mount it.
 * @param {string} name
 * @param {string} text
 */
function mounted(name, text) {
  const file = join(folder, name);
  writeFileSync(file, text);
  chmodSync(file, 0o644);
  return ['--volume', `${file}:${FILE_IN_IMAGE}:ro`];
}

async function checkRefusesBadFile() {
  const bad = 'endpoints:\n  shop:\n    url: http://shop/hooks\n    secrts: none\nroutes: []\n';
  const mount = mounted('bad.yaml', bad);
  const { code, stdout, stderr } = await runInImage([...LOCKED_DOWN, ...mount], ['check']);
  assert.equal(code, 1, `expected exit code 1, found ${code}\n${stdout}${stderr}`);
  assert.match(stderr, /\/etc\/expiry-relay\/relay\.yaml:4:5: .*"secrts"/);
}

/**
 * @param {number} adminPort
 * @param {number} receiverPort
 */
function relayFile(adminPort, receiverPort) {
  return `redis:
  url: \${REDIS_URL}
endpoints:
  receiver:
    url: http://127.0.0.1:${receiverPort}/hooks
    secrets: ["\${WEBHOOK_SECRET}"]
routes:
  - name: image-test
    match: image-test:{id}
    to: receiver
    path: /{id}
admin:
  listen: 127.0.0.1:${adminPort}
`;
}

/**
 * @param {string} redisUrl
 * @param {number} adminPort
 * @param {number} receiverPort
 */
async function becomesReady(redisUrl, adminPort, receiverPort) {
  const mount = mounted('relay.yaml', relayFile(adminPort, receiverPort));
  // Only the name: every user of the machine can read a value on the command line.
  const variables = ['--env', 'REDIS_URL', '--env', 'WEBHOOK_SECRET'];
  const own = ['--detach', '--name', container, '--network', 'host', '--health-interval', '1s'];
  await docker(['run', ...own, ...LOCKED_DOWN, ...mount, ...variables, IMAGE], {
    env: { ...process.env, REDIS_URL: redisUrl, WEBHOOK_SECRET: secret },
  });
  await eventually('/readyz to answer 200', READY_MS_MAX, async () => {
    const { Running: running, ExitCode: code } = (await inspect('container', container)).State;
    if (!running) throw new Error(`the container ended with exit code ${code}:\n${await log()}`);
    const ready = await fetch(`http://127.0.0.1:${adminPort}/readyz`).catch(() => null);
    return ready?.status === 200 || null;
  });
}

/**
 * @param {number} port
 * @param {string} key
 */
async function setShortLivedKey(port, key) {
  const answer = await new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(`SET ${key} value PX ${KEY_LIFE_MS}\r\n`);
    });
    socket.on('error', reject);
    socket.once('data', (data) => {
      socket.destroy();
      resolve(data.toString());
    });
  });
  assert.equal(answer, '+OK\r\n');
}

/**
 * @param {number} redisPort
 * @param {readonly import('./lib/verifying-receiver.mjs').Arrival[]} arrivals
 */
async function sendsVerifiedWebhook(redisPort, arrivals) {
  await setShortLivedKey(redisPort, 'image-test:42');
  const { path, body, problem } = await eventually(
    'a webhook',
    WEBHOOK_MS_MAX,
    () => arrivals[0] ?? null,
  );
  assert.equal(problem, null);
  assert.equal(path, '/hooks/42');
  assert.equal(JSON.parse(body).data.key, 'image-test:42');
  assert.equal(arrivals.length, 1);
}

/** By its name, without a path, with the file and the environment of the container. */
async function commandsRunInside() {
  const inside = (/** @type {string[]} */ ...args) =>
    run('docker', ['exec', container, 'expiry-relay', ...args], { limitMs: COMMAND_MS_MAX });
  const version = await inside('--version');
  assert.equal(version.stdout, `${manifest.version}\n`, version.stderr);
  for (const args of [['dead', 'list'], ['healthcheck', '--ready'], ['check']]) {
    const { code, stdout, stderr } = await inside(...args);
    assert.equal(code, 0, `expiry-relay ${args.join(' ')} inside:\n${stdout}${stderr}`);
  }
}

/** It would open Node's inspector, which shows secrets. */
async function ignoresSigusr1() {
  await docker(['kill', '--signal', 'SIGUSR1', container]);
  await eventually('a warning', READY_MS_MAX, async () =>
    (await log()).includes('"event":"signal_ignored"') ? true : null,
  );
  assert.ok(!(await log()).includes('Debugger listening'));
}

async function becomesHealthy() {
  await eventually('health to become "healthy"', HEALTHY_MS_MAX, async () => {
    const { Health: health } = (await inspect('container', container)).State;
    if (health.Status !== 'unhealthy') return health.Status === 'healthy' || null;
    throw new Error(`the health check said:\n${health.Log.at(-1)?.Output}`);
  });
}

async function stopsCleanly() {
  const startMs = performance.now();
  await docker(['stop', container]);
  const tookMs = Math.round(performance.now() - startMs);
  const { ExitCode: code } = (await inspect('container', container)).State;
  assert.equal(code, 0, `expected exit code 0, found ${code}; the log:\n${await log()}`);
  assert.ok(tookMs <= STOP_MS_MAX, `expected it within ${STOP_MS_MAX} ms, found ${tookMs} ms`);
  const lastLine = (await log()).trimEnd().split('\n').at(-1) ?? '';
  assert.match(lastLine, /"event":"stopped"/);
  return `${tookMs} ms`;
}

async function logHoldsNoSecret() {
  const text = await log();
  assert.ok(!text.includes(secret.slice('whsec_'.length)), 'found the secret in the log');
}

/**
 * The only block of a page in this language that contains `mark`.
 * @param {string} page
 * @param {string} language
 * @param {string} mark
 */
function blockOf(page, language, mark) {
  const blocks = [
    ...readFileSync(join(ROOT, page), 'utf8').matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm),
  ];
  const found = blocks.filter(([, is, block]) => is === language && block?.includes(mark));
  assert.equal(found.length, 1, `expected one block with "${mark}" in ${page}`);
  return found[0]?.[2] ?? '';
}

/** The commands of docs/installation.md, with the minimal configuration of the README. */
async function documentationWorks() {
  const file = blockOf('README.md', 'yaml', '${REDIS_URL');
  const commands = blockOf('docs/installation.md', 'sh', 'docker build');
  const [build = '', start = ''] = commands.split(/^(?=docker run)/m);
  assert.ok(start !== '', 'expected "docker run" in docs/installation.md');
  const redis = await startRedis();
  try {
    const here = join(folder, 'readme');
    mkdirSync(here);
    writeFileSync(
      join(here, 'relay.yaml'),
      `${file}admin: {listen: "127.0.0.1:${await freePort()}"}\n`,
    );
    const env = { ...process.env, REDIS_URL: redis.url, SHOP_WEBHOOK_SECRET: secret };
    await succeed('sh', ['-euc', build.replace('docker build', 'docker build --network host')], {
      cwd: ROOT,
    });
    const script = start.replaceAll('--name expiry-relay', `--name ${readmeContainer}`);
    await succeed('sh', ['-euc', script], { cwd: here, env });
    await eventually('the container to listen', READY_MS_MAX, async () => {
      const { stdout } = await run('docker', ['logs', readmeContainer]);
      return stdout.includes('"event":"listening"') || null;
    });
  } finally {
    await redis.stop();
  }
}

/** Checks of the image without running the relay. */
async function testImage() {
  await step('its user is not root', isNotRoot);
  await step('entry point and health check are in exec form', hasExecForms);
  await step('it is labelled', isLabelled);
  /** @type {import('./lib/image-survey.mjs').Survey} */
  let found = { paths: [], writable: [] };
  const listed = await step('its files can be listed', async () => {
    found = await survey();
    return `${found.paths.filter((path) => !path.endsWith('/')).length} files`;
  });
  if (listed) {
    await step('it has no shell', () => hasNoShell(found));
    await step('it holds the app and no sources', () => holdsOnlyTheApp(found));
    await step('it holds production dependencies alone', () =>
      holdsOnlyProductionDependencies(found, manifest),
    );
    await step('its user may write nothing in /app', () => assert.deepEqual(found.writable, []));
  }
  await step("--version prints package.json's version", printsVersion);
  await step('check refuses a bad file and says where', checkRefusesBadFile);
}

/** The relay itself, locked down, from start to stop. */
async function testContainer() {
  const redis = await startRedis();
  const receiver = await startVerifyingReceiver(secret);
  try {
    const adminPort = await freePort();
    const ready = await step(
      'it becomes ready: read-only, no capabilities, no new privileges',
      () => becomesReady(redis.url, adminPort, receiver.port),
    );
    if (!ready) return;
    await step('a key expires, and its webhook arrives verified', () =>
      sendsVerifiedWebhook(redis.port, receiver.arrivals),
    );
    await step('docker exec runs its commands', commandsRunInside);
    await step('SIGUSR1 opens no inspector', ignoresSigusr1);
    await step('the engine finds it healthy', becomesHealthy);
    await step('docker stop ends it cleanly', stopsCleanly);
    await step('its log holds no secret', logHoldsNoSecret);
  } finally {
    receiver.stop();
    await redis.stop();
  }
}

async function main() {
  if (!(await haveEngine())) {
    process.stderr.write(
      'test-image: expected a Docker engine, found none (`docker info` fails); install or start ' +
        'Docker, then run this again\n',
    );
    process.exit(1);
  }
  if (await step('the image builds', builds)) {
    await testImage();
    await testContainer();
    await step('the documented commands start it', documentationWorks);
  }
  summarize();
}

try {
  await main();
} catch (error) {
  process.stderr.write(`test-image: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
