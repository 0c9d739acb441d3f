import { describe, expect, it } from 'vitest';
import { type JsonSchema, jsonSchema } from '../../src/config/json-schema.js';

function* propertiesOf(schema: JsonSchema, path = ''): Generator<[string, JsonSchema]> {
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    yield [`${path}.${name}`, property];
    yield* propertiesOf(property, `${path}.${name}`);
  }
  const inner = [schema.items, schema.additionalProperties, ...(schema.anyOf ?? [])];
  for (const part of inner) if (typeof part === 'object') yield* propertiesOf(part, path);
}

describe('jsonSchema', () => {
  const properties = [...propertiesOf(jsonSchema())];

  it('describes every key', () => {
    expect(properties.length).toBeGreaterThan(40);
    expect(properties.filter(([, { description }]) => !description)).toEqual([]);
  });

  it('writes defaults as in the file', () => {
    const defaults = Object.fromEntries(properties.map(([path, schema]) => [path, schema.default]));
    expect(defaults).toMatchObject({
      '.endpoints.timeout': '15s',
      '.endpoints.concurrency': 32,
      '.redis.url': 'redis://127.0.0.1:6379',
      '.state.kind': 'redis',
      '.state.dead_letters.keep': '30d',
      '.log.level': 'info',
    });
  });

  it('requires only endpoints and routes, and allows no unknown keys', () => {
    expect(jsonSchema()).toMatchObject({
      required: ['endpoints', 'routes'],
      additionalProperties: false,
    });
  });

  it('allows a variable in place of a word or a duration', () => {
    const timeout = properties.find(([path]) => path === '.endpoints.timeout')?.[1];
    const patterns = (timeout?.anyOf ?? []).map(({ pattern }) => new RegExp(String(pattern)));
    const fits = (text: string) => patterns.some((pattern) => pattern.test(text));
    expect([fits('15s'), fits(`\${TIMEOUT:-15s}`), fits('15')]).toEqual([true, true, false]);
  });
});
