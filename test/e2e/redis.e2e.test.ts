// cspell:ignore eegx kegx
/** Failures of Redis: unavailable, locked, wrong, silent, restarted. */
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { type Certificate, selfSigned } from '../support/certificate.js';
import { cli, tempFolder } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { MountedSecret } from '../support/mounted-secret.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { startSentinel } from '../support/sentinel.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { assertVerified, TestReceiver } from '../support/test-receiver.js';
import { startTlsRedis } from '../support/tls-redis.js';
import { withRedis } from '../support/with-redis.js';

const flagsOf = (redis: RunningRedis) =>
  withRedis(redis, async (client) => {
    const reply = (await client.config('GET', 'notify-keyspace-events')) as string[];
    return [...(reply[1] ?? '')].sort().join('');
  });

const expire = (redis: Pick<RunningRedis, 'url'>, key: string) =>
  withRedis(redis, (client) => client.set(key, '', 'PX', 20));

/** For tests about the Redis of the keys only, not the one with the state. */
const KEYS_ALONE = { state: { kind: 'memory' } };

/** Runs the relay until it exits; returns its output. */
async function lastWords(file: RelayFile) {
  await using relay = await RelayProcess.spawn(file);
  const { code } = await relay.exited;
  const events = relay.logs().map(({ event }) => event);
  return { code, error: relay.startError, events };
}

/** Expires keys until a webhook arrives: a relay that has just reconnected may miss the first. */
async function arrives(redis: Pick<RunningRedis, 'url'>, receiver: TestReceiver): Promise<void> {
  const before = receiver.requests.length;
  let count = 0;
  await eventually('a webhook', async () => {
    count += 1;
    await expire(redis, `again:${count}`);
    return receiver.requests.length > before;
  });
}

describe.concurrent('a key expires', () => {
  it('and a signed webhook arrives', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(
      simpleFile(redis.url, `${receiver.url}/hooks`, {
        route: { match: 'order:{id}:unpaid', type: 'order.payment.expired' },
      }),
    );
    await withRedis(redis, async (client) => {
      await client.set('order:7:paid', '', 'PX', 20);
      await client.set('order:8:unpaid', '', 'PX', 5_000);
      await client.del('order:8:unpaid');
      await client.set('order:42:unpaid', '', 'PX', 20);
    });
    const request = await eventually('a webhook', () => receiver.requests[0]);
    assertVerified(request);
    expect(request.body).toMatchObject({
      type: 'order.payment.expired',
      data: { key: 'order:42:unpaid', params: { id: '42' }, route: 'all', database: 0 },
    });
    await relay.stop();
    expect(receiver.keys).toEqual(['order:42:unpaid']);
  });
});

describe.concurrent('notifications', () => {
  it('are switched on with manage, which keeps existing classes and logs the change', async () => {
    await using redis = await startRedis({ args: ['--notify-keyspace-events', 'K$'] });
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    expect(await flagsOf(redis)).toBe('$EKegx');
    expect(await relay.logged('notifications_changed')).toMatchObject({
      after: expect.stringMatching(/^[$KExge]{6}$/),
    });
  });

  it('are left alone when they suffice', async () => {
    await using redis = await startRedis({ args: ['--notify-keyspace-events', 'AE'] });
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    expect(await flagsOf(redis)).toBe('AE');
    expect(relay.logs('notifications_changed')).toEqual([]);
  });

  it('are never changed with require: the relay refuses to start and prints the command', async () => {
    await using redis = await startRedis({ args: ['--notify-keyspace-events', 'Kg'] });
    const file = { ...simpleFile(redis.url, 'http://127.0.0.1:9') };
    file.redis = { url: redis.url, notifications: 'require' };
    const { code, error } = await lastWords(file);
    expect(code).toBe(1);
    expect(error).toContain('CONFIG SET notify-keyspace-events gKEx');
    expect(await flagsOf(redis)).toBe('Kg');
  });

  it('are restored after they were switched off', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    await withRedis(redis, (client) => client.config('SET', 'notify-keyspace-events', ''));
    await eventually('the flags are back', async () => (await flagsOf(redis)) === 'Eegx', 20_000);
    expect(relay.logs('subscription_lost')[0]?.error).toMatch(
      /expired without a notification|which lacks Exge/,
    );
    await arrives(redis, receiver);
  });

  it('of which one class was switched off are restored, and missed expirations are recovered', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    await withRedis(redis, async (client) => {
      await client.set('order:0:unpaid', '', 'PX', 60_000);
      const tracked = '{expiry-relay}:1:deadlines:0:tracked';
      await eventually('tracked', () => client.zscore(tracked, 'order:0:unpaid'));
      await client.config('SET', 'notify-keyspace-events', 'Exe');
      await client.del('order:0:unpaid');
    });
    await eventually('the flags are back', async () => (await flagsOf(redis)) === 'Eegx', 20_000);
    expect(relay.logs('subscription_lost')[0]?.error).toMatch(
      /set notify-keyspace-events .*which lacks g/,
    );
    await withRedis(redis, (client) =>
      eventually('the deleted key is forgotten', async () => {
        const tracked = '{expiry-relay}:1:deadlines:0:tracked';
        return (await client.zscore(tracked, 'order:0:unpaid')) === null;
      }),
    );
    await arrives(redis, receiver);
  }, 60_000);

  it('that a server neither shows nor sends are detected by the canary, with advice', async () => {
    await using redis = await startRedis({ args: ['--rename-command', 'CONFIG', ''] });
    const { code, error } = await lastWords(simpleFile(redis.url, 'http://127.0.0.1:9'));
    expect(code).toBe(1);
    expect(error).toMatch(/does not publish expirations .*parameter\s+group/);
  });

  it('that a server sends without showing its setting are enough', async () => {
    await using redis = await startRedis({
      args: ['--notify-keyspace-events', 'Ex', '--rename-command', 'CONFIG', ''],
    });
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    expect(relay.logs('notifications_unreadable')).toHaveLength(1);
    // A canary detects it if the setting is hidden.
    expect(relay.logs('notifications_partial')).toMatchObject([{ level: 'warn', setting: null }]);
    expect((await relay.get('/readyz?verbose')).text).toContain('only expirations are received');
    await arrives(redis, receiver);
  });
});

/** Repeats `work` at short intervals until disposed. */
function repeatedly(work: () => Promise<unknown>): AsyncDisposable {
  const ending = new AbortController();
  const loop = (async () => {
    while (!ending.signal.aborted) {
      await work();
      await sleep(20);
    }
  })();
  return {
    [Symbol.asyncDispose]: () => {
      ending.abort();
      return loop;
    },
  };
}

/** How often a command was called since the server started. */
async function callsOf(client: Redis, command: string): Promise<number> {
  const stats = await client.info('commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

async function readyzSays(relay: RelayProcess, text: string, status = 503): Promise<void> {
  await eventually(
    text,
    async () => {
      const readyz = await relay.get('/readyz?verbose');
      return readyz.status === status && readyz.text.includes(text);
    },
    20_000,
  );
}

describe.concurrent('a canary that does not live to its deadline', () => {
  const REMOVED =
    '[-] canary: the canary key in database 0 was removed before its deadline, by a flush or an eviction policy';

  it('because of a FLUSHDB loop is no gap; other keys are delivered, and the reason is logged once', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    const file = simpleFile(redis.url, receiver.url);
    file.redis = { url: redis.url, databases: [0, 1] };
    // Not in the flushed database, which would lose the deliveries, too.
    file.state = { url: `${redis.url}/2` };
    await using relay = await RelayProcess.start(file);
    await withRedis(redis, async (client) => {
      {
        await using _ = repeatedly(() => client.flushdb());
        await readyzSays(relay, REMOVED);
        await arrives({ url: `${redis.url}/1` }, receiver);
        const before = await callsOf(client, 'set');
        const another = async () => (await callsOf(client, 'set')) > before + 5;
        await eventually('another round of canaries', another, 20_000);
        expect((await relay.get('/readyz')).status).toBe(503);
      }
      await relay.ready();
    });
    await relay.logged('canary_recovered');
    expect(relay.logs('subscription_lost')).toEqual([]);
    expect(relay.logs('canary_removed')).toMatchObject([{ level: 'warn' }]);
    expect(relay.logs('canary_recovered')).toHaveLength(1);
  }, 60_000);

  it('because it is evicted causes a warning, as long as its eviction is received', async () => {
    const policy = ['--maxmemory-policy', 'volatile-ttl', '--maxmemory-samples', '64'];
    await using redis = await startRedis({ args: policy });
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    await withRedis(redis, async (client) => {
      const used = Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]);
      await client.config('SET', 'maxmemory', String(used + 2_000_000));
      const value = 'x'.repeat(100_000);
      let count = 0;
      {
        await using _ = repeatedly(() => {
          count += 1;
          return client.set(`session:${count}`, value, 'EX', 3_600).catch(() => undefined);
        });
        await readyzSays(
          relay,
          'the canary key in database 0 was evicted or deleted before its deadline',
          200,
        );
        expect(await relay.logged('keys_evictable')).toMatchObject({ level: 'warn' });
      }
      await client.config('SET', 'maxmemory', '0');
      await relay.logged('canary_recovered', 20_000);
    });
    expect(relay.logs('subscription_lost')).toEqual([]);
    expect(relay.logs('canary_removed')).toEqual([]);
    expect(relay.logs('canary_evicted')).toMatchObject([{ level: 'warn' }]);
    await arrives(redis, receiver);
  });
});

describe.concurrent('Redis that is unavailable', () => {
  it('causes retries and a log line; /livez is fine and /readyz is not', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await redis.kill('SIGKILL');
    const file = simpleFile(redis.url, receiver.url, KEYS_ALONE);
    await using relay = await RelayProcess.spawn(file);
    const { error, redis: address } = await relay.logged('redis_unavailable');
    expect(error).toContain('ECONNREFUSED');
    expect(address).toBe(`127.0.0.1:${redis.port}`);
    expect((await relay.get('/livez')).status).toBe(200);
    const readyz = await relay.get('/readyz');
    expect(readyz.status).toBe(503);
    expect(readyz.text).toContain('[-] subscribed: Redis at 127.0.0.1');
    await redis.restart();
    await relay.ready();
    await arrives(redis, receiver);
  });

  it.each([
    ['redis_unavailable', KEYS_ALONE],
    ['state_unavailable', {}],
  ])('can be stopped while it is waited for: %s', async (event, more) => {
    await using redis = await startRedis();
    await redis.kill('SIGKILL');
    await using relay = await RelayProcess.spawn(simpleFile(redis.url, 'http://127.0.0.1:9', more));
    await relay.logged(event);
    expect(await relay.stop()).toEqual({ code: 0, signal: null });
  });

  it('causes retries again after kill -9, and the notifications are restored after its restart', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    await redis.kill('SIGKILL');
    await relay.logged('subscription_lost');
    await redis.restart();
    await relay.ready();
    expect(await flagsOf(redis)).toBe('Eegx');
    expect(relay.logs('notifications_changed')).toHaveLength(2);
    const gaps = `expiry_relay_gaps_total{redis="127.0.0.1:${redis.port}"}`;
    expect(await relay.metric(gaps)).toBe(1);
    await arrives(redis, receiver);
  });
});

describe.concurrent('Redis that is silent does not hold up a stop', () => {
  /** In milliseconds: the time of a stop on a busy machine, shorter than any wait of the relay. */
  const STOP_MS_MAX = 2_000;

  async function stopsAtOnce(relay: RelayProcess): Promise<void> {
    const beganMs = performance.now();
    expect(await relay.stop()).toEqual({ code: 0, signal: null });
    expect(performance.now() - beganMs).toBeLessThan(STOP_MS_MAX);
    expect(relay.logs('clean_up_failed')).toEqual([]);
  }

  /** Accepts and never answers. */
  async function silentServer() {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket.on('error', () => undefined).resume());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return {
      url: `redis://127.0.0.1:${port}`,
      sockets,
      [Symbol.asyncDispose]: async () => {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
    };
  }

  it.each([{}, { shutdown: { grace: '0s' } }])('before its first reply: %j', async (more) => {
    await using silent = await silentServer();
    const file = simpleFile(silent.url, 'http://127.0.0.1:9', more);
    await using relay = await RelayProcess.spawn(file);
    await eventually('a connection', () => silent.sockets[0]);
    await stopsAtOnce(relay);
  });

  it('while the relay listens, or reconnects', async () => {
    await using redis = await startRedis();
    const file = simpleFile(redis.url, 'http://127.0.0.1:9');
    await using listening = await RelayProcess.start(file);
    await using lost = await RelayProcess.start(file);
    process.kill(redis.pid, 'SIGSTOP');
    try {
      await stopsAtOnce(listening);
      await lost.logged('subscription_lost', 30_000);
      await stopsAtOnce(lost);
    } finally {
      process.kill(redis.pid, 'SIGCONT');
    }
  }, 50_000);
});

describe.concurrent('a connection that breaks', () => {
  it('is reopened, with its subscription', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    for (const type of ['PUBSUB', 'NORMAL'] as const) {
      const gaps = relay.logs('subscription_lost').length;
      await withRedis(redis, (client) =>
        client.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes'),
      );
      await eventually('a gap', () => relay.logs('subscription_lost').length > gaps);
      await relay.ready();
      await arrives(redis, receiver);
    }
  });

  it('silently (half-open) is detected and reopened', async () => {
    await using redis = await startRedis();
    await using proxy = await TcpProxy.start(redis.port);
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(
      simpleFile(`redis://127.0.0.1:${proxy.port}`, receiver.url),
    );
    proxy.silencePresent();
    const { error } = await relay.logged('subscription_lost', 30_000);
    expect(error).toMatch(/no longer responds|expired without a notification/);
    await relay.ready();
    await arrives(redis, receiver);
  }, 60_000);
});

describe.concurrent('a password', () => {
  it('that is right is used', async () => {
    await using redis = await startRedis({ password: 'opens sesame' });
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(
      simpleFile(`redis://127.0.0.1:${redis.port}`, receiver.url, {
        redis: { url: `redis://127.0.0.1:${redis.port}`, password: '${REDIS_PASSWORD}' },
      }),
      { REDIS_PASSWORD: 'opens sesame' },
    );
    await arrives(redis, receiver);
    expect(relay.stdout).not.toContain('sesame');
  });

  it('that is wrong, or missing, fails the start with advice that does not repeat it', async () => {
    await using redis = await startRedis({ password: 'opens sesame' });
    const url = `127.0.0.1:${redis.port}`;
    const wrong = await lastWords(simpleFile(`redis://:not-this-one@${url}`, 'http://127.0.0.1:9'));
    expect(wrong.code).toBe(1);
    expect(wrong.error).toContain('rejects the user name or password');
    expect(wrong.error).not.toContain('not-this-one');
    const missing = await lastWords(simpleFile(`redis://${url}`, 'http://127.0.0.1:9'));
    expect(missing.code).toBe(1);
    expect(missing.error).toContain('requires a password. Set redis.password_file');
  });
});

describe.concurrent('rediss://', () => {
  const startTls = async ({ certFile, keyFile }: Certificate) => {
    const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile];
    const port = await freePort();
    const redis = await startRedis({
      args: ['--tls-port', String(port), ...files, '--tls-auth-clients', 'no'],
    });
    return { redis, tlsUrl: `rediss://localhost:${port}` };
  };

  it('verifies the certificate against the configured authority', async () => {
    await using certificate = await selfSigned('DNS:localhost');
    const { redis: plain, tlsUrl } = await startTls(certificate);
    await using redis = plain;
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(tlsUrl, receiver.url), {
      NODE_EXTRA_CA_CERTS: certificate.certFile,
    });
    expect(relay.stderr).toBe('');
    await arrives(redis, receiver);
  });

  it('is refused with advice when the certificate does not verify', async () => {
    await using certificate = await selfSigned('DNS:localhost');
    const { redis: plain, tlsUrl } = await startTls(certificate);
    await using _ = plain;
    const { code, error } = await lastWords(simpleFile(tlsUrl, 'http://127.0.0.1:9'));
    expect(code).toBe(1);
    expect(error).toContain('not signed by a CA that Node trusts');
    expect(error).toContain('redis.tls.ca_file');
  });
});

describe.concurrent('a Redis that requires client certificates, its password in a file', () => {
  it('is used for keys and state by run, doctor and dead, across a rotation of both', async () => {
    await using server = await selfSigned('DNS:localhost');
    await using first = await selfSigned('DNS:first');
    await using second = await selfSigned('DNS:second');
    await using redis = await startTlsRedis(server, { clients: [first, second] });
    await using receiver = await TestReceiver.start();
    const setPassword = (password: string) =>
      withRedis(redis.plain, (client) =>
        client.call(
          'ACL',
          'SETUSER',
          'relay',
          'on',
          'resetpass',
          `>${password}`,
          '+@all',
          '~*',
          '&*',
        ),
      );
    await setPassword('open');
    const held = ({ cert, key }: Certificate, password: string) => ({ cert, key, password });
    await using mounted = await MountedSecret.mount(held(first, 'open'));
    const file = simpleFile('', receiver.url, {
      redis: {
        url: `rediss://localhost:${redis.port}`,
        username: 'relay',
        password_file: mounted.file('password'),
        tls: {
          ca_file: server.certFile,
          cert_file: mounted.file('cert'),
          key_file: mounted.file('key'),
        },
      },
    });
    await using relay = await RelayProcess.start(file);
    await arrives(redis.plain, receiver);

    await setPassword('sesame');
    await withRedis(redis.plain, (client) => client.call('CLIENT', 'KILL', 'USER', 'relay'));
    await eventually('the refusal', () =>
      relay
        .logs('state_unavailable')
        .some(({ error }) => /waits for the new password/.test(String(error))),
    );
    await mounted.swap(held(second, 'sesame'));
    await relay.ready();
    await arrives(redis.plain, receiver);

    await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
    const doctor = await cli(['doctor'], { cwd: folder.path });
    expect(doctor.stdout).toMatch(/\[\+\] redis .*TLS/);
    const dead = await cli(['dead', 'list'], { cwd: folder.path });
    expect(dead).toMatchObject({ code: 0, stderr: '' });
    expect(relay.stdout + relay.stderr + doctor.stdout).not.toMatch(/sesame|PRIVATE KEY/);
  }, 60_000);
});

describe.concurrent('a Unix socket', () => {
  it('is used for keys and state by run, doctor and dead', async () => {
    await using folder = await tempFolder({});
    const path = join(folder.path, 'redis.sock');
    await using redis = await startRedis({ args: ['--unixsocket', path] });
    await using receiver = await TestReceiver.start();
    const file = simpleFile(`unix://${path}`, receiver.url);
    await using relay = await RelayProcess.start(file);
    await arrives(redis, receiver);
    expect(relay.logs('listening')[0]?.redis).toBe(`unix://${path}`);
    await using config = await tempFolder({ 'relay.yaml': stringify(file) });
    const doctor = await cli(['doctor'], { cwd: config.path });
    expect(doctor.stdout).toMatch(/unix:\/\/\S+redis\.sock responds .*Unix socket/);
    const dead = await cli(['dead', 'list'], { cwd: config.path });
    expect(dead).toMatchObject({ code: 0, stderr: '' });
  });
});

describe.concurrent('an ACL', () => {
  it('that allows only the documented permissions is enough', async () => {
    await using redis = await startRedis({
      args: ['--appendonly', 'yes', '--notify-keyspace-events', 'Exge'],
    });
    await withRedis(redis, (client) =>
      client.call(
        'ACL',
        'SETUSER',
        'relay',
        'on',
        '>secret',
        'resetchannels',
        '-@all',
        '+ping',
        '+select',
        '+set',
        '+exists',
        '+role',
        '+subscribe',
        '+client|setname',
        '+eval',
        '+evalsha',
        '+get',
        '+setnx',
        '+pttl',
        '+info',
        '+time',
        '+del',
        '+unlink',
        '+pexpiretime',
        '+scan',
        '+@hash',
        '+@stream',
        '+@sortedset',
        '~{expiry-relay}:*',
        '%R~again:*',
        '&__keyevent@0__:*',
        '+publish',
        '&{expiry-relay}:marks',
      ),
    );
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(
      simpleFile(`redis://relay:secret@127.0.0.1:${redis.port}`, receiver.url),
    );
    await arrives(redis, receiver);
    expect(relay.logs().filter(({ level }) => level !== 'info')).toEqual([]);
  });

  it('that forbids writing leaves the relay ready, unproved, and is logged', async () => {
    await using redis = await startRedis({ args: ['--notify-keyspace-events', 'Ex'] });
    await withRedis(redis, (client) =>
      client.call(
        'ACL',
        'SETUSER',
        'reader',
        'on',
        '>secret',
        'allchannels',
        '-@all',
        '+@read',
        '+@connection',
        '+@pubsub',
        '+role',
        '+time',
        '~*',
      ),
    );
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(
      simpleFile(`redis://reader:secret@127.0.0.1:${redis.port}`, receiver.url, KEYS_ALONE),
    );
    expect((await relay.logged('canary_unwritable')).error).toContain('NOPERM');
    await arrives(redis, receiver);
  });

  it('that forbids the channel is refused with the command that allows it', async () => {
    await using redis = await startRedis({ args: ['--notify-keyspace-events', 'Ex'] });
    await withRedis(redis, (client) =>
      client.call('ACL', 'SETUSER', 'relay', 'on', '>secret', 'resetchannels', '+@all', '~*'),
    );
    const file = simpleFile(`redis://relay:secret@127.0.0.1:${redis.port}`, 'http://127.0.0.1:9');
    const { code, error } = await lastWords(file);
    expect(code).toBe(1);
    expect(error).toContain("ACL SETUSER relay +subscribe '&__keyevent@0__:expired'");
  });
});

describe.concurrent('an unsuitable server', () => {
  it('is refused when it is a replica, naming its primary', async () => {
    await using primary = await startRedis();
    await using replica = await startRedis({
      args: ['--replicaof', '127.0.0.1', String(primary.port)],
    });
    const { code, error } = await lastWords(simpleFile(replica.url, 'http://127.0.0.1:9'));
    expect(code).toBe(1);
    expect(error).toContain(`is a replica of 127.0.0.1:${primary.port}`);
    expect(error).toContain('Point redis.url at the primary');
  });

  it('causes retries when it becomes a replica while the relay runs', async () => {
    await using other = await startRedis();
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    await withRedis(redis, (client) => client.replicaof('127.0.0.1', other.port));
    await eventually(
      'the replica is noticed',
      () =>
        relay.logs('redis_unavailable').some(({ error }) => String(error).includes('is a replica')),
      20_000,
    );
    expect((await relay.get('/readyz')).status).toBe(503);
    await withRedis(redis, (client) => client.replicaof('NO', 'ONE'));
    await relay.ready();
    await arrives(redis, receiver);
  });

  it('is refused when it has fewer databases than configured', async () => {
    await using redis = await startRedis({ args: ['--databases', '2'] });
    const file = { ...simpleFile(redis.url, 'http://127.0.0.1:9') };
    file.redis = { url: redis.url, databases: [0, 2] };
    const { code, error } = await lastWords(file);
    expect(code).toBe(1);
    expect(error).toContain('has no database 2. Correct redis.databases');
  });

  it('is refused when it is a Sentinel: run and doctor print the section to paste, which works', async () => {
    await using primary = await startRedis();
    await using sentinel = await startSentinel('shop', primary.port);
    const file = simpleFile(sentinel.url, 'http://127.0.0.1:9', KEYS_ALONE);
    const { code, error } = await lastWords(file);
    const block = `redis: {sentinel: {master: shop, nodes: ["127.0.0.1:${sentinel.port}"]}}`;
    const expected = `is a Sentinel, which holds no keys. Replace redis.url with ${block}`;
    expect(code).toBe(1);
    expect(error).toContain(expected);
    await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
    const doctor = await cli(['doctor'], { cwd: folder.path });
    expect(doctor.stdout.replaceAll(/\s+/g, ' ')).toContain(expected);
    await using relay = await RelayProcess.start({ ...file, ...parse(block) });
    expect((await relay.logged('listening')).redis).toContain(`:${primary.port} (the primary of`);
  });

  it('is refused when it has no SUBSCRIBE, like a proxy', async () => {
    await using redis = await startRedis({ args: ['--rename-command', 'SUBSCRIBE', ''] });
    const { code, error } = await lastWords(simpleFile(redis.url, 'http://127.0.0.1:9'));
    expect(code).toBe(1);
    expect(error).toMatch(
      /does not support a required command .*unknown command.*subscribe.*point redis\.url at Redis/i,
    );
  });

  it('is refused when it speaks HTTP', async () => {
    const server = createHttpServer((_, response) => response.end('hello')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const file = simpleFile(`redis://127.0.0.1:${port}`, 'http://127.0.0.1:9');
    const { code, error, events } = await lastWords(file);
    server.close();
    expect(code).toBe(1);
    expect(events).not.toContain('started');
    expect(error).toContain('is an HTTP server, not Redis. Point redis.url at Redis');
  });

  it('causes retries when it accepts and sends nothing', async () => {
    const server = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await using relay = await RelayProcess.spawn(
      simpleFile(`redis://127.0.0.1:${port}`, 'http://127.0.0.1:9', KEYS_ALONE),
    );
    expect((await relay.logged('redis_unavailable', 40_000)).error).toContain(
      'accepts connections but does not respond',
    );
    server.close();
  });
});
