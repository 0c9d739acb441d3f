// cspell:ignore secrts
/**
 * * Packs the npm package and uses it like a new user: installed from its tarball into an empty
 * project, away from the sources. One line per step.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, step, succeed, summarize } from './lib/steps.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** What may lie beside dist. */
const FILES_ALLOWED = ['package.json', 'README.md', 'LICENSE', 'relay.example.yaml'];
const FILES_REQUIRED = ['package.json', 'LICENSE', 'dist/main.js'];

/** @type {{ version: string }} */
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'expiry-relay-package-'));
const project = join(folder, 'project');

process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));

/**
 * The installed command, as a shell finds it: by its shebang and executable bit.
 * @param {readonly string[]} args
 */
function relay(args) {
  return run(join(project, 'node_modules/.bin/expiry-relay'), args, { cwd: project });
}

/** @param {readonly string[]} args */
async function relaySucceeds(args) {
  const { code, stdout, stderr } = await relay(args);
  assert.equal(code, 0, `expected exit code 0, found ${code}\n${stdout}${stderr}`);
  return stdout;
}

/** The tarball's path. */
async function pack() {
  await succeed('npm', ['pack', '--pack-destination', folder], { cwd: ROOT });
  const tarballs = readdirSync(folder).filter((name) => name.endsWith('.tgz'));
  assert.deepEqual(tarballs, [`expiry-relay-${manifest.version}.tgz`]);
  return join(folder, `expiry-relay-${manifest.version}.tgz`);
}

/**
 * The files in a tarball of npm's, which puts them all below `package/`.
 * @param {string} tarball
 */
async function filesOf(tarball) {
  const paths = (await succeed('tar', ['-tzf', tarball], { cwd: folder })).trimEnd().split('\n');
  return paths.map((path) => path.replace(/^package\//, ''));
}

/** @param {readonly string[]} files */
function holdsOnlyWhatIsUsed(files) {
  const isAllowed = (/** @type {string} */ path) =>
    FILES_ALLOWED.includes(path) || /^dist\/.*\.js$/.test(path);
  assert.deepEqual(
    files.filter((path) => !isAllowed(path)),
    [],
    'found what has no business here',
  );
  assert.deepEqual(
    FILES_REQUIRED.filter((path) => !files.includes(path)),
    [],
    'not found',
  );
}

/**
 * tsc leaves the outputs of deleted sources where they are.
 * @param {readonly string[]} files
 */
function distMirrorsSources(files) {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
    .map((path) => `dist/${path.replaceAll('\\', '/').slice(0, -'.ts'.length)}.js`);
  assert.deepEqual(files.filter((path) => path.startsWith('dist/')).sort(), sources.sort());
}

/** @param {string} tarball */
async function install(tarball) {
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "name": "stranger", "private": true }\n');
  // Under `npm run`, npm would install into the outer project.
  const flags = ['--prefix', project, '--prefer-offline', '--ignore-scripts', '--no-audit'];
  await succeed('npm', ['install', ...flags, '--no-fund', tarball], { cwd: project });
}

/** The last command of docs/installation.md, in the folder of the tarball. */
async function installsAsDocumented() {
  const page = readFileSync(join(ROOT, 'docs/installation.md'), 'utf8');
  const command = /^npm install --global .*$/m.exec(page)?.[0];
  assert.ok(command !== undefined, 'expected "npm install --global" in docs/installation.md');
  const prefix = join(folder, 'global');
  const settings = { npm_config_prefix: prefix, npm_config_prefer_offline: 'true' };
  await succeed('sh', ['-euc', command], { cwd: folder, env: { ...process.env, ...settings } });
  const version = await succeed(join(prefix, 'bin/expiry-relay'), ['--version'], { cwd: folder });
  assert.equal(version, `${manifest.version}\n`);
}

async function printsVersion() {
  assert.equal(await relaySucceeds(['--version']), `${manifest.version}\n`);
  return manifest.version;
}

async function printsSecret() {
  const text = await relaySucceeds(['secret']);
  assert.match(text, /^whsec_[A-Za-z0-9+/]+={0,2}\n$/, 'expected whsec_ and base64, and no more');
  const bytes = Buffer.from(text.trim().slice('whsec_'.length), 'base64').length;
  assert.ok(bytes >= 24 && bytes <= 64, `expected 24–64 bytes, found ${bytes}`);
}

async function printsSchema() {
  const { properties } = JSON.parse(await relaySucceeds(['schema']));
  for (const key of ['redis', 'endpoints', 'routes', 'admin']) {
    assert.ok(key in properties, `expected the schema to describe ${key}`);
  }
}

/** @param {string} extra a line of the endpoint */
function relayFile(extra) {
  return `endpoints:
  shop:
    url: http://127.0.0.1:8080/hooks
    ${extra}
routes:
  - name: cancel-unpaid-order
    match: order:{id}:unpaid
    to: shop
`;
}

async function acceptsGoodFile() {
  const secret = (await relaySucceeds(['secret'])).trim();
  writeFileSync(join(project, 'good.yaml'), relayFile(`secrets: ["${secret}"]`));
  await relaySucceeds(['check', '-c', 'good.yaml']);
}

async function refusesBadFile() {
  writeFileSync(join(project, 'bad.yaml'), relayFile('secrts: none'));
  const { code, stdout, stderr } = await relay(['check', '-c', 'bad.yaml']);
  assert.equal(code, 1, `expected exit code 1, found ${code}\n${stdout}${stderr}`);
  assert.match(stderr, /bad\.yaml:4:5: .*"secrts"/);
}

/** The package is a command, not a library: nothing can be imported from it. */
async function isSealed() {
  for (const name of ['expiry-relay', 'expiry-relay/dist/main.js']) {
    const script = `import('${name}').then(() => 'imported', ({ code }) => code).then(console.log)`;
    const found = await succeed(process.execPath, ['--eval', script], { cwd: project });
    assert.equal(found, 'ERR_PACKAGE_PATH_NOT_EXPORTED\n', `import('${name}'): found ${found}`);
  }
}

/** @param {string} tarball */
async function testTarball(tarball) {
  /** @type {string[]} */
  let files = [];
  const listed = await step('its files can be listed', async () => {
    files = await filesOf(tarball);
    return `${files.length} files`;
  });
  if (!listed) return;
  await step('it holds nothing but what is used', () => holdsOnlyWhatIsUsed(files));
  await step('its dist has one file per source', () => distMirrorsSources(files));
}

async function testCommand() {
  await step("--version prints package.json's version", printsVersion);
  await step('secret prints a secret', printsSecret);
  await step('schema prints a JSON Schema', printsSchema);
  await step('check accepts a good file', acceptsGoodFile);
  await step('check refuses a bad file and says where', refusesBadFile);
  await step('it cannot be imported', isSealed);
}

async function main() {
  let tarball = '';
  const packed = await step('the package is packed', async () => {
    tarball = await pack();
  });
  if (packed) {
    await testTarball(tarball);
    await step('the documented command installs it globally', installsAsDocumented);
    if (await step('it installs into an empty project', () => install(tarball))) {
      await testCommand();
    }
  }
  summarize();
}

try {
  await main();
} catch (error) {
  process.stderr.write(`test-package: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
