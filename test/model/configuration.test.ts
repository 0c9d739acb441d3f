import { describe, expect, it } from 'vitest';
import { loadSettings } from '../../src/config/load.js';
import { configurationOf } from '../../src/model/configuration.js';
import { tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';

const SECOND_SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

const FILE = `
redis: {url: 'redis://127.0.0.1:6379', databases: [0, 3]}
endpoints:
  shop: {url: 'http://shop:8080/hooks', secrets: ['${TEST_SECRET}'], timeout: 5s}
routes:
  - {name: orders, match: 'order:{id}', to: shop}
`;

async function digestOf(file: string): Promise<string> {
  await using folder = await tempFolder({ 'relay.yaml': file });
  const { settings } = await loadSettings({ file: undefined, env: {}, cwd: folder.path });
  return configurationOf(settings).digest;
}

describe('two files have one configuration', () => {
  it.each([
    ['a secret is rotated', TEST_SECRET, SECOND_SECRET],
    ['limits are changed', 'timeout: 5s', 'timeout: 9s'],
    ['databases stand in another order', '[0, 3]', '[3, 0]'],
    ['the watched server has another name', '127.0.0.1:6379', 'redis:6379'],
  ])('though %s', async (_, from, to) => {
    expect(FILE).toContain(from);
    expect(await digestOf(FILE.replace(from, to))).toBe(await digestOf(FILE));
  });
});

describe('two files have different configurations', () => {
  it.each([
    ['a pattern is', 'order:{id}', 'order:{id}:unpaid'],
    ["a route's name is", 'name: orders', 'name: others'],
    ['what a route sends is', 'to: shop}', 'to: shop, format: cloudevents}'],
    ['what is done with an inferred expiration is', 'to: shop}', 'to: shop, on_ambiguous: skip}'],
    ['the databases are', '[0, 3]', '[0]'],
    ["an endpoint's URL is", 'shop:8080', 'shop:8081'],
  ])('when %s another', async (_, from, to) => {
    expect(FILE).toContain(from);
    expect(await digestOf(FILE.replace(from, to))).not.toBe(await digestOf(FILE));
  });
});

it('contains no URL, which may hold a secret', async () => {
  await using folder = await tempFolder({ 'relay.yaml': FILE });
  const { settings } = await loadSettings({ file: undefined, env: {}, cwd: folder.path });
  expect(JSON.stringify([...configurationOf(settings).endpoints])).not.toContain('8080');
});
