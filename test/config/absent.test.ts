/** Values that count as absent, for every key of the schema. */
import { describe, expect, it } from 'vitest';
import { withoutEmptyTexts } from '../../src/config/absent.js';
import { type JsonSchema, jsonSchema } from '../../src/config/json-schema.js';
import { loadSettings } from '../../src/config/load.js';
import { valueAt } from '../../src/config/path.js';
import { tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';

/** The smallest file, as JSON, which is YAML too. */
const smallest = () => ({
  endpoints: { shop: { url: 'http://shop', secrets: [TEST_SECRET] } } as Record<string, object>,
  routes: [{ name: 'all', match: '*', to: 'shop' }] as object[],
});

async function load(file: object | string, env: Record<string, string> = {}) {
  const text = typeof file === 'string' ? file : JSON.stringify(file);
  await using folder = await tempFolder({ 'relay.yaml': text });
  return (await loadSettings({ file: undefined, env, cwd: folder.path })).settings;
}

const refusal = (file: object | string) =>
  load(file).then(
    () => 'accepted',
    ({ message }: Error) => message,
  );

interface Place {
  readonly path: readonly (string | number)[];
  readonly isRequired: boolean;
}

/** Every key of the file, under an endpoint `shop` and the first route. */
function* placesOf(schema: JsonSchema, path: Place['path'] = []): Generator<Place> {
  for (const { properties, required, additionalProperties, items } of [
    schema,
    ...(schema.anyOf ?? []),
  ]) {
    for (const [key, inner] of Object.entries(properties ?? {})) {
      yield { path: [...path, key], isRequired: required?.includes(key) ?? false };
      yield* placesOf(inner, [...path, key]);
    }
    if (typeof additionalProperties === 'object') {
      const name = path.at(-1) === 'headers' ? 'x-token' : 'shop';
      if (name === 'x-token') yield { path: [...path, name], isRequired: false };
      yield* placesOf(additionalProperties, [...path, name]);
    }
    if (items !== undefined) yield* placesOf(items, [...path, 0]);
  }
}

/** The smallest file with an empty string at `path`, and with the keys required beside it. */
function withEmptyAt(path: Place['path']) {
  const beside: Record<string, object> = {
    'endpoints.shop.basic': { username: 'relay', password: 'p' },
    'redis.sentinel': { master: 'mymaster', nodes: ['a'] },
    'redis.cluster': { nodes: ['a'] },
    'state.cluster': { nodes: ['a'] },
    'state.sentinel': { master: 'mymaster', nodes: ['a'] },
  };
  const file: Record<string, unknown> = smallest();
  let holder = file;
  for (const [at, step] of path.slice(0, -1).entries()) {
    const place = path.slice(0, at + 1).join('.');
    holder[step] ??= structuredClone(beside[place] ?? {});
    holder = holder[step] as Record<string, unknown>;
  }
  holder[path.at(-1) ?? ''] = '';
  return file;
}

const places = [...placesOf(jsonSchema())];
const written = ({ path }: Place) => path.join('.');
/** Mappings and lists stand for many texts; a file in the place of a text needs its name. */
const optional = places.filter(({ isRequired }) => !isRequired).map(written);
const required = places
  .filter(({ isRequired, path }) => isRequired && path.at(-1) !== 'file')
  .map(written);
const pathOf = (place: string) =>
  place.split('.').map((step) => (/^\d+$/.test(step) ? Number(step) : step));

describe('an optional key', () => {
  it('is tested wherever the schema has one', () => {
    expect(optional.length).toBeGreaterThan(45);
    expect(required).toEqual(
      expect.arrayContaining([
        'endpoints.shop.url',
        'endpoints.shop.basic.username',
        'routes.0.to',
      ]),
    );
  });

  it.each(optional)('counts as absent when its text is empty: %s', async (place) => {
    const path = pathOf(place);
    const file = withEmptyAt(path);
    expect(valueAt(withoutEmptyTexts(file), path)).toBeUndefined();
    const without = withoutEmptyTexts(file) as object;
    const outcome = (given: object) => load(given).then(String, ({ message }: Error) => message);
    // An endpoint's password is the one text that another key needs.
    expect(await outcome(file)).toBe(await outcome(without));
    const isNeeded = place === 'endpoints.shop.basic.password';
    expect(await refusal(file)).toEqual(
      isNeeded ? expect.stringContaining('found neither') : 'accepted',
    );
  });

  it.each(required)('differs from a required one, which must not be empty: %s', async (place) => {
    const file = withEmptyAt(pathOf(place));
    expect(withoutEmptyTexts(file)).toEqual(file);
    expect(await refusal(file)).not.toBe('accepted');
  });

  it('has its default where a variable is empty', async () => {
    const file = {
      ...smallest(),
      redis: { url: `\${NONE:-}`, databases: `\${NONE:-}`, tls: { ca_file: `\${NONE:-}` } },
      log: { level: `\${NONE:-}` },
      admin: { listen: `\${NONE:-}` },
    };
    const settings = await load(file);
    expect(settings.redis).toMatchObject({ host: '127.0.0.1', port: 6379, databases: [0] });
    expect(settings.log.level).toBe('info');
    expect(settings.admin.listen).toEqual({ host: '127.0.0.1', port: 9464 });
  });

  it('may be empty inside a body, where every text is sent', async () => {
    const file = smallest();
    file.routes = [{ name: 'all', match: '*', to: 'shop', body: { note: '' } }];
    const [route] = (await load(file)).routes;
    expect(JSON.stringify(route?.format)).toContain('note');
  });
});

describe('a key that begins with x-', () => {
  it('is ignored at the top level, and its anchors can be used elsewhere', async () => {
    const settings = await load(
      [
        'x-defaults: &defaults',
        `  secrets: [${TEST_SECRET}]`,
        '  timeout: 3s',
        `x-text: \${UNSET}`,
        'x-note: {any: [thing, 1, null]}',
        `x-keys: &secrets [${TEST_SECRET}]`,
        'endpoints:',
        '  shop: {<<: *defaults, url: http://shop}',
        '  mail: {url: http://mail, secrets: *secrets}',
        'routes:',
        '  - {name: all, match: "*", to: shop}',
      ].join('\n'),
    );
    expect(settings.endpoints.get('shop')).toMatchObject({ timeoutMs: 3_000 });
    expect(settings.endpoints.get('mail')?.secrets).toHaveLength(1);
  });

  it('is known to editors', () => {
    expect(jsonSchema().patternProperties).toMatchObject({ '^x-': { description: /.+/ } });
  });

  it.each(['redis', 'state', 'log'])('is unknown inside %s', async (section) => {
    const message = await refusal({ ...smallest(), [section]: { 'x-a': 1 } });
    expect(message).toContain(`${section}: unknown key "x-a"`);
  });

  it.each(['x', 'X-a', 'xa'])('must have exactly this prefix: %s', async (key) => {
    expect(await refusal({ ...smallest(), [key]: 1 })).toContain(`unknown key "${key}"`);
  });
});

describe('the secrets of an endpoint', () => {
  const withSecrets = (secrets: unknown) => ({
    ...smallest(),
    endpoints: { shop: { url: 'http://shop', secrets } },
  });
  const revealed = async (secrets: unknown, env: Record<string, string> = {}) => {
    const { endpoints } = await load(withSecrets(secrets), env);
    return endpoints.get('shop')?.secrets.map((secret) => secret.reveal());
  };

  it.each([
    ['an empty string', ['', TEST_SECRET]],
    ['an empty variable', [TEST_SECRET, `\${NEXT:-}`]],
    ['an empty file', [{ file: '/dev/null' }, TEST_SECRET]],
    ['several of them', [{ file: '/dev/null' }, '', TEST_SECRET, `\${NEXT:-}`]],
  ])('ignore %s beside a valid one', async (_, secrets) => {
    expect(await revealed(secrets)).toEqual([TEST_SECRET]);
  });

  it.each([
    ['texts', ['', `\${NEXT:-}`], 'secrets[0]: expected whsec_', 'found an empty string'],
    ['files', [{ file: '/dev/null' }], 'secrets[0].file: expected a file', 'found an empty file'],
    ['both', ['', { file: '/dev/null' }], 'secrets[0]: expected', 'secrets[1].file: expected'],
  ])('are refused where there are only empty %s', async (_, secrets, ...parts) => {
    const message = await refusal(withSecrets(secrets));
    for (const each of parts) expect(message).toContain(each);
  });

  it('are refused for one that is wrong beside an empty one', async () => {
    const message = await refusal(withSecrets(['', 'hunter2']));
    expect(message.split('\n')).toHaveLength(1);
    expect(message).toContain('secrets[1]: expected whsec_');
  });

  it('are refused where the list is empty or an empty string', async () => {
    expect(await refusal(withSecrets(''))).toContain('found an empty string');
    expect(await refusal(withSecrets([]))).toContain('found an empty list');
  });
});

it('explains the prefix of custom keys', async () => {
  const { message } = await load({ ...smallest(), defaults: {} }).catch((error) => error);
  expect(message).toContain('keys for your own use begin with x-, such as x-defaults');
});

it('explains how to write a password without a user in a URL', async () => {
  const file = { ...smallest(), redis: { url: 'redis://secret1@host' } };
  expect(await refusal(file)).toContain('found none (a password alone is redis://:PASSWORD@HOST)');
});

describe('body: none', () => {
  const routeWith = (given: object) => ({
    ...smallest(),
    routes: [{ name: 'all', match: '*', to: 'shop', body: 'none', ...given }],
  });

  it('is a request without a body', async () => {
    const { routes } = await load(routeWith({ method: 'DELETE' }));
    expect(routes).toMatchObject([{ format: { kind: 'none' }, method: 'DELETE' }]);
  });

  it.each([
    { content_type: 'application/json' },
    { include: ['value'] },
    { lookup: 'order' },
    { format: 'cloudevents' },
  ])('is refused beside keys that would be ignored: %j', async (given) => {
    expect(await refusal(routeWith(given))).toMatch(/found (it beside body: none|both)/);
  });

  it.each(['None', ' none', 'none\n'])('differs from the string %j', async (body) => {
    expect(await refusal(routeWith({ body }))).toContain('write none exactly to send no body');
  });
});
