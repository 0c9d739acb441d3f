// cspell:ignore reqs
import { describe, expect, it } from 'vitest';
import {
  readEndpointUrl,
  readListenAddress,
  readProxyUrl,
  readRedisUrl,
} from '../../src/config/addresses.js';

const SENTINEL = 'instead of url, set sentinel: {master: NAME, nodes: [HOST:26379, …]}';

describe('readRedisUrl', () => {
  it('fills in defaults', () => {
    expect(readRedisUrl('redis://cache')).toEqual({
      ok: true,
      value: {
        host: 'cache',
        port: 6379,
        path: null,
        tls: false,
        username: null,
        password: null,
        database: null,
      },
    });
  });

  it('reads all parts of the URL, percent-decoded', () => {
    const reading = readRedisUrl('rediss://re%40lay:p%2Fw@[::1]:6380/2');
    if (!reading.ok) throw new Error('refused');
    const { password, ...rest } = reading.value;
    expect(rest).toEqual({
      host: '::1',
      port: 6380,
      path: null,
      tls: true,
      username: 're@lay',
      database: 2,
    });
    expect(password?.reveal()).toBe('p/w');
  });

  it.each([
    ['unix:///run/redis.sock', { path: '/run/redis.sock', database: null, username: null }],
    ['unix:///run/a%20b.sock?db=3', { path: '/run/a b.sock', database: 3 }],
    ['unix://re%40lay:p%2Fw@/run/redis.sock', { path: '/run/redis.sock', username: 're@lay' }],
  ])('takes the path of a Unix socket: %s', (text, expected) => {
    expect(readRedisUrl(text)).toMatchObject({ ok: true, value: { tls: false, ...expected } });
  });

  it.each([
    ['redis+unix:///run/redis.sock', 'unix:///run/redis.sock'],
    ['/run/redis.sock', 'unix:///run/redis.sock'],
    ['unix://run/redis.sock', 'an absolute path'],
    ['unix:/run/redis.sock', 'an absolute path'],
  ])('explains the form of a Unix socket, instead of %s', (text, hint) => {
    const reading = readRedisUrl(text);
    expect(JSON.stringify(reading)).toContain(hint);
    expect(reading.ok).toBe(false);
  });

  it.each([
    'unix:///run/',
    'unix://',
    `unix:///${'x'.repeat(108)}`,
    'unix:///run/redis.sock?db=x',
    'unix:///run/redis.sock?db=2147483648',
    'unix:///run/redis.sock#2',
    'unix://:%zz@/run/redis.sock',
    'cache:6379',
    'http://cache',
    'redis://',
    'redis:///2',
    'redis://cache/x',
    'redis://cache/1/2',
    'redis://cache/2147483648',
    'redis://cache:0',
    'redis://cache:70000',
    'redis://a:1,b:2',
    'redis://cache?db=1',
    'redis://:p#w@cache',
    'redis://:%zz@cache',
    'redis://ca che',
    '',
  ])('refuses %j without repeating it', (text) => {
    expect(readRedisUrl(text)).toMatchObject({
      ok: false,
      wording: { found: expect.any(String), quoting: null },
    });
  });
});

/** `what was found (what to do)` */
function expectedOf(reading: ReturnType<typeof readRedisUrl | typeof readProxyUrl>): string {
  if (reading.ok || reading.wording.kind === 'statement') throw new Error('expected a mismatch');
  const { found, hint } = reading.wording;
  return hint === null ? `${found}` : `${found} (${hint})`;
}

const ENCODE = 'percent-encode special characters in a password, or use password_file';

describe('a Redis URL that is refused', () => {
  it.each([
    ['redis://', 'one without a host'],
    ['redis://:6379', 'one without a host'],
    ['redis://user:pw@', 'one without a host'],
    ['redis://h:70000', 'one whose port is greater than 65535'],
    ['redis://h:0', 'one with port 0'],
    ['redis://h:x', 'one whose port is not a number'],
    ['redis://h:tcp://10.0.0.1:6379', 'one whose port is not a number'],
    ['redis://a:1,b:2', 'one with more than one host (name one host)'],
    ['redis://:pw@a:1,b:2', 'one with more than one host (name one host)'],
    ['redis://fe80::1', 'one with an IPv6 address without brackets (put the IPv6 address in [ ])'],
    ['redis://h h', 'one with more than one host (name one host)'],
    ['redis://a:1;b:2', 'one with more than one host (name one host)'],
    ['redis://h%zz', 'one whose host has a %'],
    ['redis://h/x', 'one whose path is not the number of a database'],
    ['redis://h#1', 'one with a fragment (#…)'],
    ['redis://h?db=1', 'one with a query (?…) (a database is redis://HOST:PORT/DATABASE)'],
    [
      'redis://h?ssl_cert_reqs=none',
      'one with a query (?…) (TLS is rediss://, and set certificates in tls, beside url)',
    ],
    [
      'redis://h?password=hunter2',
      'one with a query (?…) (write username and password_file beside url)',
    ],
    [
      'redis://h?timeout=1',
      'one with a query (?…) (remove it: the relay reads no settings from the query)',
    ],
    [
      'cache:6379',
      'one that begins with none of redis://, rediss:// and unix:// (write redis:// before the host)',
    ],
    ['hunter2://h', 'one that begins with none of redis://, rediss:// and unix://'],
    [
      'unix:///run/%zz',
      'one whose user, password or path is not percent-encoded (write %25 for a %)',
    ],
  ])('is described, without a hint at encoding: %s', (text, expected) => {
    expect(expectedOf(readRedisUrl(text))).toBe(expected);
  });

  it.each([
    ['redis://:p#w@h', 'one with a /, ? or # before its @'],
    ['redis://u:p/w@h', 'one with a /, ? or # before its @'],
    ['redis://u:12/3@h:6379', 'one with a /, ? or # before its @'],
    ['redis://u:12?3@h:6379', 'one with a /, ? or # before its @'],
    ['redis://u:%zz@h', 'one whose user or password is not percent-encoded'],
    ['redis://u:p w@h', 'an invalid URL'],
    ['unix://:%zz@/run/redis.sock', 'one whose user, password or path is not percent-encoded'],
  ])('is described with a hint at encoding if it has an @: %s', (text, expected) => {
    expect(expectedOf(readRedisUrl(text))).toBe(`${expected} (${ENCODE})`);
  });

  it.each([
    ['redis+sentinel', SENTINEL],
    ['rediss-sentinel', SENTINEL],
    ['redis-cluster', 'instead of url, set cluster: {nodes: [HOST:6379, …]}'],
    ['redis-socket', 'a Unix socket is unix:///run/redis.sock'],
    ['rediss+unix', 'a Unix socket is unix:///run/redis.sock'],
    ['valkey', 'write redis://'],
    ['valkeys', 'write rediss://'],
    ['tcp', 'write redis://'],
    ['https', 'use the address for Redis clients, not for HTTP'],
    ['amqp', 'only servers that speak the Redis protocol are supported'],
    ['memcached', 'only servers that speak the Redis protocol are supported'],
    ['mongodb+srv', 'only servers that speak the Redis protocol are supported'],
  ])('is described with its scheme: %s', (scheme, advice) => {
    expect(expectedOf(readRedisUrl(`${scheme}://h`))).toBe(`${scheme}:// (${advice})`);
  });
});

describe('a URL of HTTP that is refused', () => {
  it.each([
    ['http:///shop/x', 'one without a host'],
    ['http://a,b/x', 'one with more than one host (name one host)'],
    ['http://shop:x', 'one whose port is not a number'],
    [
      'shop:8080/x',
      'one that begins with neither http:// nor https:// (write http:// before the host)',
    ],
    ['ws://shop', 'ws:// (webhooks are sent only over HTTP)'],
    ['http://shop:99999/a@b', 'one whose port is greater than 65535'],
  ])('is described as an endpoint: %s', (text, expected) => {
    expect(expectedOf(readEndpointUrl(text) as ReturnType<typeof readProxyUrl>)).toBe(expected);
  });

  it.each([
    ['socks5://p:1080', 'socks5:// (SOCKS is not supported: use an HTTP proxy)'],
    [
      'http://u:p/w@p:1',
      'one with a /, ? or # before its @ (percent-encode special characters in the user and the password)',
    ],
    ['http://p:1/x', 'one with more than a user, a password, a host and a port'],
  ])('is described as a proxy: %s', (text, expected) => {
    expect(expectedOf(readProxyUrl(text))).toBe(expected);
  });
});

describe('readEndpointUrl', () => {
  it.each(['http://shop:8080/hooks', 'https://shop.example/a?b=c', 'http://[::1]:80/'])(
    'takes %s',
    (text) => {
      const reading = readEndpointUrl(text);
      expect(reading.ok && reading.value.href).toBe(new URL(text).href);
    },
  );

  it.each([
    'shop:8080',
    'ftp://shop',
    'http:shop',
    'http://',
    'http://shop:99999',
    'http://user@shop',
    'http://:pw@shop',
    'http://shop/#',
    'http://shop\\a',
    ' http://shop',
    'http://shop/\n',
  ])('refuses %j without repeating it', (text) => {
    expect(readEndpointUrl(text)).toMatchObject({
      ok: false,
      wording: { found: expect.any(String), quoting: null },
    });
  });
});

describe('readListenAddress', () => {
  it.each([
    ['127.0.0.1:9464', '127.0.0.1', 9464],
    ['[0:0::0]:9464', '::', 9464],
    ['[::1]:9464', '::1', 9464],
    [':9464', '0.0.0.0', 9464],
    ['localhost:0', 'localhost', 0],
    ['0.0.0.0:65535', '0.0.0.0', 65535],
  ])('reads %s', (text, host, port) => {
    expect(readListenAddress(text)).toEqual({ ok: true, value: { host, port } });
  });

  it.each([
    '',
    '9464',
    'localhost',
    'localhost:',
    '::1:9464',
    '[x]:1',
    '[::1]',
    'a:65536',
    'a b:1',
  ])('refuses %j', (text) => {
    expect(readListenAddress(text)).toMatchObject({ ok: false });
  });

  it.each([
    ['9464', 'a colon precedes the port'],
    ['localhost', 'a port is missing'],
    ['http://localhost:9464', 'write only the host and port, without a scheme'],
    ['a:1,b:2', 'specify one address'],
    ['::1:9464', 'put the IPv6 address in [ ]'],
  ])('gives advice about %s', (text, hint) => {
    expect(readListenAddress(text)).toMatchObject({ ok: false, wording: { hint } });
  });
});
