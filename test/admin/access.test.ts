import { request } from 'undici';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isClosed } from '../../src/admin/access.js';
import { startAdmin } from '../../src/admin/server.js';
import { systemClock } from '../../src/lib/clock.js';
import type { ReloadResult } from '../../src/model/reload.js';
import { Secret } from '../../src/model/secret.js';
import type { PageSettings } from '../../src/model/vocabulary.js';

const OPEN: PageSettings = {
  enabled: true,
  readOnly: false,
  authorization: null,
  allowedHosts: [],
};

const basic = (text: string) => `Basic ${btoa(text)}`;
const LOGIN = { authorization: basic('ops:p w') };

interface Given {
  readonly page?: Partial<PageSettings>;
  readonly listen?: string;
  readonly result?: ReloadResult;
}

/** The API of an admin port, with a clock that is ahead by `clock.aheadMs`. */
async function anApi({ page = {}, listen = '127.0.0.1', result }: Given = {}) {
  const clock = { aheadMs: 0 };
  let reloads = 0;
  const admin = await startAdmin({
    listen: { host: listen, port: 0 },
    checks: () => [],
    page: () => ({ ...OPEN, ...page }),
    reload: async () => {
      reloads += 1;
      return result ?? { kind: 'applied', keys: ['routes.cancel'] };
    },
    metrics: async () => '',
    metricsType: '',
    clock: { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + clock.aheadMs },
    connectionsMax: 100,
    onClosed: () => undefined,
    onError: () => undefined,
  });
  onTestFinished(() => admin.close());
  const { port } = admin.address;
  const ask = async (
    headers: Record<string, string> = {},
    method: 'POST' | 'GET' = 'POST',
    path = '/api/v1/reload',
  ) => {
    const response = await request(`http://127.0.0.1:${port}${path}`, { method, headers });
    const text = await response.body.text();
    return { status: response.statusCode, headers: response.headers, text };
  };
  const origin = `http://127.0.0.1:${port}`;
  return { ask, port, origin, clock, reloads: () => reloads };
}

const withLogin = { authorization: new Secret(LOGIN.authorization) };

describe('a request that changes something', () => {
  it('is allowed on this machine from the page of the port itself', async () => {
    const { ask, origin, reloads } = await anApi();
    const { status, headers, text } = await ask({ origin });
    expect({ status, type: headers['content-type'] }).toEqual({
      status: 200,
      type: 'application/json',
    });
    expect(JSON.parse(text)).toEqual({ result: 'applied', changed: ['routes.cancel'] });
    expect(reloads()).toBe(1);
  });

  it.each([
    ['without an origin', {}],
    ['of another site', { origin: 'https://evil.example' }],
    ['of another port', { origin: 'http://127.0.0.1:1' }],
    ['of a sandboxed page', { origin: 'null' }],
    ['of another site, with credentials', { origin: 'https://evil.example', ...LOGIN }],
  ])('is refused %s', async (_, headers) => {
    const { ask, reloads } = await anApi();
    const { status, text } = await ask(headers);
    expect(status).toBe(403);
    expect(JSON.parse(text).error).toMatch(/Origin/);
    expect(reloads()).toBe(0);
  });

  it('is allowed with a login and without an origin, unless it has a cookie', async () => {
    const { ask, reloads } = await anApi({ page: withLogin });
    expect((await ask(LOGIN)).status).toBe(200);
    expect((await ask({ ...LOGIN, cookie: 'a=b' })).status).toBe(403);
    expect(reloads()).toBe(1);
  });

  it('is refused by a read-only API, after the login', async () => {
    const { ask, reloads } = await anApi({ page: { ...withLogin, readOnly: true } });
    expect((await ask({ authorization: basic('ops:wrong') })).status).toBe(401);
    const { status, text } = await ask(LOGIN);
    expect(status).toBe(403);
    expect(text).toContain('admin.page.read_only');
    expect(reloads()).toBe(0);
  });
});

describe('the name of the host', () => {
  it.each([
    ['localhost', 200],
    ['127.0.0.2', 200],
    ['[::1]', 200],
    ['relay.internal', 200],
    ['RELAY.internal', 200],
    ['evil.example', 403],
    ['127.0.0.1.evil.example', 403],
    ['10.0.0.1', 403],
  ])('%s is answered with %i', async (host, expected) => {
    const page = { ...withLogin, allowedHosts: ['relay.internal'] };
    const { ask, port } = await anApi({ page });
    const { status, text } = await ask({ ...LOGIN, host: `${host}:${port}` });
    expect(status).toBe(expected);
    if (expected === 403) expect(text).toContain('admin.page.allowed_hosts');
  });
});

describe('an API with a login', () => {
  it.each([
    ['none', {}],
    ['a wrong password', { authorization: basic('ops:wrong') }],
    ['a wrong user', { authorization: basic('root:p w') }],
    ['another scheme', { authorization: 'Bearer abc' }],
  ])('asks for it when there is %s', async (_, given) => {
    const { ask, origin, reloads } = await anApi({ page: withLogin });
    const { status, headers } = await ask({ origin, ...given });
    expect(status).toBe(401);
    expect(headers['www-authenticate']).toMatch(/^Basic realm=/);
    expect(reloads()).toBe(0);
  });

  it('lets an address that has failed five times try once in ten seconds', async () => {
    const { ask, clock } = await anApi({ page: withLogin });
    const wrong = { authorization: basic('ops:wrong') };
    for (let n = 0; n < 5; n += 1) expect((await ask(wrong)).status).toBe(401);
    const { status, headers, text } = await ask(LOGIN);
    expect(status).toBe(429);
    expect(Number(headers['retry-after'])).toBeGreaterThan(8);
    expect(text).toContain('10 s');
    clock.aheadMs += 10_000;
    expect((await ask(wrong)).status).toBe(401);
    expect((await ask(LOGIN)).status).toBe(429);
    clock.aheadMs += 10_000;
    expect((await ask(LOGIN)).status).toBe(200);
    expect((await ask(wrong)).status).toBe(401);
    expect((await ask(LOGIN)).status).toBe(200);
  });
});

describe('an API without credentials', () => {
  it('is closed where other machines can reach it; probes and metrics are not', async () => {
    const { ask, origin, reloads } = await anApi({ listen: '0.0.0.0' });
    const { status, text } = await ask({ origin });
    expect(status).toBe(403);
    expect(text).toContain('admin.page.password_file');
    expect((await ask({}, 'GET', '/livez')).status).toBe(200);
    expect((await ask({}, 'GET', '/metrics')).status).toBe(200);
    expect(reloads()).toBe(0);
  });

  it.each([
    ['127.0.0.1', false],
    ['127.8.0.1', false],
    ['::1', false],
    ['localhost', false],
    ['0.0.0.0', true],
    ['::', true],
    ['192.168.0.1', true],
  ])('on %s is closed: %s', (host, closed) => {
    expect(isClosed(OPEN, { host, port: 1 })).toBe(closed);
    expect(isClosed({ ...OPEN, ...withLogin }, { host, port: 1 })).toBe(false);
  });
});

describe('the API', () => {
  it('does not exist if it is disabled', async () => {
    const { ask, origin, reloads } = await anApi({ page: { enabled: false } });
    expect((await ask({ origin })).status).toBe(404);
    expect(reloads()).toBe(0);
  });

  it('names the method of a path, and its paths', async () => {
    const { ask } = await anApi();
    const { status, headers } = await ask({}, 'GET');
    expect({ status, allow: headers.allow }).toEqual({ status: 405, allow: 'POST' });
    const unknown = await ask({}, 'GET', '/api/v1/other');
    expect(unknown.status).toBe(404);
    expect(unknown.text).toContain('/api/v1/reload');
  });

  it.each<[ReloadResult, number, object]>([
    [
      { kind: 'invalid', mistakes: ['relay.yaml:1:1: bad'] },
      422,
      { result: 'invalid', error: expect.any(String), mistakes: ['relay.yaml:1:1: bad'] },
    ],
    [
      { kind: 'restart_required', keys: ['redis.url'] },
      409,
      {
        result: 'restart_required',
        error: expect.stringMatching(/^restart required/),
        changed: ['redis.url'],
      },
    ],
  ])('reports a reload that is rejected: %o', async (result, expected, body) => {
    const { ask, origin } = await anApi({ result });
    const { status, text } = await ask({ origin });
    expect(status).toBe(expected);
    expect(JSON.parse(text)).toEqual(body);
  });
});
