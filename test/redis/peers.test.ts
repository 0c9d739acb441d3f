// cspell:ignore ftpd munsupported sfatal vfatal
/** The server at redis.url or state.url is not the Redis that the relay needs. */
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { connect } from '../../src/redis/connect.js';
import { peerOf } from '../../src/redis/peer.js';
import { failureAt, openStateOf, settingsOf } from '../support/connecting.js';
import { eventually } from '../support/eventually.js';
import { FaultyServer } from '../support/faulty-server.js';
import { startSentinel } from '../support/sentinel.js';

/** A server that greets each client and does not reply; without a greeting it is silent. */
async function greeting(bytes: string | Buffer) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    socket.write(bytes);
    // Like most servers on unreadable input.
    if (bytes.length > 0) socket.once('data', () => socket.end());
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The errors about a server at redis.url, and about the same at state.url. */
async function saidOf(url: string): Promise<{ redis: string; state: string; isFinal: boolean }> {
  const error = await failureAt(await settingsOf({ redis: { url } }));
  await using opened = openStateOf(await settingsOf({ state: { url } }));
  const unusable = opened.state.ready(AbortSignal.timeout(5_000)).catch((thrown) => thrown);
  const thrown = await Promise.race([unusable, waitFor(() => opened.troubles[0])]);
  const state = thrown instanceof Error ? thrown.message : (opened.troubles[0] ?? 'usable');
  return { redis: error?.message ?? 'connected', state, isFinal: error?.retryable === false };
}

async function waitFor(look: () => unknown): Promise<void> {
  while (!look()) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** The first packet of MySQL 8: its length, number 0, version 10. */
const MYSQL = Buffer.from('4a0000000a382e302e333600', 'hex');
/** An error of PostgreSQL. */
const POSTGRES = Buffer.from('E\0\0\0\x66SFATAL\0VFATAL\0C08P01\0Munsupported\0\0', 'latin1');

describe.concurrent('another kind of server', () => {
  it.each([
    ['an SSH server', 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n'],
    ['an SMTP server', '220 mail.example ESMTP Postfix\r\n'],
    ['an FTP server', '220 ProFTPD Server ready\r\n'],
    ['an IMAP server', '* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n'],
    ['a POP3 server', '+OK Dovecot ready.\r\n'],
    ['a MySQL or MariaDB server', MYSQL],
    ['a PostgreSQL server', POSTGRES],
    ['a NATS server', 'INFO {"server_id":"x"}\r\n'],
  ])('that speaks first is named: %s', async (name, bytes) => {
    await using server = await greeting(bytes);
    const { redis, state, isFinal } = await saidOf(server.url);
    expect(redis).toContain(`is ${name}, not Redis. Point redis.url at Redis`);
    expect(state).toContain(`is ${name}, not Redis. Point state.url at Redis`);
    expect(isFinal).toBe(true);
  });

  it.each([
    ['an HTTP server', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['an HTTP server', '<html><head><title>400 Bad Request</title>'],
    ['a memcached server', 'ERROR\r\n'],
    ['an AMQP server (RabbitMQ)', 'AMQP\0\0\x09\x01'],
    ['a server that sends "hello?"', 'hello?\r\n'],
  ])('that replies in its own protocol is named: %s', async (name, bytes) => {
    await using server = await FaultyServer.start((socket) => socket.write(bytes));
    const { redis, state, isFinal } = await saidOf(server.url.replace('http:', 'redis:'));
    expect(redis).toContain(`is ${name}, not Redis. Point redis.url at Redis`);
    expect(state).toContain(`is ${name}, not Redis. Point state.url at Redis`);
    expect(isFinal).toBe(true);
  });

  it('that replies OK to everything is not accepted as Redis', async () => {
    await using server = await FaultyServer.start((socket) => socket.write('+OK\r\n'));
    const { redis, isFinal } = await saidOf(server.url.replace('http:', 'redis:'));
    expect(redis).toContain('is not Redis (expected "PONG", found: "OK")');
    expect(isFinal).toBe(true);
  });

  it('that closes each connection causes retries, and the error names possible reasons', async () => {
    await using server = await FaultyServer.start((socket) => socket.end());
    const { redis, state, isFinal } = await saidOf(server.url.replace('http:', 'redis:'));
    expect(redis).toMatch(/closes them without a response\. .*redis\.url leads to another service/);
    expect(state).toMatch(/closes them without a response\. .*state\.url leads to another service/);
    expect(isFinal).toBe(false);
  });

  it('that never replies causes retries, and the error names possible reasons', async () => {
    await using server = await greeting('');
    const { redis } = await settingsOf({ redis: { url: server.url } });
    const error = await connect(redis, 'test', AbortSignal.timeout(300)).catch((thrown) => thrown);
    expect(error.message).toMatch(
      /accepts connections but does not respond\. Redis may be stopped .*leads to another service/,
    );
    expect(error.retryable).toBe(true);
  });
});

describe('a Sentinel', () => {
  it('at state.url is reported with the section to paste, which names all sentinels', async () => {
    await using primary = await startRedis();
    await using one = await startSentinel('shop', primary.port);
    await using other = await startSentinel('shop', primary.port);
    await eventually('they know each other', async () => {
      const others = await one.client.call('SENTINEL', 'SENTINELS', 'shop');
      return (others as unknown[]).length === 1;
    });
    await using opened = openStateOf(await settingsOf({ state: { url: `${one.url}/2` } }));
    await expect(opened.state.ready(AbortSignal.timeout(20_000))).rejects.toThrow(
      `the server at 127.0.0.1:${one.port} is a Sentinel, which holds no keys. Replace state.url with ` +
        `state: {sentinel: {master: shop, nodes: ["127.0.0.1:${one.port}", "127.0.0.1:${other.port}"]}}`,
    );
    expect(opened.troubles).toEqual([]);
  });
});

describe('a proxy', () => {
  /** Forwards all bytes, and closes a connection that sends this word. */
  async function closingOn(word: string, port: number) {
    const server = createServer((client) => {
      const redis = connectTcp(port, '127.0.0.1');
      for (const socket of [client, redis]) socket.on('error', () => undefined);
      redis.on('close', () => client.destroy()).pipe(client);
      client.on('close', () => redis.destroy());
      client.on('data', (bytes) => {
        if (bytes.toString().toLowerCase().includes(word)) client.end();
        else redis.write(bytes);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return {
      url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
      [Symbol.asyncDispose]: async () => void server.close(),
    };
  }

  it('that closes the connection on an unknown command is reported with this command', async () => {
    await using redis = await startRedis();
    await using proxy = await closingOn('setname', redis.port);
    const error = await failureAt(await settingsOf({ redis: { url: proxy.url } }));
    expect(error?.message).toMatch(
      /closed the connection after CLIENT; it may be a proxy without this command/,
    );
    expect(error?.retryable).toBe(true);
  });
});

describe('Redis itself, where it refuses every client', () => {
  it('in protected mode is reported as such', async () => {
    const denial =
      '-DENIED Redis is running in protected mode because protected mode is enabled\r\n';
    await using server = await greeting(denial);
    const { redis, state, isFinal } = await saidOf(server.url);
    expect(redis).toContain('is in protected mode and accepts only local clients');
    expect(state).toContain('is in protected mode');
    expect(isFinal).toBe(true);
  });

  it('because it has too many clients causes retries', async () => {
    await using server = await greeting('-ERR max number of clients reached\r\n');
    const { redis, isFinal } = await saidOf(server.url);
    expect(redis).toContain('has reached maxclients');
    expect(isFinal).toBe(false);
  });
});

it.each([
  '+PONG\r\n',
  '-NOAUTH Authentication required.\r\n',
  '$2\r\nok\r\n',
  '*0\r\n',
  '%1\r\n',
  '',
])('the first bytes %j are possible for Redis', (text) => {
  expect(peerOf(Buffer.from(text))).toEqual({ kind: 'redis' });
});
