import { describe, expect, it } from 'vitest';
import { didYouMean, nearest } from '../../src/config/nearest.js';

const keys = ['endpoints', 'routes', 'redis', 'url', 'to'];

describe('nearest', () => {
  it.each([
    ['endpoint', 'endpoints'],
    ['Routes', 'routes'],
    ['reids', 'redis'],
    ['ur', 'url'],
    ['ulr', 'url'],
    ['rul', 'url'],
    ['ot', 'to'],
    ['routse', 'routes'],
    ['enpdoint', 'endpoints'],
  ])('takes %s for %s', (word, meant) => {
    expect(nearest(word, keys)).toBe(meant);
  });

  it.each(['timeout', 'abc', 'lru', 'x', 'into', '', 'x'.repeat(10_000)])(
    'has no idea about %s',
    (word) => {
      expect(nearest(word, keys)).toBeNull();
      expect(didYouMean(word, keys)).toBeNull();
    },
  );
});
