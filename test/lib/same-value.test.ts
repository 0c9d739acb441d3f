import { describe, expect, it } from 'vitest';
import { isSameValue } from '../../src/lib/same-value.js';
import { Secret } from '../../src/model/secret.js';

const value = (given: object = {}) => ({
  name: 'shop',
  url: new URL('https://shop/hooks'),
  secrets: [new Secret('a'), new Secret('b')],
  headers: { 'x-key': new Secret('k') },
  accept: new Set([303]),
  limit: { count: 5, perMs: 1_000 },
  map: new Map([['10.0.0.1:6379', { host: 'h', port: 1 }]]),
  tls: null,
  matches: () => true,
  ...given,
});

describe('two values', () => {
  it('are the same if all of their content is', () => {
    expect(isSameValue(value(), value())).toBe(true);
    expect(isSameValue(value({ more: undefined }), value())).toBe(true);
  });

  it.each([
    ['a secret', { secrets: [new Secret('a'), new Secret('c')] }],
    ['the order of a list', { secrets: [new Secret('b'), new Secret('a')] }],
    ['a secret in a mapping', { headers: { 'x-key': new Secret('other') } }],
    ['the name of a key', { headers: { 'x-other': new Secret('k') } }],
    ['a URL', { url: new URL('https://shop/other') }],
    ['a set', { accept: new Set([303, 409]) }],
    ['a nested value', { limit: { count: 5, perMs: 2_000 } }],
    ['a map', { map: new Map([['10.0.0.1:6379', { host: 'h', port: 2 }]]) }],
    ['null', { tls: {} }],
    ['a kind', { name: new Secret('shop') }],
    ['a further key', { more: 1 }],
    ['a missing key', { name: undefined }],
  ])('differ by %s', (_, given) => {
    expect(isSameValue(value(), value(given))).toBe(false);
    expect(isSameValue(value(given), value())).toBe(false);
  });
});
