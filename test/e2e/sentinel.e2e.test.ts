// cspell:ignore shopp
/** What the relay and its commands do with sentinels, beside following a failover. */
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { selfSigned } from '../support/certificate.js';
import { cli, tempFolder } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { MASTER, resume, SentinelGroup, startSentinel } from '../support/sentinel.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

const NOWHERE = 'http://127.0.0.1:9';

const fileOf = (redis: object, url = NOWHERE) => ({ ...simpleFile('', url), redis });

const SERVES_STALE_DATA = ['--replica-serve-stale-data', 'yes'];

describe.concurrent('a relay with sentinels', () => {
  it('waits at its start for a replica that they name, until it is a primary', async () => {
    await using server = await startRedis({
      args: ['--replicaof', '127.0.0.1', '9', ...SERVES_STALE_DATA],
    });
    await using sentinel = await startSentinel(MASTER, server.port);
    const nodes = [`127.0.0.1:${sentinel.port}`];
    await using relay = await RelayProcess.spawn(fileOf({ sentinel: { master: MASTER, nodes } }));
    const { error } = await relay.logged('redis_unavailable');
    expect(error).toBe(
      `Redis at 127.0.0.1:${server.port} (the primary of mymaster) is a replica of 127.0.0.1:9; replicas do not ` +
        'publish expirations. The relay waits until it is the primary, or the sentinels name another server',
    );
    expect(await relay.logged('state_unavailable')).toMatchObject({ operation: 'verify' });
    await withRedis(server, (redis) => redis.replicaof('NO', 'ONE'));
    await relay.ready();
  });

  it('logs in to the sentinels and to Redis with a password of each, and with TLS', async () => {
    await using certificate = await selfSigned('IP:127.0.0.1');
    await using secrets = await tempFolder({ sentinel: 'of-sentinel\n', redis: 'of-redis\n' });
    const files = [
      ...['--tls-cert-file', certificate.certFile, '--tls-key-file', certificate.keyFile],
      ...['--tls-ca-cert-file', certificate.certFile, '--tls-auth-clients', 'no'],
    ];
    const tlsPort = await freePort();
    await using server = await startRedis({
      password: 'of-redis',
      args: [...files, '--tls-port', String(tlsPort)],
    });
    await using sentinel = await startSentinel(MASTER, tlsPort, {
      lines: ['requirepass of-sentinel', `sentinel auth-pass ${MASTER} of-redis`],
      args: [...files, '--tls-replication', 'yes'],
      login: { password: 'of-sentinel', tls: { ca: certificate.cert } },
    });
    await using receiver = await TestReceiver.start();
    const tls = { ca_file: certificate.certFile };
    const nodes = [`127.0.0.1:${sentinel.port}`];
    const login = { password_file: `${secrets.path}/sentinel`, tls };
    const redis = {
      sentinel: { master: MASTER, nodes, ...login },
      password_file: `${secrets.path}/redis`,
      tls,
    };
    await using relay = await RelayProcess.start(fileOf(redis, receiver.url));
    await withRedis(server, (client) => client.set('order:1', '', 'PX', 200));
    await eventually('the webhook', () => receiver.keys.includes('order:1'));
    expect((await relay.logged('listening')).redis).toBe(
      `127.0.0.1:${tlsPort} (the primary of mymaster)`,
    );
    const without = { ...redis, sentinel: { master: MASTER, nodes, tls } };
    await using rejected = await RelayProcess.spawn(fileOf(without));
    expect((await rejected.exited).code).toBe(1);
    expect(rejected.startError).toBe(
      `the Sentinel at ${nodes[0]} requires a password. Set redis.sentinel.password_file (or ` +
        'redis.sentinel.password)',
    );
    await using plain = await RelayProcess.spawn(
      fileOf({ ...redis, sentinel: { master: MASTER, nodes } }),
    );
    expect((await plain.logged('redis_unavailable')).error).toContain('set redis.sentinel.tls');
  });

  it('does not start with a wrong name, and says which names they know', async () => {
    await using server = await startRedis();
    await using sentinel = await startSentinel('shop', server.port);
    const nodes = [`127.0.0.1:${sentinel.port}`];
    await using relay = await RelayProcess.spawn(fileOf({ sentinel: { master: 'blog', nodes } }));
    expect((await relay.exited).code).toBe(1);
    expect(relay.startError).toBe(
      `the Sentinel at ${nodes[0]} monitors no primary of that name; it monitors shop. Correct ` +
        'redis.sentinel.master',
    );
  });

  it('does not start with the address of a Redis in place of that of a sentinel', async () => {
    await using server = await startRedis();
    const nodes = [`127.0.0.1:${server.port}`];
    await using relay = await RelayProcess.spawn(fileOf({ sentinel: { master: MASTER, nodes } }));
    expect((await relay.exited).code).toBe(1);
    expect(relay.startError).toContain(`the server at ${nodes[0]} is not a Sentinel. Set`);
  });

  it('believes the majority, works on without it, and reports both', async () => {
    await using group = await SentinelGroup.start();
    await using wrongServer = await startRedis();
    await using wrong = await startSentinel(MASTER, wrongServer.port);
    await using receiver = await TestReceiver.start();
    const nodes = [`127.0.0.1:${wrong.port}`, ...group.section.nodes];
    const file = fileOf({ sentinel: { master: MASTER, nodes } }, receiver.url);
    await using relay = await RelayProcess.start(file);
    const primary = await group.primary();
    const at = `127.0.0.1:${primary.port} (the primary of mymaster)`;
    expect((await relay.logged('listening')).redis).toBe(at);
    await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
    const doctor = await cli(['doctor', '--json'], { cwd: folder.path });
    const { findings } = JSON.parse(doctor.stdout) as { findings: Record<string, string>[] };
    expect(findings.find(({ subject }) => subject === 'sentinels')).toMatchObject({
      level: 'warning',
      text: expect.stringContaining(
        `3 of 4 name 127.0.0.1:${primary.port} the primary of mymaster, quorum 1; votes: `,
      ),
    });
    expect(findings.find(({ subject }) => subject === 'role')).toMatchObject({ level: 'ok' });
    expect(findings.find(({ subject }) => subject === 'state')?.text).toContain(`of ${at}`);
    expect((await relay.logged('sentinels')).level).toBe('warn');
    // Two of the three that are right: no majority of the four is left.
    const stopped = group.sentinels.slice(1);
    for (const { pid } of stopped) process.kill(pid, 'SIGSTOP');
    try {
      await eventually('a problem', () => relay.logs('sentinels').some((l) => l.level === 'error'));
      await group.client(primary).set('order:1', '', 'PX', 200);
      await eventually('the webhook', () => receiver.keys.includes('order:1'));
      await relay.ready();
      expect((await relay.get('/readyz?verbose')).text).toMatch(/sentinels.*disagree/);
    } finally {
      for (const sentinel of stopped) resume(sentinel);
    }
    await wrong[Symbol.asyncDispose]();
    const dead = await cli(['dead', 'list'], { cwd: folder.path });
    expect(dead).toMatchObject({ code: 0 });
  });

  it('moves the state alone when that has sentinels and the keys have a URL', async () => {
    await using keys = await startRedis();
    await using group = await SentinelGroup.start();
    await using receiver = await TestReceiver.start();
    const file = {
      ...simpleFile(keys.url, receiver.url),
      state: { sentinel: group.section },
    };
    await using relay = await RelayProcess.start(file);
    const [before, after] = [await group.primary(), await group.failOver()];
    await relay.logged('primary_moved');
    await relay.ready();
    await withRedis(keys, (redis) => redis.set('order:1', '', 'PX', 200));
    await eventually('the webhook', () => receiver.keys.includes('order:1'));
    expect(relay.logs('subscription_lost')).toEqual([]);
    expect(after).not.toBe(before);
    const clients = String(await group.client(after).client('LIST'));
    expect(clients).toContain('name=expiry-relay:state');
    // It is a primary still.
    const former = String(await group.client(before).client('LIST'));
    expect(former).not.toContain('name=expiry-relay:state');
  });
});
