import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { type JsonSchema, jsonSchema } from '../../src/config/json-schema.js';
import { loadSettings } from '../../src/config/load.js';
import { tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';

const cwd = new URL('../..', import.meta.url).pathname;

function keysOf(schema: JsonSchema): string[] {
  const inner = [
    ...Object.values(schema.properties ?? {}),
    schema.items,
    schema.additionalProperties,
    ...(schema.anyOf ?? []),
  ];
  const parts = inner.filter((part): part is JsonSchema => typeof part === 'object');
  return [...Object.keys(schema.properties ?? {}), ...parts.flatMap(keysOf)];
}

describe('relay.example.yaml', () => {
  it('loads with only a secret in the environment', async () => {
    const { settings } = await loadSettings({
      file: 'relay.example.yaml',
      env: { SHOP_WEBHOOK_SECRET: TEST_SECRET },
      cwd,
    });
    expect(settings.endpoints.get('shop')?.secrets[0]?.reveal()).toBe(TEST_SECRET);
    expect(settings.redis).toMatchObject({ host: '127.0.0.1', password: null, databases: [0] });
  });

  it('shows the defaults', async () => {
    await using folder = await tempFolder({
      'relay.yaml':
        'endpoints: {a: {url: "http://a", secrets: none}}\nroutes: [{name: a, match: a, to: a}]',
    });
    const smallest = (await loadSettings({ file: undefined, env: {}, cwd: folder.path })).settings;
    const env = { SHOP_WEBHOOK_SECRET: TEST_SECRET };
    const example = (await loadSettings({ file: 'relay.example.yaml', env, cwd })).settings;
    const { redis, state, admin, log, shutdown } = smallest;
    expect(example).toMatchObject({ redis, state, admin, log, shutdown });
  });

  it('fails without the secret with the command that generates one', async () => {
    await expect(loadSettings({ file: 'relay.example.yaml', env: {}, cwd })).rejects.toThrow(
      'expiry-relay secret',
    );
  });

  it('names every key of the schema, live or commented out', async () => {
    const example = await readFile(`${cwd}/relay.example.yaml`, 'utf8');
    const keys = [...new Set(keysOf(jsonSchema()))];
    const missing = keys.filter((key) => !new RegExp(`^[ #-]*${key}:`, 'm').test(example));
    expect(missing).toEqual([]);
  });
});
