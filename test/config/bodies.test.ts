import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { BODY_VALUES_MAX } from '../../src/config/bodies.js';
import { loadSettings } from '../../src/config/load.js';
import { tempFolder } from '../support/cli.js';

async function load(route: object, env: Record<string, string> = {}, more: object = {}) {
  const endpoints = { shop: { url: 'http://shop', secrets: 'none' } };
  const routes = [{ name: 'a', match: 'order:{id}', to: 'shop', ...route }];
  await using folder = await tempFolder({
    'relay.yaml': stringify({ endpoints, routes, ...more }),
  });
  return (await loadSettings({ file: undefined, env, cwd: folder.path })).settings.routes[0];
}

const mistakesOf = (...args: Parameters<typeof load>) =>
  load(...args).then(
    () => 'accepted',
    (thrown: Error) => thrown.message,
  );

describe("a route's body", () => {
  it('is in the standard format, by POST, by default', async () => {
    expect(await load({})).toMatchObject({ method: 'POST', format: { kind: 'standard' } });
  });

  it("names the relay's state as the source of CloudEvents", async () => {
    const state = { prefix: 'shop.eu' };
    expect(await load({ format: 'cloudevents' }, {}, { state })).toMatchObject({
      format: { kind: 'cloudevents', source: '/expiry-relay/shop.eu' },
    });
  });

  it('may be a template, compiled', async () => {
    expect(await load({ body: { order: '{id}', at: 'x' }, method: 'PUT' })).toMatchObject({
      method: 'PUT',
      format: {
        kind: 'template',
        contentType: 'application/json',
        pieces: [
          '{"at":"x","order":',
          { reference: { name: 'id', fields: [] }, writing: 'json_value' },
          '}',
        ],
      },
    });
  });

  it('may hold variables, whose values no error shows', async () => {
    expect(await load({ body: '${TEXT}' }, { TEXT: 'for {id}' })).toMatchObject({
      format: { pieces: ['"for ', { reference: { name: 'id' } }, '"'] },
    });
    const wrong = await mistakesOf({ body: '${TEXT}' }, { TEXT: 'hush {hunter}' });
    expect(wrong).toMatch(/routes\[0\]\.body: expected known names/);
    expect(wrong).not.toMatch(/hush|hunter/);
  });

  it('causes one error where a variable is unset', async () => {
    const message = await mistakesOf({ body: { order: '${UNSET}' } });
    expect(message.split('\n')).toHaveLength(1);
    expect(message).toContain('routes[0].body.order: the environment variable UNSET');
  });

  it('accepts a mapping of one custom key, with any name', async () => {
    expect(await load({ body: { id: 0 } })).toMatchObject({ format: { pieces: ['{"id":0}'] } });
    expect(await load({ body: { other: null } })).toMatchObject({
      format: { pieces: ['{"other":null}'] },
    });
  });

  it('has a bounded number of values', async () => {
    const body = Array.from({ length: BODY_VALUES_MAX }, () => 'x');
    expect(await mistakesOf({ body })).toContain(`expected at most ${BODY_VALUES_MAX} values`);
    expect(await mistakesOf({ body: body.slice(1) })).toBe('accepted');
  });

  it('cannot have the placeholder {test} in a header', async () => {
    const endpoints = {
      shop: { url: 'http://shop', secrets: 'none', headers: { 'Expiry-Relay-Test': 'true' } },
    };
    expect(await mistakesOf({}, {}, { endpoints })).toContain(
      'expected a header that the relay does not set',
    );
  });
});
