import { execFileSync } from 'node:child_process';
import fs, { rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { generate } from 'selfsigned';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { stringify } from 'yaml';
import { loadSettings } from '../../src/config/load.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { selfSigned } from '../support/certificate.js';
import { tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';
import { MountedSecret } from '../support/mounted-secret.js';

const NEW_SECRET = `whsec_${Buffer.alloc(24, 'new').toString('base64')}`;

/** Replaces `open` of node:fs/promises for all modules, until the test ends. */
function spyOnOpen() {
  const spy = vi.spyOn(fs, 'open');
  syncBuiltinESMExports();
  onTestFinished(() => {
    spy.mockRestore();
    syncBuiltinESMExports();
  });
  return spy;
}

/** The one endpoint of a file. */
async function load(given: Record<string, unknown>): Promise<Endpoint> {
  const shop = { url: 'https://shop/', secrets: 'none', ...given };
  const routes = [{ name: 'all', match: '*', to: 'shop' }];
  await using folder = await tempFolder({
    'relay.yaml': stringify({ endpoints: { shop }, routes }),
  });
  const { settings } = await loadSettings({ file: undefined, env: {}, cwd: folder.path });
  const endpoint = settings.endpoints.get('shop');
  if (endpoint === undefined) throw new Error('no endpoint');
  return endpoint;
}

const shown = ({ secrets, headers }: Endpoint) => ({
  secrets: secrets.map((secret) => secret.reveal()),
  headers: Object.fromEntries(Object.entries(headers).map(([name, v]) => [name, v.reveal()])),
});

const basic = (user: string, password: string) => `Basic ${btoa(`${user}:${password}`)}`;

describe('an endpoint', () => {
  it('has its basic authentication as a header', async () => {
    const endpoint = await load({ basic: { username: 'relay', password: 'p:w' } });
    expect(shown(endpoint).headers).toEqual({ authorization: basic('relay', 'p:w') });
    expect(endpoint.files).toBeNull();
  });

  it('has its proxy without the login, and none when the value is empty', async () => {
    const { proxy } = await load({ proxy: 'http://u:p%40@proxy:3128' });
    expect(proxy?.url.href).toBe('http://proxy:3128/');
    expect(proxy?.authorization?.reveal()).toBe(basic('u', 'p@'));
    expect((await load({ proxy: 'https://proxy' })).proxy?.authorization).toBeNull();
    expect((await load({ proxy: '' })).proxy).toBeNull();
  });

  it('may be allowed at a forbidden address, by a string as well', async () => {
    const url = 'https://169.254.1.1/';
    expect((await load({ url, allow_link_local: true })).allowLinkLocal).toBe(true);
    expect((await load({ url, allow_link_local: 'true' })).allowLinkLocal).toBe(true);
    await expect(load({ url, allow_link_local: 'false' })).rejects.toThrow('allow_link_local');
  });
});

describe('the files of an endpoint', () => {
  it('are read at the start, and are the same until they change', async () => {
    await using mounted = await MountedSecret.mount({ key: `${TEST_SECRET}\n`, token: 't 1\n' });
    await using own = await tempFolder({ password: 'p' });
    const endpoint = await load({
      secrets: [{ file: mounted.file('key') }, NEW_SECRET],
      headers: { 'X-Token': { file: mounted.file('token') }, 'x-other': 'o' },
      basic: { username: 'relay', password_file: `${own.path}/password` },
    });
    const headers = { 'x-other': 'o', 'x-token': 't 1', authorization: basic('relay', 'p') };
    expect(shown(endpoint)).toEqual({ secrets: [TEST_SECRET, NEW_SECRET], headers });
    expect(await endpoint.files?.look()).toEqual({ kind: 'same' });

    await mounted.swap({ key: NEW_SECRET, token: 't 2' });
    const found = await endpoint.files?.look();
    expect(found?.kind === 'changed' && shown(found.held)).toEqual({
      secrets: [NEW_SECRET, NEW_SECRET],
      headers: { ...headers, 'x-token': 't 2' },
    });
    expect(await endpoint.files?.look()).toEqual({ kind: 'same' });

    await writeFile(`${own.path}/password`, 'p');
    expect(await endpoint.files?.look()).toEqual({ kind: 'same' });
    await writeFile(`${own.path}/password`, 'q');
    const later = await endpoint.files?.look();
    expect(later?.kind === 'changed' && shown(later.held).headers.authorization).toBe(
      basic('relay', 'q'),
    );
  });

  it('are unusable while one is missing, empty or invalid, and no secret is in the message', async () => {
    await using mounted = await MountedSecret.mount({ key: TEST_SECRET });
    const { files } = await load({ secrets: [{ file: mounted.file('key') }] });
    const problemAfter = async (held: Record<string, string>) => {
      await mounted.swap(held);
      const found = await files?.look();
      expect(await files?.look()).not.toMatchObject({ kind: 'changed' });
      return found?.kind === 'unusable' ? found.problem : found?.kind;
    };
    expect(await problemAfter({})).toBe(
      'endpoints.shop.secrets[0].file: expected a readable file, ' +
        `found "${mounted.file('key')}" (no such file)`,
    );
    expect(await problemAfter({ key: '\n' })).toContain('found an empty file');
    const nonsense = await problemAfter({ key: 'hunter2hunter2' });
    expect(nonsense).toContain('without the prefix whsec_');
    expect(nonsense).not.toContain('hunter2');
    expect(await problemAfter({ key: NEW_SECRET })).toBe('changed');
  });

  it('are read again after a failed reading, even if they have not changed', async () => {
    await using mounted = await MountedSecret.mount({ key: TEST_SECRET });
    const { files } = await load({ secrets: [{ file: mounted.file('key') }] });
    await mounted.swap({ key: NEW_SECRET });
    spyOnOpen().mockRejectedValueOnce(Object.assign(new Error(), { code: 'EMFILE' }));
    expect(await files?.look()).toMatchObject({
      kind: 'unusable',
      problem: expect.stringContaining('reading it failed: EMFILE'),
    });
    expect(await files?.look()).toMatchObject({ kind: 'changed' });
    expect(await files?.look()).toEqual({ kind: 'same' });
  });

  it('are not opened while one is a pipe, which may have no writer', async () => {
    await using folder = await tempFolder({ key: TEST_SECRET });
    const key = `${folder.path}/key`;
    const { files } = await load({ secrets: [{ file: key }] });
    await rm(key);
    execFileSync('mkfifo', [key]);
    const open = spyOnOpen();
    expect(await files?.look()).toEqual({
      kind: 'unusable',
      problem: expect.stringMatching(
        /^endpoints\.shop\.secrets\[0\]\.file: expected a readable file.*\(it is no regular file\)/,
      ),
    });
    expect(open).not.toHaveBeenCalled();
    await rm(key);
    await writeFile(key, NEW_SECRET);
    expect(await files?.look()).toMatchObject({ kind: 'changed' });
  });

  it('that were pipes at the start are not read again; the others are', async () => {
    await using folder = await tempFolder({ token: 't 1' });
    const [key, token] = [`${folder.path}/key`, `${folder.path}/token`];
    execFileSync('mkfifo', [key]);
    const [endpoint] = await Promise.all([
      load({ secrets: [{ file: key }], headers: { 'x-token': { file: token } } }),
      writeFile(key, TEST_SECRET),
    ]);
    expect(shown(endpoint).secrets).toEqual([TEST_SECRET]);
    await rm(key);
    expect(await endpoint.files?.look()).toEqual({ kind: 'same' });
    await writeFile(token, 't 2');
    const found = await endpoint.files?.look();
    expect(found?.kind === 'changed' && shown(found.held)).toEqual({
      secrets: [TEST_SECRET],
      headers: { 'x-token': 't 2' },
    });
  });

  it('hold a certificate and its key, which belong together', async () => {
    await using one = await selfSigned('DNS:one');
    await using other = await selfSigned('DNS:other');
    await using folder = await tempFolder({
      cert: one.cert,
      key: one.key,
      ca: one.cert + other.cert,
    });
    const at = (name: string) => `${folder.path}/${name}`;
    const tls = { ca_file: at('ca'), cert_file: at('cert'), key_file: at('key') };
    const endpoint = await load({ tls });
    expect(endpoint.tls?.ca?.reveal()).toContain(other.cert.trim());
    expect(endpoint.tls?.client?.key.reveal()).toContain(one.key.trim());
    await writeFile(at('key'), other.key);
    expect(await endpoint.files?.look()).toEqual({
      kind: 'unusable',
      problem:
        "endpoints.shop.tls.key_file: expected the key of cert_file's first certificate, " +
        'found another key',
    });
    await expect(load({ tls })).rejects.toThrow('relay.yaml:8:17: endpoints.shop.tls.key_file');
    await writeFile(at('cert'), other.cert);
    expect(await endpoint.files?.look()).toMatchObject({ kind: 'changed' });
    await rm(at('ca'));
    expect(await endpoint.files?.look()).toMatchObject({ kind: 'unusable' });
  });

  it('are rejected if OpenSSL would refuse them for a connection, such as a key that is too short', async () => {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'weak' }], {
      keyType: 'rsa',
      keySize: 512,
    });
    await using folder = await tempFolder({ cert, key });
    const tls = { cert_file: `${folder.path}/cert`, key_file: `${folder.path}/key` };
    await expect(load({ tls })).rejects.toThrow(
      /tls\.cert_file: expected a certificate that OpenSSL accepts, found one that it rejects \(ERR_\w+\)/,
    );
  });

  it.each([
    ['ca', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', 'number 1 cannot be'],
    ['key', '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA', 'one with a passphrase'],
    ['key', '-----BEGIN PRIVATE KEY-----\nAAAA', 'one that cannot be read'],
  ])('with broken PEM (%s) cause an error: %s', async (name, text, found) => {
    await using certificate = await selfSigned('DNS:one');
    const { cert, key } = certificate;
    await using folder = await tempFolder({ cert, key, ca: cert, [name]: text });
    const at = (file: string) => `${folder.path}/${file}`;
    const tls = { ca_file: at('ca'), cert_file: at('cert'), key_file: at('key') };
    await expect(load({ tls })).rejects.toThrow(found);
  });
});
