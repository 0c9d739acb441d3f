import { describe, expect, it } from 'vitest';
import { readEndpointUrl, readListenAddress, readRedisUrl } from '../../src/config/addresses.js';

describe('readRedisUrl', () => {
  it('fills in what the URL leaves out', () => {
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

  it('takes all that the URL says, percent-decoded', () => {
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
  ])('says how a Unix socket is written, instead of %s', (text, hint) => {
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
});
