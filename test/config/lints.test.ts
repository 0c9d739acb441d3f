import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { checkFile } from '../../src/config/load.js';
import { tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';

const SHOP = { url: 'https://shop/hooks', secrets: [TEST_SECRET] };
const ROUTE = { name: 'cancel', match: 'order:{id}', to: 'shop' };

async function warningsOf(file: object, withEnvironment = true): Promise<readonly string[]> {
  await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
  const at = { file: 'relay.yaml', env: {}, cwd: folder.path, withEnvironment };
  const { mistakes, warnings } = await checkFile(at);
  expect(mistakes).toEqual([]);
  return warnings.map(({ line, column, message }) => `${line}:${column}: ${message}`);
}

const withShop = (more: object, rest: object = {}) => ({
  endpoints: { shop: { ...SHOP, ...more } },
  routes: [ROUTE],
  ...rest,
});

describe('a check warns', () => {
  it('about nothing in a minimal file', async () => {
    expect(await warningsOf(withShop({}))).toEqual([]);
  });

  it('of patterns that match every key', async () => {
    const routes = [
      { ...ROUTE, match: '*' },
      { ...ROUTE, name: 'more', match: ['order:*', '**'] },
    ];
    expect(await warningsOf(withShop({}, { routes }))).toEqual([
      '8:12: routes[0].match: matches every key; the relay tracks the deadlines of the whole database',
      '13:9: routes[1].match[1]: matches every key; the relay tracks the deadlines of the whole database',
    ]);
  });

  it('of an endpoint that no route uses', async () => {
    const endpoints = { shop: SHOP, audit: SHOP, tax: SHOP };
    const routes = [{ ...ROUTE, to: ['shop', 'tax'] }];
    expect(await warningsOf({ endpoints, routes })).toEqual([
      '6:3: endpoints.audit: no route uses this endpoint',
    ]);
  });

  it('of no unused endpoint while a name contains an unset variable', async () => {
    const endpoints = { shop: SHOP, audit: SHOP };
    const routes = [{ ...ROUTE, to: `\${TARGET}` }];
    expect(await warningsOf({ endpoints, routes }, false)).toEqual([]);
  });

  it('of unsigned webhooks over http', async () => {
    const unsigned = { secrets: 'none' };
    expect(await warningsOf(withShop({ ...unsigned, url: 'http://shop' }))).toEqual([
      '4:14: endpoints.shop.secrets: unsigned webhooks over http:// can be forged by anyone who reaches the endpoint',
    ]);
    expect(await warningsOf(withShop(unsigned))).toEqual([]);
    expect(await warningsOf(withShop({ url: 'http://shop' }))).toEqual([]);
  });

  it('of a timeout above shutdown.grace, also of a default', async () => {
    expect(await warningsOf(withShop({ timeout: '26s' }))).toEqual([
      '6:14: endpoints.shop.timeout: timeout (26s) is longer than shutdown.grace (25s): a stop may cut attempts off, and they are sent again',
    ]);
    expect(await warningsOf(withShop({ timeout: '25s' }))).toEqual([]);
    expect(await warningsOf(withShop({}, { shutdown: { grace: '14s' } }))).toHaveLength(1);
  });

  it('of retries that end within a minute', async () => {
    const retry = (schedule: readonly string[]) => withShop({ retry: { schedule } });
    expect(await warningsOf(retry(['1s', '58s']))).toEqual([
      '8:9: endpoints.shop.retry.schedule: the last retry is 59s after the first attempt: a restart of the receiver may take longer',
    ]);
    expect(await warningsOf(retry([]))).toEqual([
      '7:17: endpoints.shop.retry.schedule: no retries: a restart of the receiver may take longer',
    ]);
    expect(await warningsOf(retry(['1s', '59s']))).toEqual([]);
  });
});

describe('a check without the environment', () => {
  const file = {
    redis: { url: `redis://\${HOST}:\${PORT:-6379}`, password_file: '/nowhere/password' },
    endpoints: {
      shop: {
        url: `\${SHOP_URL:?set it}`,
        secrets: [`\${SECRET}`, { file: 'no-such-file' }],
        tls: { ca_file: 'no-such-ca.pem' },
        timeout: `\${TIMEOUT}`,
      },
    },
    routes: [{ ...ROUTE, match: `\${PATTERN}`, path: '/orders/{id}' }],
  };

  it('needs neither variables nor secret files', async () => {
    expect(await warningsOf(file, false)).toEqual([]);
  });

  it('still finds other errors, and malformed variables', async () => {
    const text = stringify({ ...file, admin: { listen: `\${` }, log: { level: 'loud' } });
    await using folder = await tempFolder({ 'relay.yaml': text });
    const at = { file: 'relay.yaml', env: {}, cwd: folder.path, withEnvironment: false };
    const { mistakes, settings } = await checkFile(at);
    expect(mistakes.map(({ message }) => message.replace(/:.*/, ''))).toEqual([
      'admin.listen',
      'log.level',
    ]);
    expect(settings).toBeNull();
  });

  it('uses the default of a variable', async () => {
    const text = stringify({ ...file, shutdown: { grace: `\${GRACE:-soon}` } });
    await using folder = await tempFolder({ 'relay.yaml': text });
    const at = { file: 'relay.yaml', env: { GRACE: '1s' }, cwd: folder.path };
    const { mistakes } = await checkFile({ ...at, withEnvironment: false });
    expect(mistakes.map(({ message }) => message)).toEqual([
      expect.stringContaining('shutdown.grace: expected a duration'),
    ]);
  });
});
