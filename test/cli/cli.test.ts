// cspell:ignore admn chekc frobnicate jsaid

import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { Webhook } from 'standardwebhooks';
import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { startAdmin } from '../../src/admin/server.js';
import { loadAdminAddress } from '../../src/config/load.js';
import { systemClock } from '../../src/lib/clock.js';
import { VERSION } from '../../src/lib/version.js';
import { Secret } from '../../src/model/secret.js';
import { newKeyPair } from '../../src/signing/key-pair.js';
import { sign } from '../../src/signing/sign.js';
import { cli, startCli, tempFolder } from '../support/cli.js';
import { API_PARTS, TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { runCommand } from '../support/relay-process.js';

const FILE = {
  endpoints: {
    shop: {
      url: 'http://shop:8080/hooks',
      secrets: [TEST_SECRET],
      headers: { authorization: 'Bearer hush' },
    },
  },
  routes: [
    { name: 'cancel', match: 'order:{id}:unpaid', to: 'shop', path: '/orders/{id}/cancel' },
    { name: 'all-orders', match: 'order:*', to: 'shop' },
  ],
};
const yaml = (more: object = {}) => stringify({ ...FILE, ...more });

describe('the command line', () => {
  it('prints version and help with exit code 0', async () => {
    expect(await cli(['--version'])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' });
    const help = await cli(['--help']);
    expect(help.code).toBe(0);
    const commands = [
      'run',
      'check',
      'doctor',
      'match',
      'send',
      'listen',
      'secret',
      'schema',
      'healthcheck',
      'dead',
    ];
    for (const command of commands) {
      expect(help.stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
      expect((await cli([command, '--help'])).code).toBe(0);
    }
    const { stdout } = await cli(['dead', '--help']);
    for (const command of ['list', 'show', 'replay', 'drop']) {
      expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
      expect((await cli(['dead', command, '--help'])).code).toBe(0);
    }
  });

  it.each([
    [['chekc'], 'Did you mean check?'],
    [['match'], "missing required argument 'key'"],
    [['send'], "missing required argument 'key'"],
    [['check', '--frobnicate'], 'unknown option'],
    [['listen', '--port', 'x'], 'Expected a whole number'],
    [['listen', '--port', '70000'], 'from 0 to 65535'],
    [['check', '-c', ''], '-c: expected the name of a file'],
    [['run', '--log-level', 'loud'], 'Expected one of trace, debug'],
    [['run', '--log-level', 'Debug'], 'did you mean "debug"?'],
    [['run', '--log-level', 'debug\r'], "'debug\\x0d' is invalid"],
    [['run', '--log-level', 'debug\r'], '(it ends with a carriage return)'],
    [['run', '--log-format', 'xml'], 'Expected one of auto, json, pretty'],
    [
      ['listen', '--port', '80\n'],
      "'80\\x0a' is invalid. Expected a whole number (it ends with a newline)",
    ],
    [['listen', '--fail', '500,hang\n'], 'found "hang\\x0a" (it ends with a newline)'],
    [['listen', '--fail', '99'], '--fail: expected'],
    [['listen', '--secret', 'whsec_short'], '--secret: expected whsec_'],
    [['dead'], 'Usage: expiry-relay dead'],
    [['dead', 'lst'], 'Did you mean list?'],
    [[], 'Usage: expiry-relay'],
  ])('answers %j with exit code 2 and "%s"', async (argv, message) => {
    const { code, stdout, stderr } = await cli(argv);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(stdout).toBe('');
  });

  it.each([
    [['chekc'], 'expiry-relay'],
    [['secret', '--frobnicate'], 'expiry-relay secret'],
    [['dead', 'lst'], 'expiry-relay dead'],
    [['dead', 'show'], 'expiry-relay dead show'],
  ])('points the usage error of %j to the help of %s', async (argv, command) => {
    const { stderr } = await cli(argv);
    expect(stderr.endsWith(`\nSee '${command} --help'.\n`)).toBe(true);
  });

  it('describes the defect of an address to listen on', async () => {
    const { code, stderr } = await cli(['listen', '--host', '127.0.0.1\n', '--port', '0']);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^expiry-relay: cannot listen on 127\.0\.0\.1\\x0a:0: .* \(it ends with a newline\)\n$/,
    );
  });

  it('exits with the code, message and no stack as a process too', async () => {
    const { code, stderr } = await runCommand(['check', '-c', '/nowhere/relay.yaml']);
    expect(code).toBe(1);
    expect(stderr).toBe('/nowhere/relay.yaml: cannot be read: no such file\n');
  });
});

describe('check', () => {
  it('says that a file is fine, named or found', async () => {
    await using folder = await tempFolder({ 'relay.yaml': yaml(), 'other.yaml': yaml() });
    const at = { cwd: folder.path };
    expect((await cli(['check'], at)).stdout).toBe('relay.yaml: valid (2 routes, 1 endpoint)\n');
    expect((await cli(['check', '-c', 'other.yaml'], at)).stdout).toContain('other.yaml: valid');
    const env = { EXPIRY_RELAY_CONFIG: 'other.yaml' };
    expect((await cli(['check'], { ...at, env })).stdout).toContain('other.yaml: valid');
  });

  it('checks several files, and says of each what is wrong with it', async () => {
    const files = { 'a.yaml': yaml(), 'b.yaml': yaml({ admn: {} }), 'c.yaml': yaml() };
    await using folder = await tempFolder(files);
    const at = { cwd: folder.path };
    const argv = ['check', 'a.yaml', 'b.yaml', 'no.yaml', 'c.yaml'];
    const { code, stdout, stderr } = await cli(argv, at);
    expect(code).toBe(1);
    expect(stdout).toBe(
      'a.yaml: valid (2 routes, 1 endpoint)\nc.yaml: valid (2 routes, 1 endpoint)\n',
    );
    expect(stderr).toMatch(
      /^b\.yaml:\d+:\d+: unknown key "admn".*\nno\.yaml: cannot be read: .*\n$/,
    );
    expect((await cli(['check', 'a.yaml', 'c.yaml'], at)).code).toBe(0);
    expect((await cli(['check', 'a.yaml', '-c', 'c.yaml'], at)).code).toBe(2);
  });

  it('warns with exit code 0, and with --strict with 1', async () => {
    const endpoints = { ...FILE.endpoints, audit: FILE.endpoints.shop };
    await using folder = await tempFolder({ 'relay.yaml': yaml({ endpoints }) });
    const warning = 'relay.yaml:8:3: warning: endpoints.audit: no route uses this endpoint\n';
    const at = { cwd: folder.path };
    expect(await cli(['check'], at)).toEqual({
      code: 0,
      stdout: 'relay.yaml: valid (2 routes, 2 endpoints, 1 warning)\n',
      stderr: warning,
    });
    expect(await cli(['check', '--strict'], at)).toEqual({
      code: 1,
      stdout: '',
      stderr: `${warning}relay.yaml: failed: --strict allows no warnings, found 1\n`,
    });
  });

  it('needs no environment with --no-env', async () => {
    const endpoints = { shop: { ...FILE.endpoints.shop, secrets: [`\${SECRET}`] } };
    await using folder = await tempFolder({ 'relay.yaml': yaml({ endpoints }) });
    const at = { cwd: folder.path };
    expect((await cli(['check'], at)).code).toBe(1);
    expect(await cli(['check', '--no-env'], at)).toEqual({
      code: 0,
      stdout: 'relay.yaml: valid (2 routes, 1 endpoint)\n',
      stderr: '',
    });
  });

  it('lets no file name move the cursor or begin a line', async () => {
    const name = 'a\n\u001b[2Jb.yaml';
    await using folder = await tempFolder({ [name]: yaml() });
    const { stdout } = await cli(['check', '-c', name], { cwd: folder.path });
    expect(stdout).toBe('a\\x0a\\x1b[2Jb.yaml: valid (2 routes, 1 endpoint)\n');
  });

  it('prints every mistake with its place, and exits 1', async () => {
    const bad = yaml({ admn: {}, shutdown: { grace: 5 } });
    await using folder = await tempFolder({ 'relay.yaml': bad });
    const { code, stdout, stderr } = await cli(['check'], { cwd: folder.path });
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/relay\.yaml:\d+:\d+: .*"admn".*did you mean "admin"/);
    expect(stderr).toMatch(/relay\.yaml:\d+:\d+: shutdown\.grace: expected a duration/);
  });

  it('says where it looked when there is no file', async () => {
    await using folder = await tempFolder({});
    const { code, stderr } = await cli(['check'], { cwd: folder.path });
    expect(code).toBe(1);
    expect(stderr).toContain(' or /etc/expiry-relay. Create one with expiry-relay init');
  });
});

describe('match', () => {
  it("shows each route with its params and the request, the file's headers hidden", async () => {
    await using folder = await tempFolder({ 'relay.yaml': yaml() });
    const { code, stdout } = await cli(['match', 'order:42:unpaid'], { cwd: folder.path });
    expect(code).toBe(0);
    expect(stdout).toContain('route cancel to shop, id = 42\n');
    expect(stdout).toContain('POST http://shop:8080/hooks/orders/42/cancel\n');
    expect(stdout).toContain('route all-orders to shop\n');
    expect(stdout).toContain('authorization: [secret]\n');
    expect(stdout).not.toMatch(/hush|whsec_/);
  });

  it("hides the query of the endpoint's URL, not that of the route", async () => {
    const endpoints = { shop: { url: 'http://shop:8080/hooks?token=hush', secrets: 'none' } };
    const routes = [
      { name: 'all', match: 'order:{id}', to: 'shop', path: '/orders?id={id}' },
      { name: 'bare', match: 'order:*', to: 'shop' },
    ];
    await using folder = await tempFolder({ 'relay.yaml': stringify({ endpoints, routes }) });
    const { stdout } = await cli(['match', 'order:42'], { cwd: folder.path });
    expect(stdout).toContain('POST http://shop:8080/hooks/orders?[secret]&id=42\n');
    expect(stdout).toContain('POST http://shop:8080/hooks?[secret]\n');
    expect(stdout).not.toContain('hush');
  });

  it('shows the method and content type of a route that has its own, and its body', async () => {
    const routes = [
      {
        name: 'form',
        match: 'order:{id}',
        to: 'shop',
        method: 'DELETE',
        content_type: 'application/x-www-form-urlencoded',
        body: { order: '{id}', 'a b': 1 },
      },
    ];
    await using folder = await tempFolder({ 'relay.yaml': yaml({ routes }) });
    const { stdout } = await cli(['match', 'order:a&b=1'], { cwd: folder.path });
    expect(stdout).toContain('  DELETE http://shop:8080/hooks\n');
    expect(stdout).toContain('  content-type: application/x-www-form-urlencoded\n');
    expect(stdout).toContain('\n\n  order=a%26b%3D1&a+b=1\n');
  });

  it('shows that a route sends no body, and no type of one', async () => {
    const routes = [{ name: 'ping', match: '*', to: 'shop', body: 'none' }];
    await using folder = await tempFolder({ 'relay.yaml': yaml({ routes }) });
    const { stdout } = await cli(['match', 'order:42'], { cwd: folder.path });
    expect(stdout).toContain('\n\n  (no body)\n');
    expect(stdout).not.toContain('content-type');
    expect(stdout).toContain('webhook-signature: ');
  });

  it('shows a request that verifies', async () => {
    await using folder = await tempFolder({ 'relay.yaml': yaml() });
    const { stdout } = await cli(['match', 'order:42:unpaid'], { cwd: folder.path });
    const [first = ''] = stdout.split('\nroute ');
    const headers = Object.fromEntries(
      [...first.matchAll(/^ {2}(webhook-\S+): (.*)$/gm)].map(([, name, value]) => [name, value]),
    );
    const body = /^ {2}(\{.*\})$/m.exec(first)?.[1] ?? '';
    expect(() => new Webhook(TEST_SECRET).verify(body, headers)).not.toThrow();
  });

  it('exits 1 when no route takes the key, or the database is not watched', async () => {
    await using folder = await tempFolder({ 'relay.yaml': yaml() });
    const at = { cwd: folder.path };
    const none = await cli(['match', 'cart:\u001b[31m'], at);
    expect(none).toMatchObject({ code: 1, stdout: '' });
    expect(none.stderr).toBe(
      'expiry-relay: no route matches "cart:\\x1b[31m"; patterns: order:{id}:unpaid (cancel), ' +
        'order:* (all-orders)\n',
    );
    const unwatched = await cli(['match', 'order:1', '--database', '3'], at);
    expect(unwatched.code).toBe(1);
    expect(unwatched.stderr).toContain('database 3 is not watched');
  });
});

describe('the help', () => {
  it.each([
    ['check', true],
    ['secret', false],
    ['schema', false],
  ])('of %s names -c only if it reads a file: %s', async (command, isThere) => {
    const { code, stdout } = await cli([command, '--help']);
    expect(code).toBe(0);
    expect(stdout.includes('--config <file>')).toBe(isThere);
  });
});

describe('secret', () => {
  it('prints a new one each time, which a file accepts', async () => {
    const { stdout: one } = await cli(['secret']);
    const { stdout: other } = await cli(['secret']);
    expect(one).toMatch(/^whsec_[A-Za-z0-9+/]{43}=\n$/);
    expect(one).not.toBe(other);
  });
});

describe('secret --asymmetric', () => {
  it('prints a private key, and beside it the public one, which check prints from the file', async () => {
    const { stdout, stderr } = await cli(['secret', '--asymmetric']);
    expect(stdout).toMatch(/^whsk_[A-Za-z0-9+/]{86}==\n$/);
    const [publicKey = ''] = /whpk_\S+/.exec(stderr) ?? [];
    const endpoints = { shop: { url: 'http://shop', secrets: [stdout.trim(), TEST_SECRET] } };
    await using folder = await tempFolder({ 'relay.yaml': yaml({ endpoints }) });
    const checked = await cli(['check'], { cwd: folder.path });
    expect(checked.stdout).toContain(`endpoint shop: public key for receivers: ${publicKey}\n`);
    expect(checked.stdout).not.toContain('whsk_');
  });
});

describe('schema', () => {
  it('prints a JSON Schema that names every part of the file', async () => {
    const { code, stdout } = await cli(['schema']);
    expect(code).toBe(0);
    const schema = JSON.parse(stdout);
    expect(Object.keys(schema.properties).sort()).toEqual(
      ['admin', 'endpoints', 'log', 'redis', 'routes', 'shutdown', 'state'].sort(),
    );
  });
});

describe('healthcheck', () => {
  const withRelay = async (
    problem: string | null,
    use: (check: (...more: string[]) => ReturnType<typeof cli>) => Promise<void>,
  ) => {
    const admin = await startAdmin({
      ...API_PARTS,
      listen: { host: '127.0.0.1', port: 0 },
      checks: () => [{ name: 'subscribed', problem }],
      metrics: async () => '',
      metricsType: 'text/plain',
      clock: systemClock,
      connectionsMax: 100,
      onClosed: () => undefined,
      onError: () => undefined,
    });
    const listen = `0.0.0.0:${admin.address.port}`;
    await using folder = await tempFolder({ 'relay.yaml': yaml({ admin: { listen } }) });
    await use((...more) => cli(['healthcheck', ...more], { cwd: folder.path }));
    await admin.close();
    expect((await cli(['healthcheck'], { cwd: folder.path })).code).toBe(1);
  };

  it('is fine when the relay lives, and no longer when it is gone', () =>
    withRelay('not connected', async (check) => {
      expect(await check()).toMatchObject({ code: 0, stdout: 'ok\n' });
      const ready = await check('--ready');
      expect(ready.code).toBe(1);
      expect(ready.stderr).toContain('[-] subscribed: not connected');
    }));

  it('is fine while the file of a running relay is being edited, or lacks its variables', async () => {
    const admin = await startAdmin({
      ...API_PARTS,
      listen: { host: '127.0.0.1', port: 0 },
      checks: () => [],
      metrics: async () => '',
      metricsType: 'text/plain',
      clock: systemClock,
      connectionsMax: 100,
      onClosed: () => undefined,
      onError: () => undefined,
    });
    const text = `admin: {listen: "127.0.0.1:${admin.address.port}"}\nendpoints: {a: {secrets: ["\${UNSET}"]}}\ntypo: 1\n`;
    await using folder = await tempFolder({ 'relay.yaml': text });
    expect((await cli(['healthcheck'], { cwd: folder.path })).code).toBe(0);
    await admin.close();
  });

  it.each(['127.0.0.1', '0.0.0.0', '', 'localhost', '[::1]', '[::]', '[0:0::0]', '[::1%lo]'])(
    'finds the relay that listens on "%s"',
    async (host) => {
      const listen = (port: number) => ({
        'relay.yaml': yaml({ admin: { listen: `${host}:${port}` } }),
      });
      await using chosen = await tempFolder(listen(0));
      const found = await loadAdminAddress({ file: undefined, env: {}, cwd: chosen.path });
      const admin = await startAdmin({
        ...API_PARTS,
        listen: found,
        checks: () => [],
        metrics: async () => '',
        metricsType: 'text/plain',
        clock: systemClock,
        connectionsMax: 100,
        onClosed: () => undefined,
        onError: () => undefined,
      });
      await using folder = await tempFolder(listen(admin.address.port));
      expect(await cli(['healthcheck'], { cwd: folder.path })).toMatchObject({ code: 0 });
      await admin.close();
    },
  );

  it('finds by IPv4 what listens on [::] where there is no IPv6', async () => {
    await using folder = await tempFolder({});
    const admin = await startAdmin({
      ...API_PARTS,
      listen: { host: '127.0.0.1', port: 0 },
      checks: () => [],
      metrics: async () => '',
      metricsType: 'text/plain',
      clock: systemClock,
      connectionsMax: 100,
      onClosed: () => undefined,
      onError: () => undefined,
    });
    const { port } = admin.address;
    await writeFile(join(folder.path, 'relay.yaml'), yaml({ admin: { listen: `[::]:${port}` } }));
    expect(await cli(['healthcheck'], { cwd: folder.path })).toMatchObject({ code: 0 });
    await admin.close();
    const { code, stderr } = await cli(['healthcheck'], { cwd: folder.path });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^expiry-relay: http:\/\/\[::1\]:\d+\/livez does not respond: .*; http:\/\/127\.0\.0\.1:\d+\/livez does not respond: .*\n$/,
    );
  });

  it('prints a bounded and printable part of an endless response', async () => {
    let isCut = false;
    const server = createServer((request, response) => {
      response.on('close', () => {
        isCut = true;
      });
      response.writeHead(request.url === '/livez' ? 200 : 503);
      response.write('\x1b[2Jsaid\n');
      const text = 'x'.repeat(1024 * 1024);
      const more = () => {
        while (!response.destroyed && response.write(text));
      };
      response.on('drain', more);
      more();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const listen = `127.0.0.1:${port}`;
    await using folder = await tempFolder({ 'relay.yaml': yaml({ admin: { listen } }) });
    const check = (...more: string[]) => cli(['healthcheck', ...more], { cwd: folder.path });
    const { code, stdout } = await check();
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\\x1b\[2Jsaid\nx+$/);
    expect(stdout.length).toBeLessThan(100_000);
    await eventually('the connection is closed', () => isCut);
    const ready = await check('--ready');
    expect(ready.code).toBe(1);
    expect(ready.stderr.length).toBeLessThan(100_000);
    server.closeAllConnections();
    server.close();
  });

  it('says that it cannot know a port that the system chooses', async () => {
    await using folder = await tempFolder({ 'relay.yaml': yaml({ admin: { listen: ':0' } }) });
    const { code, stderr } = await cli(['healthcheck'], { cwd: folder.path });
    expect(code).toBe(1);
    expect(stderr).toContain('admin.listen');
    expect(stderr).toContain('needs a fixed port');
  });

  it('is fine with --ready when the relay is ready', () =>
    withRelay(null, async (check) => {
      expect((await check('--ready')).code).toBe(0);
    }));
});

describe('listen', () => {
  const body =
    '{"data":{"expired_at":"2026-11-22T06:00:00.000Z","key":"a\\u001bb","params":{}},"type":"t"}';
  const post = async (
    run: ReturnType<typeof startCli>,
    secret: string,
    id = 'msg_1',
    sent = body,
    more: { method?: 'PUT' | 'GET'; headers?: Record<string, string> } = {},
  ) => {
    const url = await eventually('the address', () => /http:\S+/.exec(run.stderr.text)?.[0]);
    const at = new Date();
    const { statusCode } = await request(`${url}/hooks`, {
      method: more.method ?? 'POST',
      body: sent,
      headers: {
        ...more.headers,
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign(id, at, sent),
      },
    });
    return statusCode;
  };
  const OTHER = `whsec_${Buffer.alloc(24, 1).toString('base64')}`;

  it('verifies, prints one JSON line each, and ends with exit code 0', async () => {
    const run = startCli(['listen', '--port', '0', '--secret', TEST_SECRET]);
    expect(await post(run, TEST_SECRET)).toBe(204);
    expect(await post(run, OTHER)).toBe(401);
    const [first, second] = run.stdout.text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(first).toMatchObject({ verified: true, id: 'msg_1', attempt: 1, answered: 204 });
    expect(first.body).toEqual(JSON.parse(body));
    expect(first.lateness_ms).toBeGreaterThan(0);
    expect(second).toMatchObject({ verified: false, verdict: 'wrong_signature', answered: 401 });
    run.stop();
    expect(await run.done).toBe(0);
  });

  it('verifies with a public key, and with any of several secrets', async () => {
    const { privateKey, publicKey } = newKeyPair();
    const run = startCli(['listen', '--port', '0', '--secret', publicKey, '--secret', TEST_SECRET]);
    const url = await eventually('the address', () => /http:\S+/.exec(run.stderr.text)?.[0]);
    const postSigned = async (secret: string) => {
      const signed = sign('msg_1', Buffer.from(body), [new Secret(secret)], Date.now());
      const headers = { ...signed } as Record<string, string>;
      return (await request(url, { method: 'POST', body, headers })).statusCode;
    };
    expect(await postSigned(privateKey)).toBe(204);
    expect(await postSigned(TEST_SECRET)).toBe(204);
    expect(await postSigned(newKeyPair().privateKey)).toBe(401);
    run.stop();
    await run.done;
    expect((await cli(['listen', '--secret', 'whpk_AAAA'])).code).toBe(2);
  });

  it('fails on purpose, once for each attempt of a webhook', async () => {
    const run = startCli(['listen', '--port', '0', '--secret', TEST_SECRET, '--fail', '500,429']);
    const statuses = [];
    for (const id of ['msg_1', 'msg_1', 'msg_1', 'msg_2']) {
      statuses.push(await post(run, TEST_SECRET, id));
    }
    expect(statuses).toEqual([500, 429, 204, 500]);
    run.stop();
    await run.done;
  });

  const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
  const formByPut = { method: 'PUT', headers: { ...FORM, 'expiry-relay-test': 'true' } } as const;

  it.each([false, true])(
    'shows a form, its method, and that it is a test (terminal: %s)',
    async (isTTY) => {
      const run = startCli(['listen', '--port', '0', '--secret', TEST_SECRET], { isTTY });
      expect(await post(run, TEST_SECRET, 'msg_1', 'order=4%262&x=', formByPut)).toBe(204);
      if (isTTY)
        expect(stripVTControlCharacters(run.stdout.text)).toMatch(
          /test.*\n {2}PUT \/hooks {2}msg_1 {2}order=4%262&x=\n/,
        );
      else {
        expect(JSON.parse(run.stdout.text)).toMatchObject({
          verified: true,
          test: true,
          method: 'PUT',
          content_type: FORM['content-type'],
          body: 'order=4%262&x=',
        });
      }
      run.stop();
      expect(await run.done).toBe(0);
    },
  );

  it('takes no other methods, and says of nothing else that it is a test', async () => {
    const run = startCli(['listen', '--port', '0', '--secret', TEST_SECRET]);
    expect(await post(run, TEST_SECRET, 'msg_1', body, { method: 'GET' })).toBe(405);
    expect(await post(run, TEST_SECRET)).toBe(204);
    expect(JSON.parse(run.stdout.text)).not.toHaveProperty('test');
    run.stop();
    await run.done;
  });

  it('can reset the connection', async () => {
    const run = startCli(['listen', '--port', '0', '--secret', TEST_SECRET, '--fail', 'reset']);
    await expect(post(run, TEST_SECRET)).rejects.toThrow();
    expect(await post(run, TEST_SECRET)).toBe(204);
    run.stop();
    await run.done;
  });

  it('is readable on a terminal, and lets no key move the cursor', async () => {
    const run = startCli(['listen', '--port', '0', '--secret', TEST_SECRET], { isTTY: true });
    await post(run, TEST_SECRET);
    expect(run.stdout.text).toContain('verified');
    expect(run.stdout.text).toContain('a\\x1bb');
    run.stop();
    await run.done;
  });

  it('fits a terminal of 80 columns, however long the key', async () => {
    const run = startCli(['listen', '--port', '0', '--secret', TEST_SECRET], { isTTY: true });
    const data = { key: 'k'.repeat(200), params: { id: 'i'.repeat(200) }, expired_at: null };
    await post(run, TEST_SECRET, 'msg_1', JSON.stringify({ type: 'redis.key.expired', data }));
    const lines = stripVTControlCharacters(run.stdout.text).split('\n');
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.filter((line) => line.endsWith('k…'))).toHaveLength(1);
  });

  it.each([false, true])('answers a body too deep to print (terminal: %s)', async (isTTY) => {
    const run = startCli(['listen', '--port', '0', '--secret', TEST_SECRET], { isTTY });
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    const sent = `{"data":{"params":${deep}},"type":"t"}`;
    expect(await post(run, TEST_SECRET, 'msg_1', sent)).toBe(204);
    if (isTTY) expect(run.stdout.text).toContain('verified');
    else expect(JSON.parse(run.stdout.text)).toMatchObject({ id: 'msg_1', body: null });
    run.stop();
    expect(await run.done).toBe(0);
  });

  it("takes the secrets of the file's endpoints when none is given", async () => {
    await using folder = await tempFolder({ 'relay.yaml': yaml() });
    const run = startCli(['listen', '--port', '0'], { cwd: folder.path });
    expect(await post(run, TEST_SECRET)).toBe(204);
    expect(await post(run, OTHER)).toBe(401);
    run.stop();
    await run.done;
  });

  it('says that it checks nothing when it knows no secret', async () => {
    await using folder = await tempFolder({});
    const run = startCli(['listen', '--port', '0'], { cwd: folder.path });
    expect(await post(run, OTHER)).toBe(204);
    expect(run.stderr.text).toContain('signatures are not verified');
    expect(JSON.parse(run.stdout.text)).toMatchObject({ verified: false, verdict: 'no_secret' });
    run.stop();
    await run.done;
  });
});
