import { describe, expect, it, onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { type Loaded, loadSettings } from '../../src/config/load.js';
import { decideReload } from '../../src/config/reload-decision.js';
import { tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';

type File = Record<string, unknown>;

const OTHER_SECRET = `whsec_${Buffer.alloc(24, 'new').toString('base64')}`;

const shop = { url: 'https://shop/', secrets: [TEST_SECRET] };
const log = { url: 'https://log/', secrets: 'none' };
const cancel = { name: 'cancel', match: 'order:*', to: 'shop' };

/** A complete file with these sections, loaded with these files beside it. */
async function load(given: File = {}, files: Record<string, string> = {}): Promise<Loaded> {
  const file = { endpoints: { shop, log }, routes: [cancel], ...given };
  const folder = await tempFolder({ 'relay.yaml': stringify(file), ...files });
  onTestFinished(() => folder[Symbol.asyncDispose]());
  return loadSettings({ file: undefined, env: {}, cwd: folder.path });
}

const decide = async (before: File, after: File) =>
  decideReload(await load(before), await load(after));

describe('a change that needs a restart', () => {
  it.each([
    [['redis.url'], {}, { redis: { url: 'redis://other' } }],
    [['redis.databases'], {}, { redis: { databases: [0, 1] } }],
    [['redis.notifications'], {}, { redis: { notifications: 'require' } }],
    [['redis.password'], {}, { redis: { password: 'p' } }],
    [['redis.tls'], {}, { redis: { tls: {} } }],
    [
      ['redis.sentinel'],
      { redis: { sentinel: { master: 'm', nodes: ['s1', 's2'] } } },
      { redis: { sentinel: { master: 'm', nodes: ['s1', 's3'] } } },
    ],
    [
      ['redis.cluster'],
      { redis: { cluster: { nodes: ['n1:1'], address_map: { 'a:1': 'b:1' } } } },
      { redis: { cluster: { nodes: ['n1:1'], address_map: { 'a:1': 'b:2' } } } },
    ],
    [['state.prefix'], {}, { state: { prefix: 'other' } }],
    [['state.url'], {}, { state: { url: 'redis://state' } }],
    [['state.kind'], {}, { state: { kind: 'memory' } }],
    [['admin.listen'], {}, { admin: { listen: '127.0.0.1:1' } }],
    [['log.format'], {}, { log: { format: 'json' } }],
    [
      ['redis.url', 'state.prefix', 'admin.listen', 'log.format'],
      {},
      {
        redis: { url: 'redis://other' },
        state: { prefix: 'other', dead_letters: { max: 1 } },
        admin: { listen: '127.0.0.1:1' },
        log: { format: 'json', level: 'debug' },
        routes: [{ ...cancel, name: 'other' }],
      },
    ],
  ])('rejects the whole reload, and is named: %s', async (keys, before, after) => {
    expect(await decide(before, after)).toEqual({ kind: 'restart_required', keys });
  });
});

describe('a change that takes effect at once', () => {
  it.each([
    ['nothing', [], {}, {}],
    [
      'nothing, when a default is written out, or a duration in another unit',
      [],
      { shutdown: { grace: '60s' } },
      { redis: { databases: [0] }, shutdown: { grace: '1m' }, log: { level: 'info' } },
    ],
    ['the log level', ['log.level'], {}, { log: { level: 'debug' } }],
    ['the grace period', ['shutdown.grace'], {}, { shutdown: { grace: '1s' } }],
    ['limits of dead letters', ['state.dead_letters'], {}, { state: { dead_letters: { max: 7 } } }],
    [
      'the grace of unknown endpoints',
      ['state.unknown_endpoint_grace'],
      {},
      { state: { unknown_endpoint_grace: '2h' } },
    ],
    ['a route', ['routes.cancel'], {}, { routes: [{ ...cancel, match: 'cart:*' }] }],
    ['the age of a route', ['routes.cancel'], {}, { routes: [{ ...cancel, max_age: '1h' }] }],
    [
      'the order of routes',
      ['routes'],
      { routes: [cancel, { ...cancel, name: 'copy' }] },
      { routes: [{ ...cancel, name: 'copy' }, cancel] },
    ],
    [
      'a renamed route',
      ['routes.cancel', 'routes.other'],
      {},
      { routes: [{ ...cancel, name: 'other' }] },
    ],
  ])('is %s', async (_, keys, before, after) => {
    const decision = await decide(before, after);
    expect(decision).toMatchObject({ kind: 'apply', changes: { keys } });
  });

  it('names endpoints that were added, removed, renamed and changed', async () => {
    const before = { endpoints: { shop, log, old: log } };
    const changed = { ...shop, secrets: [OTHER_SECRET] };
    const decision = await decide(before, { endpoints: { shop: changed, log, new: log } });
    expect(decision).toMatchObject({
      kind: 'apply',
      changes: {
        keys: ['endpoints.shop', 'endpoints.old', 'endpoints.new'],
        haveRoutes: false,
        added: ['new'],
        removed: ['old'],
        changed: ['shop'],
      },
    });
  });

  it('is the content of a file of an endpoint', async () => {
    const given = { endpoints: { shop: { ...shop, secrets: [{ file: 'key' }] } } };
    const before = await load(given, { key: TEST_SECRET });
    const after = await load(given, { key: OTHER_SECRET });
    expect(decideReload(before, after)).toMatchObject({ changes: { changed: ['shop'] } });
  });

  it('is not the content of a file with a login, which is read before each connection', async () => {
    const given = { redis: { password_file: 'password' } };
    const before = await load(given, { password: 'one' });
    const after = await load(given, { password: 'two' });
    expect(decideReload(before, after)).toMatchObject({ kind: 'apply', changes: { keys: [] } });
  });
});

describe('the settings after a reload', () => {
  it('keep the objects of equal endpoints and routes, and of the logins', async () => {
    const before = await load();
    const after = await load({
      endpoints: { shop, log: { ...log, timeout: '1s' } },
      state: { dead_letters: { max: 7 } },
    });
    const decision = decideReload(before, after);
    if (decision.kind !== 'apply') throw new Error(decision.kind);
    const { settings } = decision;
    expect(settings.endpoints.get('shop')).toBe(before.settings.endpoints.get('shop'));
    expect(settings.endpoints.get('log')).toMatchObject({ timeoutMs: 1_000 });
    expect(settings.routes).toBe(before.settings.routes);
    expect(settings.redis).toBe(before.settings.redis);
    expect(settings.state).toMatchObject({ deadLetters: { countMax: 7 } });
  });
});
