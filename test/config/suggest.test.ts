// cspell:ignore enpdoint reids routse
import { describe, expect, it } from 'vitest';
import { type JsonSchema, jsonSchema } from '../../src/config/json-schema.js';
import { didYouMean, findNearest } from '../../src/config/suggest.js';

/** All keys of the file. */
const KEYS = [...new Set(namesIn(jsonSchema()))];

function namesIn(schema: JsonSchema): string[] {
  const { properties = {}, additionalProperties, items, anyOf = [] } = schema;
  const inner = [...Object.values(properties), additionalProperties, items, ...anyOf];
  const schemas = inner.filter((each): each is JsonSchema => typeof each === 'object');
  return [...Object.keys(properties), ...schemas.flatMap(namesIn)];
}

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
  ])('suggests for %s: %s', (word, meant) => {
    expect(findNearest(word, keys)).toBe(meant);
  });

  it('suggests the key for any two exchanged letters', () => {
    for (const word of KEYS) {
      for (let at = 0; at + 1 < word.length; at += 1) {
        const swapped = word.slice(0, at) + word[at + 1] + word[at] + word.slice(at + 2);
        if (KEYS.includes(swapped)) continue;
        expect([swapped, findNearest(swapped, KEYS)]).toEqual([swapped, word]);
      }
    }
  });

  it.each(['tags', 'rate', 'auth', 'pass', 'host', 'uid'])('suggests no key for %s', (word) => {
    expect(findNearest(word, ['url', 'tls', 'path', 'name', 'state', 'to', 'basic'])).toBeNull();
  });

  it.each(['timeout', 'abc', 'lru', 'x', 'into', '', 'x'.repeat(10_000)])(
    'has no suggestion for %s',
    (word) => {
      expect(findNearest(word, keys)).toBeNull();
      expect(didYouMean(word, keys)).toBeNull();
    },
  );
});
