import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { type Check, startAdmin } from '../../src/admin/server.js';
import { systemClock } from '../../src/lib/clock.js';
import { ListenError } from '../../src/model/errors.js';
import { API_PARTS } from '../support/domain.js';

async function withAdmin(
  checks: () => Check[],
  use: (get: (path: string, method?: 'GET' | 'POST') => Promise<[number, string]>) => Promise<void>,
): Promise<void> {
  const admin = await startAdmin({
    ...API_PARTS,
    listen: { host: '127.0.0.1', port: 0 },
    checks,
    metrics: async () => 'expiry_relay_up 1\n',
    metricsType: 'text/plain; version=0.0.4',
    clock: systemClock,
    connectionsMax: 100,
    onClosed: () => undefined,
    onError: () => undefined,
  });
  try {
    await use(async (path, method = 'GET') => {
      const url = `http://127.0.0.1:${admin.address.port}${path}`;
      const { statusCode, body } = await request(url, { method });
      return [statusCode, await body.text()];
    });
  } finally {
    await admin.close();
  }
}

const fine: Check[] = [
  { name: 'subscribed', problem: null },
  { name: 'canary', problem: null },
];
const broken: Check[] = [
  { name: 'subscribed', problem: null },
  { name: 'canary', problem: 'lost' },
];

describe('the admin port', () => {
  it('reports that it lives, for any result of the checks', () =>
    withAdmin(
      () => broken,
      async (get) => {
        expect(await get('/livez')).toEqual([200, 'ok\n']);
        expect(await get('/healthz')).toEqual([200, 'ok\n']);
      },
    ));

  it('reports that it is ready, and lists the checks with ?verbose', () =>
    withAdmin(
      () => fine,
      async (get) => {
        expect(await get('/readyz')).toEqual([200, 'ok\n']);
        expect(await get('/readyz?verbose')).toEqual([
          200,
          '[+] subscribed: ok\n[+] canary: ok\nok\n',
        ]);
      },
    ));

  it('reports the failed checks if it is not ready', () =>
    withAdmin(
      () => broken,
      async (get) => {
        expect(await get('/readyz')).toEqual([
          503,
          '[+] subscribed: ok\n[-] canary: lost\nnot ready\n',
        ]);
      },
    ));

  it('serves metrics, refuses other methods and unknown paths', () =>
    withAdmin(
      () => fine,
      async (get) => {
        expect(await get('/metrics')).toEqual([200, 'expiry_relay_up 1\n']);
        expect((await get('/metrics', 'POST'))[0]).toBe(405);
        expect((await get('/'))[0]).toBe(404);
      },
    ));

  it('names the address that is in use', async () => {
    const first = await startAdmin({
      ...API_PARTS,
      listen: { host: '127.0.0.1', port: 0 },
      checks: () => fine,
      metrics: async () => '',
      metricsType: '',
      clock: systemClock,
      connectionsMax: 100,
      onClosed: () => undefined,
      onError: () => undefined,
    });
    const second = startAdmin({
      ...API_PARTS,
      listen: first.address,
      checks: () => fine,
      metrics: async () => '',
      metricsType: '',
      clock: systemClock,
      connectionsMax: 100,
      onClosed: () => undefined,
      onError: () => undefined,
    });
    await expect(second).rejects.toThrow(ListenError);
    await expect(second).rejects.toThrow(`127.0.0.1:${first.address.port}`);
    await first.close();
  });
});
