// cspell:ignore ahost
import { describe, expect, it } from 'vitest';
import { fillPath, placeholdersOf } from '../../src/payload/path-template.js';

const params = (given: Record<string, string | Buffer>) =>
  Object.fromEntries(Object.entries(given).map(([name, text]) => [name, Buffer.from(text)]));

describe('fillPath', () => {
  it.each([
    ['42', '/orders/42/cancel'],
    ['a b', '/orders/a%20b/cancel'],
    ['a/b', '/orders/a%2Fb/cancel'],
    ['%2f', '/orders/%252f/cancel'],
    ['..', '/orders/%2E%2E/cancel'],
    ['.', '/orders/%2E/cancel'],
    ['a..b', '/orders/a..b/cancel'],
    ['@evil', '/orders/%40evil/cancel'],
    ['?x=1#y', '/orders/%3Fx%3D1%23y/cancel'],
    ['\r\nhost: evil', '/orders/%0D%0Ahost%3A%20evil/cancel'],
    ['é{}', '/orders/%C3%A9%7B%7D/cancel'],
    [Buffer.from([0xff]), '/orders/%FF/cancel'],
  ])('%j becomes %s', (id, path) => {
    expect(fillPath('/orders/{id}/cancel', params({ id }))).toBe(path);
  });

  it('encodes the dots of a segment of several params', () => {
    expect(fillPath('/{a}{b}/x', params({ a: '.', b: '.' }))).toBe('/%2E%2E/x');
  });

  it('never lets a key reach the host, even where the path begins with a param', () => {
    const path = fillPath('/{a}', params({ a: '/evil.example' }));
    expect(new URL(`http://shop${path}`).host).toBe('shop');
  });

  it('fills the query as well', () => {
    expect(fillPath('/x?id={id}', params({ id: 'a&b=?' }))).toBe('/x?id=a%26b%3D%3F');
  });
});

describe('placeholdersOf', () => {
  it('returns them in order', () => {
    expect(placeholdersOf('/{b}/x{a}?{b}')).toEqual(['b', 'a', 'b']);
  });
});
