/** The findings of `expiry-relay doctor` on real servers, which it does not change. */
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { selfSigned } from '../support/certificate.js';
import { cli, startCli, tempFolder } from '../support/cli.js';
import { ConnectProxy } from '../support/connect-proxy.js';
import { blockOf } from '../support/doc-pages.js';
import { eventually } from '../support/eventually.js';
import { nobodyThere } from '../support/faulty-server.js';
import { startHttps } from '../support/https-server.js';
import { leadingNames } from '../support/leading-names.js';
import { type RelayFile, RelayProcess, runCommand, simpleFile } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

/** A setup without findings. */
const WELL = ['--appendonly', 'yes', '--notify-keyspace-events', 'Exge'];

interface Examined {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The line about a subject, and the one with the advice. */
  readonly about: (subject: string) => string;
}

/** `env`: an environment that a process reads when it starts; without one, the command runs in this process. */
async function examine(file: RelayFile, env?: Record<string, string>): Promise<Examined> {
  await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
  const cwd = folder.path;
  const { code, stdout, stderr } =
    env === undefined ? await cli(['doctor'], { cwd }) : await runCommand(['doctor'], { cwd, env });
  expect(stdout + stderr).not.toMatch(/^\s+at .*:\d+\)?$|internal error/m);
  const about = (subject: string) => {
    const [found] = stdout.split(/^(?=\[)/m).filter((part) => part.startsWith(`${subject} `, 4));
    return found?.replaceAll(/ {2,}/g, ' ') ?? `nothing about ${subject}:\n${stdout}${stderr}`;
  };
  return { code, stdout, stderr, about };
}

/** A server that accepts, replies this number of times on each connection, and is silent afterwards. */
async function silentServer(answers = 0): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    let left = answers;
    socket.on('data', () => {
      left -= 1;
      if (left >= 0) socket.write('+PONG\r\n');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The wall clock of the process is off by `ms`; timers are as always. */
const clockAheadBy = (ms: number) => ({
  NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(
    `const now = Date.now; Date.now = () => now() + ${ms};`,
  )}`,
});

describe.concurrent('doctor', () => {
  it('has no warning about a healthy setup, and reports each check', async () => {
    await using redis = await startRedis({ args: WELL });
    await using receiver = await TestReceiver.start();
    const { code, stdout, stderr, about } = await examine(simpleFile(redis.url, receiver.url));
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('no problems found');
    expect(stdout).not.toMatch(/^\[[-!]\]/m);
    expect(about('file')).toBe('[+] file relay.yaml: valid (1 route, 1 endpoint)\n');
    expect(about('redis')).toMatch(
      new RegExp(
        `^\\[\\+\\] redis 127\\.0\\.0\\.1:${redis.port} responds within .* ms \\((Redis|valkey) \\d`,
      ),
    );
    expect(about('role')).toContain('[+] role primary');
    expect(about('clock')).toContain('[+] clock the local clock is within');
    expect(about('notifications')).toContain('as required');
    expect(about('permissions')).toContain('user default has all required permissions');
    expect(about('eviction')).toContain('[+] eviction off');
    expect(about('state')).toContain('{expiry-relay}:… in database 0');
    expect(about('state persistence')).toContain('appendonly yes');
    expect(about('relays')).toContain('no relay has run');
    expect(about('endpoint shop')).toContain(`[+] endpoint shop ${receiver.url} connected within`);
    expect(receiver.requests).toEqual([]);
  });

  it('changes no setting and no key, and sends no command that writes', async () => {
    await using redis = await startRedis();
    await withRedis(redis, (client) => client.config('RESETSTAT'));
    const { code } = await examine(simpleFile(redis.url, await nobodyThere()));
    expect(code).toBe(1);
    await withRedis(redis, async (client) => {
      expect(await client.config('GET', 'notify-keyspace-events')).toEqual([
        'notify-keyspace-events',
        '',
      ]);
      expect(await client.dbsize()).toBe(0);
      const given = [...(await client.info('commandstats')).matchAll(/^cmdstat_([^:]+):/gm)].map(
        ([, name = '']) => name,
      );
      const writing = (await client.call(
        'COMMAND',
        'LIST',
        'FILTERBY',
        'ACLCAT',
        'write',
      )) as string[];
      expect(given).toContain('info');
      expect(given.filter((name) => writing.includes(name) || name === 'config|set')).toEqual([]);
    });
  });

  it('reports that a replica cannot be watched, and names its primary', async () => {
    await using primary = await startRedis({ args: WELL });
    const replicaOf = ['--replicaof', '127.0.0.1', String(primary.port)];
    await using redis = await startRedis({ args: [...WELL, ...replicaOf] });
    const { code, stdout, stderr, about } = await examine(
      simpleFile(redis.url, primary.url.replace('redis', 'http')),
    );
    expect(code).toBe(1);
    expect(about('role')).toContain(`is a replica of 127.0.0.1:${primary.port}`);
    expect(about('role')).toContain('Point redis.url at the primary');
    expect(stdout).toMatch(/^1 problem, \d warnings?\n$/m);
    expect(stderr).toBe('');
  });

  it('reports the lateness of plain notifications without the relay', async () => {
    await using redis = await startRedis({ args: [...WELL, '--active-expire-effort', '1'] });
    await withRedis(redis, async (client) => {
      const lua = "for i = 1, 10000 do redis.call('SET', 'k' .. i, '', 'EX', 3600) end";
      await client.eval(lua, 0);
    });
    const { code, about } = await examine(
      simpleFile(redis.url, redis.url.replace('redis', 'http')),
    );
    expect(code).toBe(0);
    expect(about('database 0')).toContain('10,000 keys, 10,000 with a TTL');
    expect(about('lateness')).toContain('up to 50 s late (25 s on average): 10,000 keys');
    expect(about('lateness')).toContain(
      '200 keys with a TTL per second (hz 10, active-expire-effort 1)',
    );
    expect(about('lateness')).not.toContain('→');
  });

  it('reports missing databases', async () => {
    await using redis = await startRedis({ args: [...WELL, '--databases', '2'] });
    const file = simpleFile(redis.url, redis.url.replace('redis', 'http'));
    const { code, about } = await examine({
      ...file,
      redis: { url: redis.url, databases: [1, 7] },
    });
    expect(code).toBe(1);
    expect(about('database 1')).toContain('[+] database 1 0 keys');
    expect(about('database 7')).toMatch(/^\[-\] database 7 Redis at \S+ has no database 7$/m);
    expect(about('lateness in 1')).toContain('s late with 0 keys');
  });

  it('reports the effects of eviction and Cluster mode', async () => {
    const limits = ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'];
    await using redis = await startRedis({
      args: [...WELL, ...limits, '--cluster-enabled', 'yes'],
    });
    const { code, stdout, about } = await examine(
      simpleFile(redis.url, redis.url.replace('redis', 'http'), { state: { kind: 'memory' } }),
    );
    expect(code).toBe(0);
    expect(about('eviction')).toMatch(
      /\[i\] eviction allkeys-lru with maxmemory 100 MiB \(\d+% used, 0 keys evicted/,
    );
    expect(about('cluster')).toContain('[i] cluster node of a Redis Cluster');
    expect(about('state')).toContain('[i] state in memory');
    expect(stdout).toMatch(/^no problems found$/m);
  });

  it("reports that this machine's clock differs from Redis's", async () => {
    await using redis = await startRedis({ args: WELL });
    const file = simpleFile(redis.url, redis.url.replace('redis', 'http'));
    const { code, about } = await examine(file, clockAheadBy(180_000));
    expect(about('clock')).toContain('[!] clock the local clock is 3 min ahead of the Redis clock');
    expect(about('clock')).toContain('deadlines use the Redis clock and are not affected');
    expect(code).toBe(0);
    expect((await examine(file, clockAheadBy(-30_000))).about('clock')).toContain('[+] clock');
  });

  it('counts subscribers, running relays and tracked keys', async () => {
    await using redis = await startRedis({ args: WELL });
    await using receiver = await TestReceiver.start();
    const file = simpleFile(redis.url, receiver.url, { route: { match: 'order:*' } });
    await using relay = await RelayProcess.start(file);
    await withRedis(redis, async (client) => {
      await client.set('order:1', '', 'EX', 3_600);
      await eventually(
        'the deadline is known',
        async () => (await relay.metric('expiry_relay_tracked_deadlines')) === 1,
      );
      await client.xadd('{expiry-relay}:1:quarantine', '*', 'key', 'k');
      await client.hset('{expiry-relay}:1:outbox:shop:dead', 'a', 'x', 'b', 'x');
      await client.subscribe('__keyevent@0__:expired');
      const { code, about } = await examine(file);
      expect(code).toBe(0);
      expect(about('quarantine')).toContain('1 record of entries that no relay has written');
      expect(about('dead letters')).toContain('[i] dead letters');
      expect(about('dead letters')).toContain(
        '2: shop 2. To list them, run expiry-relay dead list',
      );
      expect(about('listeners')).toContain('2 subscribers');
      expect(about('relays')).toMatch(/1 replica running, \w{8}… holds the lease; 1 key tracked/);
    });
  });
});

describe.concurrent('doctor on notifications', () => {
  it.each([
    ['require', '', '[-]', 1],
    ['require', 'Ex', '[!]', 0],
    ['manage', '', '[i]', 0],
  ])(
    'with %s and "%s" marks %s; the suggested command fixes it',
    async (notifications, flags, mark, exit) => {
      const args = ['--appendonly', 'yes', '--notify-keyspace-events', flags];
      await using redis = await startRedis({ args });
      const file = simpleFile(redis.url, redis.url.replace('redis', 'http'), {
        redis: { url: redis.url, notifications },
      });
      const { code, about } = await examine(file);
      expect(code).toBe(exit);
      expect(about('notifications')).toContain(`${mark} notifications`);
      if (mark === '[i]') {
        expect(about('notifications')).toContain('the relay adds it on startup');
        return;
      }
      await runRedisCli(redis, about('notifications'));
      expect((await examine(file)).about('notifications')).toContain('[+] notifications');
    },
  );
});

/** Runs the command in the line of advice, as a shell would. */
async function runRedisCli(redis: RunningRedis, line: string): Promise<void> {
  const [, port, words = ''] = /^redis-cli -p (\d+) (.*)$/m.exec(line) ?? [];
  expect(Number(port)).toBe(redis.port);
  const [name = '', ...more] = words.split(' ').map((word) => word.replaceAll("'", ''));
  await withRedis(redis, (client) => client.call(name, ...more));
}

describe.concurrent('doctor on the permissions of a user', () => {
  const setUser = (redis: RunningRedis, ...rules: string[]) =>
    withRedis(redis, (client) =>
      client.call('ACL', 'SETUSER', 'relay', 'reset', 'on', '>hush', ...rules),
    );

  it.each([
    ['can ask in a script', ['+ping', '+eval']],
    ['can ask by ACL DRYRUN', ['+ping', '+acl|dryrun']],
    ['cannot query the server', ['+ping', '+@read', '~order:1']],
    ['has all commands, and no keys or channels', ['+@all']],
    ['has all keys and channels, and few commands', ['~*', '&*', '+ping', '+subscribe', '+eval']],
    ['may only read its keys', ['+@all', '&*', '%R~*']],
  ])(
    'that %s: one command grants the missing permissions, and the relay works',
    async (_, rules) => {
      await using redis = await startRedis({ args: WELL });
      await setUser(redis, ...rules);
      await using receiver = await TestReceiver.start();
      const url = `redis://relay:hush@127.0.0.1:${redis.port}`;
      const file = simpleFile(url, receiver.url, { route: { match: 'order:{id}:unpaid' } });
      const before = await examine(file);
      expect(before.code).toBe(1);
      expect(before.stdout + before.stderr).not.toContain('hush');
      expect(before.about('permissions')).toContain('[-] permissions user relay lacks ');
      await runRedisCli(redis, before.about('permissions'));
      const after = await examine(file);
      expect(after.stderr).toBe('');
      expect(after.about('permissions')).toContain('[+] permissions');
      expect(after.code).toBe(0);
      await using relay = await RelayProcess.start(file);
      await withRedis(redis, (client) => client.set('order:7:unpaid', '', 'PX', 20));
      await eventually('the webhook', () => receiver.keys.includes('order:7:unpaid'));
      await relay.stop();
      expect(relay.logs().filter(({ level }) => level !== 'info')).toEqual([]);
    },
  );

  it('with those of the documentation finds nothing missing, and leaves the server running', async () => {
    await using redis = await startRedis({ args: WELL });
    await withRedis(redis, async (client) => {
      const [, ...words] = blockOf('docs/operations/redis.md', 'sh', 'ACL SETUSER')
        .replaceAll(/[\\']/g, '')
        .trim()
        .split(/\s+/);
      await client.call(words[0] ?? '', ...words.slice(1));
    });
    const url = `redis://relay:a-password@127.0.0.1:${redis.port}`;
    const { code, stdout, about } = await examine(
      simpleFile(url, redis.url.replace('redis', 'http'), { route: { match: 'order:*' } }),
    );
    expect(about('permissions')).toContain(
      '[+] permissions user relay has all required permissions',
    );
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('no problems found');
    expect(code).toBe(0);
    await withRedis(redis, async (client) => {
      expect(await client.ping()).toBe('PONG');
      expect((await client.info('server')).match(/process_id:(\d+)/)?.[1]).toBe(String(redis.pid));
    });
  });

  it('requires no unneeded permissions, and reports which cannot be verified', async () => {
    await using redis = await startRedis({ args: WELL });
    const rules =
      '+ping +select +get +exists +role +time +pexpiretime +pttl +scan +subscribe +client|setname';
    await setUser(
      redis,
      ...rules.split(' '),
      '+set',
      '~{expiry-relay}:*',
      '%R~*',
      '&__keyevent@0__:*',
    );
    const url = `redis://relay:hush@127.0.0.1:${redis.port}`;
    const file = simpleFile(url, redis.url.replace('redis', 'http'), {
      redis: { url, notifications: 'require' },
      state: { kind: 'memory' },
    });
    const { code, about } = await examine(file);
    expect(code).toBe(0);
    expect(about('permissions')).toContain(
      '[i] permissions user relay has all permissions that could be verified',
    );
    expect(about('permissions')).toContain('could not be verified: +set');
    expect(about('notifications')).toContain('cannot be read');
    expect(about('lateness')).toContain('grant +info');
  });

  it('checks the user of the state Redis separately', async () => {
    await using keys = await startRedis({ args: WELL });
    await using redis = await startRedis({ args: ['--appendonly', 'no', '--save', '3600 1'] });
    await setUser(redis, '+@all', '-@stream', '~{expiry-relay}:*');
    const state = { url: `redis://127.0.0.1:${redis.port}/2`, username: 'relay', password: 'hush' };
    const file = simpleFile(keys.url, keys.url.replace('redis', 'http'), { state });
    const { code, about } = await examine(file);
    expect(code).toBe(1);
    expect(about('state')).toContain(`in database 2 of 127.0.0.1:${redis.port}`);
    expect(about('state Redis')).toContain('responds within');
    expect(about('state persistence')).toContain(
      '[!] state persistence only snapshots (save 3600 1)',
    );
    expect(about('permissions')).toContain('[+] permissions');
    expect(about('state permissions')).toContain(' ACL SETUSER relay +@stream');
    await withRedis(redis, async (client) => {
      await client.select(2);
      await client.set('{expiry-relay}:format', '99');
    });
    expect((await examine(file)).stdout).toContain('used by another version of the relay');
    await withRedis(redis, async (client) => {
      await client.select(2);
      await client.multi().del('{expiry-relay}:format').lpush('{expiry-relay}:format', '1').exec();
    });
    expect((await examine(file)).stdout).toMatch(
      /\[-\] state .*another program wrote the key \{expiry-relay\}:format .*found another type/,
    );
  });
});

describe.concurrent('doctor on unavailable servers', () => {
  it('reports that the server is down, and still checks the endpoints', async () => {
    await using receiver = await TestReceiver.start();
    const url = (await nobodyThere()).replace('http', 'redis');
    const { code, about, stderr } = await examine(simpleFile(url, receiver.url));
    expect(code).toBe(1);
    expect(about('redis')).toContain('cannot be reached: connect ECONNREFUSED');
    expect(about('redis')).toContain('→ check redis.url');
    expect(about('endpoint shop')).toContain('[+]');
    expect(stderr).toBe('');
  });

  it('warns of a password that Redis does not require', async () => {
    await using redis = await startRedis({ args: WELL });
    const url = `redis://:secret@127.0.0.1:${redis.port}`;
    const { stdout } = await examine(simpleFile(url, await nobodyThere()));
    expect(stdout).toMatch(/\[!\] redis +Redis does not require the configured password/);
    expect(stdout).toContain('set the password in Redis');
  });

  it('reports a wrong password with the message of the relay', async () => {
    await using redis = await startRedis({ args: WELL, password: 'right' });
    const url = `redis://:wrong-one@127.0.0.1:${redis.port}`;
    const { code, stdout, about } = await examine(simpleFile(url, await nobodyThere()));
    expect(code).toBe(1);
    expect(about('redis')).toContain('rejects the user name or password');
    expect(stdout).not.toContain('wrong-one');
  });

  it('ends when Redis, the state and endpoints hang, each after some seconds', async () => {
    await using silent = await silentServer();
    const at = `127.0.0.1:${silent.port}`;
    const file = simpleFile(`redis://${at}`, `https://${at}`, {
      state: { url: `redis://${at}/1` },
    });
    const beganAtMs = performance.now();
    const { code, about } = await examine(file);
    expect(performance.now() - beganAtMs).toBeLessThan(20_000);
    expect(code).toBe(1);
    const silence = `the server at ${at} accepts connections but does not respond`;
    expect(about('redis')).toContain(silence);
    expect(about('state')).toContain(silence);
    expect(about('state')).toContain('→ check state.url');
    expect(about('endpoint shop')).toContain('no TLS connection within');
  });

  it('ends when Redis stops replying after its first reply', async () => {
    await using silent = await silentServer(4);
    const at = `127.0.0.1:${silent.port}`;
    const { code, about } = await examine(simpleFile(`redis://${at}`, `http://${at}`));
    expect(code).toBe(1);
    expect(about('redis')).toContain('no longer responds');
    expect(about('state')).toContain('[i] state not checked');
    expect(about('endpoint shop')).toContain('[+]');
  });

  it('ends at once on a signal, and reports that it is incomplete', async () => {
    await using silent = await silentServer();
    const at = `127.0.0.1:${silent.port}`;
    const file = stringify(simpleFile(`redis://${at}`, `https://${at}`));
    await using folder = await tempFolder({ 'relay.yaml': file });
    const run = startCli(['doctor'], { cwd: folder.path });
    await eventually('its first lines', () => run.stdout.text.includes('[+] file'));
    run.stop();
    expect(await run.done).toBe(1);
    expect(run.stderr.text).toBe(
      'expiry-relay: interrupted by SIGTERM; not everything was checked\n',
    );
  });

  it('reports the reason for each unreachable endpoint, with its secrets hidden', async () => {
    await using redis = await startRedis({ args: WELL });
    await using certificate = await selfSigned('IP:127.0.0.1');
    const server = createHttpsServer({ key: certificate.key, cert: certificate.cert });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const secure = `https://127.0.0.1:${(server.address() as AddressInfo).port}/?token=hush`;
    const endpoint = (url: string) => ({
      url,
      secrets: 'none',
      headers: { authorization: 'hush' },
    });
    const file = {
      redis: { url: redis.url },
      endpoints: {
        refused: endpoint(await nobodyThere()),
        secure: endpoint(secure),
        plain: endpoint(redis.url.replace('redis', 'https')),
        nameless: endpoint('http://nowhere.invalid/'),
      },
      routes: [{ name: 'all', match: '*', to: ['refused', 'secure', 'plain', 'nameless'] }],
    };
    const { code, stdout, stderr, about } = await examine(file);
    expect(code).toBe(1);
    expect(about('endpoint refused')).toContain('ECONNREFUSED');
    expect(about('endpoint refused')).toContain('→ start the receiver, or correct the port');
    expect(about('endpoint secure')).toContain('self-signed certificate');
    expect(about('endpoint secure')).toContain('NODE_EXTRA_CA_CERTS');
    expect(about('endpoint plain')).toContain('[-] endpoint plain');
    expect(about('endpoint nameless')).toContain('nowhere.invalid');
    expect(stdout + stderr).not.toContain('hush');
    expect(stdout).toMatch(/^4 problems, 0 warnings$/m);
    const trusting = await examine(file, { NODE_EXTRA_CA_CERTS: certificate.certFile });
    expect(trusting.about('endpoint secure')).toContain('certificate verified');
    server.close();
  });

  it('connects to each endpoint like an attempt: with its proxy and certificates, to no forbidden address', async () => {
    await using redis = await startRedis({ args: WELL });
    await using certificate = await selfSigned('DNS:shop.invalid');
    await using shop = await startHttps(certificate);
    await using proxy = await ConnectProxy.start({ login: 'relay:hush' });
    const url = `https://shop.invalid:${new URL(shop.url).port}/`;
    const tls = { ca_file: certificate.certFile };
    const endpoint = (given: object) => ({ url, secrets: 'none', tls, ...given });
    const endpoints = {
      proxied: endpoint({ proxy: `http://relay:hush@${proxy.host}` }),
      stranger: endpoint({ proxy: `http://relay:hush2@${proxy.host}` }),
      untrusted: endpoint({ proxy: `http://relay:hush@${proxy.host}`, tls: {} }),
      metadata: { url: 'http://metadata.example/', secrets: 'none' },
    };
    const routes = [{ name: 'all', match: '*', to: Object.keys(endpoints) }];
    const file = { redis: { url: redis.url }, endpoints, routes };
    const names = leadingNames({ 'metadata.example': ['169.254.77.77'] });
    const { stdout, stderr, about } = await examine(file, names);
    expect(about('endpoint proxied')).toContain(`(through the proxy ${proxy.host} at 127.0.0.1)`);
    expect(about('endpoint proxied')).toContain('certificate verified');
    expect(about('endpoint stranger')).toContain(`the proxy ${proxy.host} returned 407`);
    expect(about('endpoint untrusted')).toContain('tls.ca_file');
    expect(about('endpoint metadata')).toContain('allow_link_local: true');
    expect(stdout + stderr).not.toContain('hush');
    expect(shop.clients).toEqual([]);
  });

  it('prints the errors of a file as check does', async () => {
    const { code, stdout, stderr } = await examine({ endpoints: {}, routes: [], nonsense: 1 });
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^relay\.yaml:\d+:\d+: /m);
  });
});
