/** What docs/values.md shows, as it stands there. */
import { expect, it } from 'vitest';
import { loadSettings } from '../../src/config/load.js';
import { rightsInRedis } from '../../src/doctor/rights.js';
import { tempFolder } from '../support/cli.js';
import { blockOf } from '../support/doc-pages.js';
import { TEST_SECRET } from '../support/domain.js';

const PAGE = 'docs/values.md';

async function theFile() {
  await using folder = await tempFolder({ 'relay.yaml': blockOf(PAGE, 'yaml', 'routes:') });
  const env = { SHOP_WEBHOOK_SECRET: TEST_SECRET };
  return (await loadSettings({ file: undefined, env, cwd: folder.path })).settings;
}

it('its file asks for values in both ways', async () => {
  const { routes } = await theFile();
  expect(routes).toMatchObject([
    { name: 'session-ended', includesValue: true, lookup: null, valueBytesMax: 16 * 1024 },
    { name: 'cancel-unpaid-order', includesValue: false, lookup: 'order:{id}' },
  ]);
});

it('its rights are those that such a file needs beside the others', async () => {
  const settings = await theFile();
  const abilities = {
    hasReadRules: true,
    hasPexpiretime: true,
    hasNoTouch: false,
    evictsByUse: false,
  };
  const rulesOf = (given: typeof settings) =>
    rightsInRedis(given, abilities).rights.map(({ rule }) => rule);
  const plain = settings.routes.map((route) => ({ ...route, includesValue: false, lookup: null }));
  const without = rulesOf({ ...settings, routes: plain });
  const more = rulesOf(settings).filter((rule) => !without.includes(rule));
  const listed = blockOf(PAGE, 'sh', 'ACL SETUSER').replaceAll("'", '').match(/\+\S+/g);
  expect([...(listed ?? []), '%R~order:*'].sort()).toEqual(more.sort());
});
