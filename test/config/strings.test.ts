import { describe, expect, it } from 'vitest';
import {
  HEADER_CHARS_MAX,
  PATH_CHARS_MAX,
  readHeaderName,
  readHeaderValue,
  readRoutePath,
  readSecret,
  readVerifyingSecret,
} from '../../src/config/strings.js';
import { newKeyPair } from '../../src/signing/key-pair.js';

const secretOf = (bytes: number) => `whsec_${Buffer.alloc(bytes, 0xfb).toString('base64')}`;

describe('readSecret', () => {
  it.each([24, 25, 26, 64])('takes a secret of %i bytes and keeps it whole', (bytes) => {
    const reading = readSecret(secretOf(bytes));
    expect(reading.ok && reading.value.reveal()).toBe(secretOf(bytes));
  });

  it.each([
    ['', 'an empty string'],
    [secretOf(24).slice(6), 'one without the prefix whsec_'],
    [secretOf(23), 'one 23 bytes long'],
    [secretOf(65), 'one 65 bytes long'],
    [secretOf(25).replaceAll('=', ''), 'one whose rest is not padded standard base64'],
    [secretOf(24).replaceAll('+', '-'), 'one whose rest is not padded standard base64'],
    [`${secretOf(24)}\n`, 'one whose rest is not padded standard base64'],
  ])('describes the error of %j, without repeating it', (text, found) => {
    const reading = readSecret(text);
    expect(reading).toMatchObject({ ok: false, wording: { found, quoting: null } });
    expect(JSON.stringify(reading)).toContain('expiry-relay secret');
  });
});

describe('an asymmetric secret', () => {
  const pair = newKeyPair();
  const bytes = Buffer.from(pair.privateKey.slice(5), 'base64');
  const withBytes = (given: Buffer) => `whsk_${given.toString('base64')}`;

  it.each([pair.privateKey, withBytes(bytes.subarray(0, 32))])('may be %s', (text) => {
    const reading = readSecret(text);
    expect(reading.ok && reading.value.reveal()).toBe(text);
  });

  it.each([
    [withBytes(bytes.subarray(0, 31)), 'one 31 bytes long'],
    [withBytes(Buffer.concat([bytes.subarray(0, 63), Buffer.of(1)])), 'do not match'],
    [pair.privateKey.replaceAll('=', ''), 'not padded standard base64'],
    [pair.publicKey, 'a public key (whpk_…), which verifies but cannot sign'],
  ])('is not %s', (text, found) => {
    const reading = readSecret(text);
    expect(reading.ok ? null : JSON.stringify(reading.wording)).toContain(found);
  });

  it('verifies with its public key, or with itself', () => {
    for (const text of [pair.publicKey, pair.privateKey, secretOf(24)]) {
      expect(readVerifyingSecret(text).ok).toBe(true);
    }
    expect(readVerifyingSecret(`${pair.publicKey}=`).ok).toBe(false);
    expect(readVerifyingSecret('whpk_AAAA').ok).toBe(false);
  });
});

describe('readHeaderName', () => {
  it('gives the name in lower case', () => {
    expect(readHeaderName('X-Shop')).toEqual({ ok: true, value: 'x-shop' });
  });

  it.each([
    'Host',
    'content-length',
    'Content-Type',
    'transfer-encoding',
    'connection',
    'keep-alive',
    'upgrade',
    'te',
    'trailer',
    'expect',
    'user-agent',
    'proxy-authorization',
    'webhook-id',
    'webhook-timestamp',
    'webhook-signature',
    '',
    'a b',
    'a:b',
    'é',
    'a\n',
  ])('refuses %j', (name) => {
    expect(readHeaderName(name)).toMatchObject({ ok: false });
  });
});

describe('readHeaderValue', () => {
  it('takes one line of latin-1', () => {
    const reading = readHeaderValue('Bearer\té');
    expect(reading.ok && reading.value.reveal()).toBe('Bearer\té');
  });

  it.each(['a\rb', 'a\nb', 'a\0b', 'a\u0100', 'a\x7f', 'a'.repeat(HEADER_CHARS_MAX + 1)])(
    'refuses characters that would break the request, such as %j',
    (value) => {
      expect(readHeaderValue(value)).toMatchObject({ ok: false, wording: { quoting: null } });
    },
  );
});

describe('readRoutePath', () => {
  it.each([
    '/',
    '/orders/{id}/cancel',
    '/a{b}c/{d}',
    "/a-._~!$&'()*+,;=:@/%2F?x={id}&y=/?",
    '/...',
    '/x?../..',
  ])('takes %s', (path) => {
    expect(readRoutePath(path)).toEqual({ ok: true, value: path });
  });

  it.each([
    '',
    'orders',
    '/orders/{id',
    '/orders/id}',
    '/{}',
    '/{a{b}}',
    '/a#b',
    '/a b',
    '/ä',
    '/100%',
    '/%zz',
    '/a\\b',
    '/./a',
    '/a/..',
    '/%2e%2E/a',
    '/.%2e?x',
    '/[a]',
    `/${'a'.repeat(PATH_CHARS_MAX)}`,
  ])('refuses %j', (path) => {
    expect(readRoutePath(path)).toMatchObject({ ok: false });
  });
});
