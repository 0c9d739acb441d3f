import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { EXAMPLES, editorSchema } from '../../src/config/editor-schema.js';
import { validate } from '../../src/config/validate.js';
import { TEST_SECRET } from '../support/domain.js';

const ajv = new Ajv2020({ allErrors: true, strictTypes: false });
const accepts = ajv.compile(editorSchema());

const FILE = {
  endpoints: { shop: { url: 'http://shop', secrets: [TEST_SECRET] } },
  routes: [{ name: 'cancel', match: 'order:{id}', to: 'shop' }],
};

/** The paths and keywords of errors that an editor would mark; an `if` error only repeats another one. */
function errorsOf(file: object): readonly string[] {
  if (accepts(file)) return [];
  return (accepts.errors ?? [])
    .filter(({ keyword }) => keyword !== 'if')
    .map(({ instancePath, keyword }) => `${instancePath} ${keyword}`);
}

const withShop = (more: object) => ({
  ...FILE,
  endpoints: { shop: { ...FILE.endpoints.shop, ...more } },
});
const withRoute = (more: object) => ({ ...FILE, routes: [{ ...FILE.routes[0], ...more }] });

describe('the schema for editors', () => {
  it('has a title and a relative $id', () => {
    expect(editorSchema()).toMatchObject({
      $id: 'relay.schema.json',
      title: 'Configuration of expiry-relay',
    });
  });

  it('has the range of a quantity in its description, and no annotations', () => {
    const text = JSON.stringify(editorSchema());
    expect(text).toContain('"The timeout of one attempt, 1ms to 10m"');
    expect(text).not.toMatch(/"x-(?:type|range|values|reload)"/);
  });

  it('accepts the example file, with its variables', () => {
    const text = readFileSync(new URL('../../relay.example.yaml', import.meta.url), 'utf8');
    expect(text).toMatch(/^# yaml-language-server: \$schema=relay\.schema\.json\n/);
    expect(errorsOf(parse(text))).toEqual([]);
  });

  it.each([
    [withShop({ timeout: '15' }), '/endpoints/shop/timeout pattern'],
    [withShop({ timeout: 15 }), '/endpoints/shop/timeout type'],
    [withShop({ concurrency: 0 }), '/endpoints/shop/concurrency minimum'],
    [withShop({ concurrency: [] }), '/endpoints/shop/concurrency type'],
    [withShop({ allow_link_local: 'yes' }), '/endpoints/shop/allow_link_local enum'],
    [withShop({ allow_link_local: 1 }), '/endpoints/shop/allow_link_local type'],
    [withShop({ secrets: 'nothing' }), '/endpoints/shop/secrets const'],
    [withShop({ secrets: [] }), '/endpoints/shop/secrets minItems'],
    [
      withShop({ secrets: [{ fiel: 'x', file: 'y' }] }),
      '/endpoints/shop/secrets/0 additionalProperties',
    ],
    [withRoute({ method: 'GET' }), '/routes/0/method enum'],
    [withRoute({ match: [] }), '/routes/0/match minItems'],
    [withRoute({ match: 1 }), '/routes/0/match type'],
    [withRoute({ value_max: '1KB' }), '/routes/0/value_max pattern'],
    [{ ...FILE, log: { level: 'loud' } }, '/log/level enum'],
  ])('names one cause for %j: %s', (file, error) => {
    expect(errorsOf(file)).toEqual([error]);
  });

  it.each([
    withShop({ timeout: `\${TIMEOUT}`, concurrency: `\${N}`, allow_link_local: `\${YES}` }),
    withShop({ secrets: ['x', { file: 'y' }], timeout: '1h30m', allow_link_local: 'true' }),
    withRoute({ method: `\${METHOD}`, match: ['a', 'b'], to: ['shop'] }),
    { ...FILE, log: { level: `\${LEVEL:-info}` }, 'x-own': 1 },
  ])('accepts variables and alternatives: %j', (file) => {
    expect(errorsOf(file)).toEqual([]);
  });
});

describe('the examples of the schema', () => {
  const cases = Object.entries(EXAMPLES).flatMap(([path, examples]) =>
    examples.map((example) => [path, example] as const),
  );

  /** A file with the example at its path. */
  function fileWith(path: string, example: unknown): object {
    if (path === '') return example as object;
    const file = structuredClone({
      ...FILE,
      endpoints: { ...FILE.endpoints, audit: FILE.endpoints.shop },
    });
    const steps = path
      .split('.')
      .map((step, at, all) => (step !== '*' ? step : all[at - 1] === 'routes' ? '0' : 'shop'));
    let holder = file as Record<string, unknown>;
    for (const step of steps.slice(0, -1)) {
      holder[step] ??= step === 'sentinel' ? { master: 'mymaster', nodes: ['a'] } : {};
      holder = holder[step] as Record<string, unknown>;
    }
    holder[steps.at(-1) ?? ''] = example;
    if (path === 'routes.*.value_max') holder.include = ['value'];
    return file;
  }

  it.each(cases)('at "%s" is valid: %j', (path, example) => {
    const file = fileWith(path, example);
    expect(errorsOf(file)).toEqual([]);
    const filled = JSON.parse(JSON.stringify(file).replaceAll(/\$\{\w+\}/g, TEST_SECRET));
    expect(validate(filled)).toMatchObject({ ok: true });
  });

  it('belong to keys of the schema', () => {
    const text = JSON.stringify(editorSchema());
    for (const examples of Object.values(EXAMPLES)) {
      expect(text).toContain(`"examples":${JSON.stringify(examples)}`);
    }
  });
});
