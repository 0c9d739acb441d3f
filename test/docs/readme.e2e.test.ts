/** Every command and snippet of the README, run as it stands. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, symlinkSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { loadSettings } from '../../src/config/load.js';
import { bodiesOf } from '../../src/payload/body.js';
import { tempFolder } from '../support/cli.js';
import { anExpiration, aRoute, aTold, TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { hangUpAmid, post, signed } from '../support/examples/signed.js';
import { readmeBlock, readmeBlocks } from '../support/readme.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';
import { TestReceiver } from '../support/test-receiver.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const shared = sharedRedis();

/** A process whose output is kept, ended with all that it started. */
function start(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv) {
  const child: ChildProcess = spawn(command, args, { cwd, env, detached: true });
  const run = { output: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      run.output += text;
    });
  }
  const exited = new Promise<number | null>((resolve) => child.on('exit', resolve));
  return {
    run,
    exited,
    async [Symbol.asyncDispose]() {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // All of them have ended already.
      }
      await exited;
    },
  };
}

/** What `redis-cli` does with its words; the machine need not have one (Redis may run in Docker). */
const REDIS_CLI = `#!${process.execPath}
const { Redis } = require(${JSON.stringify(join(ROOT, 'node_modules/ioredis'))});
const redis = new Redis(process.env.REDIS_URL);
redis.call(...process.argv.slice(2)).then(console.log).finally(() => redis.disconnect());
`;

/** A folder whose `expiry-relay` is this build, and whose `redis-cli` talks to the test's Redis. */
async function shims(files: Record<string, string>) {
  const folder = await tempFolder({
    ...files,
    'expiry-relay': `#!/bin/sh\nexec "${process.execPath}" "${ROOT}dist/main.js" "$@"\n`,
    'redis-cli': REDIS_CLI,
  });
  await chmod(join(folder.path, 'expiry-relay'), 0o755);
  await chmod(join(folder.path, 'redis-cli'), 0o755);
  const env = { PATH: `${folder.path}:${process.env.PATH}`, REDIS_URL: shared.server.url };
  return { folder, env };
}

describe('the README', () => {
  it('has files that load', async () => {
    const files = readmeBlocks.filter(({ language }) => language === 'yaml');
    expect(files.length).toBeGreaterThan(1);
    await using folder = await tempFolder({});
    for (const { text } of files) {
      await writeFile(join(folder.path, 'relay.yaml'), text);
      const env = { SHOP_WEBHOOK_SECRET: TEST_SECRET, REDIS_PASSWORD: 'p', SHOP_TOKEN: 't' };
      await loadSettings({ file: undefined, env, cwd: folder.path });
    }
  });

  it('has a five-minute start that ends with a verified webhook', async () => {
    const port = await freePort();
    const admin = { listen: `127.0.0.1:${await freePort()}` };
    const file = { ...parse(readmeBlock('yaml', '${REDIS_URL')), admin };
    const { folder, env } = await shims({
      'relay.yaml': JSON.stringify(file).replace(':8080', `:${port}`),
    });
    await using _ = folder;
    const script = readmeBlock('sh', 'expiry-relay listen').replace(
      '--port 8080',
      `--port ${port}`,
    );
    await using shell = start('bash', ['-euc', `${script}\nwait`], folder.path, env);
    const line = await eventually(
      'the webhook',
      () => /^\{"received_at".*$/m.exec(shell.run.output),
      30_000,
    );
    expect(JSON.parse(line[0])).toMatchObject({
      verified: true,
      body: { data: { key: 'order:42:unpaid', params: { id: '42' } } },
    });
    expect(shell.run.output).toContain('relay.yaml: valid');
    expect(shell.run.output).toContain('route cancel-unpaid-order to shop, id = 42');
  }, 40_000);

  it('has a receiver in Node that verifies, and refuses what is forged', async () => {
    const port = await freePort();
    await using folder = await tempFolder({ 'receiver.mjs': readmeBlock('js', 'createServer') });
    symlinkSync(join(ROOT, 'node_modules'), join(folder.path, 'node_modules'));
    const env = { PATH: process.env.PATH, PORT: String(port), SHOP_WEBHOOK_SECRET: TEST_SECRET };
    await using receiver = start(process.execPath, ['receiver.mjs'], folder.path, env);
    const forged = await eventually('the receiver', () =>
      fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: '{}' }).catch(() => null),
    );
    expect(forged.status).toBe(401);
    expect(await post(`http://127.0.0.1:${port}`, signed({ body: '{}' }))).toBe(500);
    const test = JSON.stringify({ data: { params: { id: '42' }, test: true } });
    expect(await post(`http://127.0.0.1:${port}`, signed({ body: test }))).toBe(204);
    await hangUpAmid(`http://127.0.0.1:${port}`, signed());
    await using relay = await RelayProcess.start(
      simpleFile(shared.server.url, `http://127.0.0.1:${port}`, {
        route: { match: 'order:{id}:unpaid' },
      }),
    );
    await shared.client.set('order:43:unpaid', '', 'PX', 10);
    await eventually('the webhook', () => receiver.run.output.includes('cancel order 43'));
    expect(await relay.logged('attempt')).toMatchObject({ outcome: 'accepted' });
    expect(receiver.run.output).not.toContain('cancel order 42');
  });

  it('has an ACL that is enough; a line less without the state', async () => {
    const { folder, env } = await shims({});
    await using _ = folder;
    const command = readmeBlock('sh', 'resetchannels');
    const commands = { redis: command, memory: command.replace(/^.*\+eval .*\n/m, '') };
    expect(commands.memory).not.toBe(command);
    for (const [kind, script] of Object.entries(commands)) {
      await using shell = start('bash', ['-euc', script], folder.path, env);
      expect(await shell.exited).toBe(0);
      await using receiver = await TestReceiver.start();
      const url = `redis://relay:a-password@127.0.0.1:${shared.server.port}`;
      const file = simpleFile(url, receiver.url, { state: { kind } });
      await using relay = await RelayProcess.start(file);
      await shared.client.set(`acl:${kind}`, '', 'PX', 10);
      await eventually('the webhook', () => receiver.keys.includes(`acl:${kind}`));
      await relay.stop();
      const events = relay.logs().map(({ level, event }) => `${level} ${event}`);
      const said = events.filter((line) => !line.startsWith('info '));
      // The server of these tests keeps nothing on disk.
      const expected = /notifications_changed|state_in_memory|state_persistence/;
      expect(said.filter((line) => !expected.test(line))).toEqual([]);
      expect(relay.logs('notifications_unreadable')).toEqual([]);
    }
  });

  it('shows what doctor says', async () => {
    const port = await freePort();
    const file = readmeBlock('yaml', '${REDIS_URL').replace(':8080', `:${port}`);
    const { folder, env } = await shims({ 'relay.yaml': file });
    await using _ = folder;
    await shared.client.config('SET', 'notify-keyspace-events', '');
    const fill = "for i = 1, 10000 do redis.call('SET', 'k' .. i, '', 'EX', 3600) end";
    await shared.client.eval(fill, 0);
    const script = readmeBlock('sh', 'expiry-relay doctor');
    const secret = { SHOP_WEBHOOK_SECRET: TEST_SECRET };
    await using shell = start('bash', ['-euc', script], folder.path, { ...env, ...secret });
    expect(await shell.exited).toBe(1);
    // Not what differs from machine to machine: ports, versions, and how long an answer takes.
    const plain = (text: string) =>
      text.replaceAll(/127\.0\.0\.1:\d+|\d+(\.\d+)? ms|Redis \d+\.\d+\.\d+/g, 'N');
    const said = plain(shell.run.output).split('\n');
    for (const line of readmeBlock('text', '[+] redis').trim().split('\n')) {
      const [start = ''] = plain(line).split('…');
      expect(said.filter((found) => found.startsWith(start.trimEnd()))).not.toEqual([]);
    }
  });

  it('has commands for dead letters that send them again', async () => {
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(500).end();
    });
    const retry = { schedule: [] };
    const file = simpleFile(shared.server.url, receiver.url, { endpoint: { retry } });
    await using relay = await RelayProcess.start(file);
    await shared.client.set('order:44:unpaid', '', 'PX', 10);
    const series = 'expiry_relay_dead_letters{endpoint="shop"}';
    await eventually('a dead letter', async () => (await relay.metric(series)) === 1);
    receiver.respond = (_, response) => void response.writeHead(204).end();
    const { folder, env } = await shims({ 'relay.yaml': JSON.stringify(file) });
    await using _ = folder;
    const script = readmeBlock('sh', 'expiry-relay dead');
    await using shell = start('bash', ['-euc', script], folder.path, env);
    expect(await shell.exited).toBe(0);
    expect(shell.run.output).toContain('1 dead letter: shop 1 (exhausted 1)\nshop: 1 replayed\n');
    expect(shell.run.output).toContain('nothing dropped');
    await eventually('the webhook', () => receiver.requests.length === 2);
    expect(receiver.requests[1]?.id).toBe(receiver.requests[0]?.id);
  });

  it('shows a body as the relay makes it', () => {
    const expiration = anExpiration({ expiredAtMs: Date.parse('2026-11-22T06:00:10.000Z') });
    const params = { id: Buffer.from('42') };
    const route = aRoute({ name: 'cancel-unpaid-order' });
    const body = bodiesOf(aTold({ expiration, route, params }))('msg_1');
    expect(readmeBlock('json', 'detected_by').trim()).toBe(String(body));
  });

  it('names npm scripts that exist and that CI runs', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const ci = ['run', 'nightly']
      .map((name) => readFileSync(join(ROOT, '.ci', name), 'utf8'))
      .join();
    const named = readmeBlocks
      .filter(({ language, text }) => language === 'sh' && text.startsWith('npm '))
      .flatMap(({ text }) => text.trim().split('\n'));
    expect(named).toContain('npm run demo');
    for (const command of named) {
      expect(Object.keys(scripts)).toContain(command.replace(/^npm (run )?/, ''));
      expect(ci).toContain(command);
    }
  });

  it('has no block that is not run: those with docker are run by npm run test:image', () => {
    const known = /^npm |expiry-relay (listen|dead|doctor)|ACL SETUSER|^docker build/;
    const unknown = readmeBlocks.filter(
      ({ language, text }) =>
        !['yaml', 'json', 'js', 'text'].includes(language) && !known.test(text),
    );
    expect(unknown).toEqual([]);
    expect(readFileSync(join(ROOT, 'scripts/test-image.mjs'), 'utf8')).toContain('README.md');
  });
});
