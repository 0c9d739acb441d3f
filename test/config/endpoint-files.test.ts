import { execFileSync } from 'node:child_process';
import fs, { rm, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { generate } from 'selfsigned';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { stringify } from 'yaml';
import type { Loaded } from '../../src/config/load.js';
import { SettingsSource } from '../../src/config/settings-source.js';
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

/** A file with one endpoint, as it is loaded first, and again. */
async function open(given: Record<string, unknown>) {
  const shop = { url: 'https://shop/', secrets: 'none', ...given };
  const routes = [{ name: 'all', match: '*', to: 'shop' }];
  const folder = await tempFolder({ 'relay.yaml': stringify({ endpoints: { shop }, routes }) });
  onTestFinished(() => folder[Symbol.asyncDispose]());
  const options = { file: undefined, env: {}, cwd: folder.path };
  const source = new SettingsSource(options, (settings) => settings);
  const endpointOf = ({ settings }: Loaded): Endpoint => {
    const endpoint = settings.endpoints.get('shop');
    if (endpoint === undefined) throw new Error('no endpoint');
    return endpoint;
  };
  const endpoint = endpointOf(await source.load());
  /** The endpoint, or the problem of its files. */
  const again = async (): Promise<Endpoint | string> => {
    const reading = await source.read();
    if (reading.kind === 'valid') return endpointOf(reading.loaded);
    return reading.endpointProblems.get('shop') ?? reading.mistakes.join();
  };
  /** The secrets and headers, or the problem. */
  const shownAgain = async () => {
    const found = await again();
    return typeof found === 'string' ? found : shown(found);
  };
  return { endpoint, again, shownAgain };
}

const load = async (given: Record<string, unknown>) => (await open(given)).endpoint;

const shown = ({ secrets, headers }: Endpoint) => ({
  secrets: secrets.map((secret) => secret.reveal()),
  headers: Object.fromEntries(Object.entries(headers).map(([name, v]) => [name, v.reveal()])),
});

const basic = (user: string, password: string) => `Basic ${btoa(`${user}:${password}`)}`;

describe('an endpoint', () => {
  it('has its basic authentication as a header', async () => {
    const endpoint = await load({ basic: { username: 'relay', password: 'p:w' } });
    expect(shown(endpoint).headers).toEqual({ authorization: basic('relay', 'p:w') });
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
  it('are read at the start, and again with the configuration', async () => {
    await using mounted = await MountedSecret.mount({ key: `${TEST_SECRET}\n`, token: 't 1\n' });
    await using own = await tempFolder({ password: 'p' });
    const { endpoint, shownAgain } = await open({
      secrets: [{ file: mounted.file('key') }, NEW_SECRET],
      headers: { 'X-Token': { file: mounted.file('token') }, 'x-other': 'o' },
      basic: { username: 'relay', password_file: `${own.path}/password` },
    });
    const headers = { 'x-other': 'o', 'x-token': 't 1', authorization: basic('relay', 'p') };
    const first = { secrets: [TEST_SECRET, NEW_SECRET], headers };
    expect(shown(endpoint)).toEqual(first);
    expect(await shownAgain()).toEqual(first);

    await mounted.swap({ key: NEW_SECRET, token: 't 2' });
    await writeFile(`${own.path}/password`, 'q');
    expect(await shownAgain()).toEqual({
      secrets: [NEW_SECRET, NEW_SECRET],
      headers: { ...headers, 'x-token': 't 2', authorization: basic('relay', 'q') },
    });
  });

  it('are unusable while one is missing, empty or invalid, and no secret is in the message', async () => {
    await using mounted = await MountedSecret.mount({ key: TEST_SECRET });
    const { shownAgain } = await open({ secrets: [{ file: mounted.file('key') }] });
    const readAfter = async (held: Record<string, string>) => {
      await mounted.swap(held);
      return shownAgain();
    };
    expect(await readAfter({})).toBe(
      'endpoints.shop.secrets[0].file: expected a readable file, ' +
        `found "${mounted.file('key')}" (no such file)`,
    );
    expect(await readAfter({ key: '\n' })).toContain('found an empty file');
    const nonsense = await readAfter({ key: 'hunter2hunter2' });
    expect(nonsense).toContain('without the prefix whsec_');
    expect(nonsense).not.toContain('hunter2');
    expect(await readAfter({ key: NEW_SECRET })).toMatchObject({ secrets: [NEW_SECRET] });
  });

  it('are not opened while one is a pipe, which may have no writer', async () => {
    await using folder = await tempFolder({ key: TEST_SECRET });
    const key = `${folder.path}/key`;
    const { shownAgain } = await open({ secrets: [{ file: key }] });
    await rm(key);
    execFileSync('mkfifo', [key]);
    const opened = spyOnOpen();
    expect(await shownAgain()).toMatch(
      /^endpoints\.shop\.secrets\[0\]\.file: expected a readable file.*\(it is no regular file\)/,
    );
    expect(opened.mock.calls.map(([path]) => path)).not.toContain(key);
    await rm(key);
    await writeFile(key, NEW_SECRET);
    expect(await shownAgain()).toMatchObject({ secrets: [NEW_SECRET] });
  });

  it('that were pipes at the start are not read again; the others are', async () => {
    await using folder = await tempFolder({ token: 't 1' });
    const [key, token] = [`${folder.path}/key`, `${folder.path}/token`];
    execFileSync('mkfifo', [key]);
    const [{ endpoint, shownAgain }] = await Promise.all([
      open({ secrets: [{ file: key }], headers: { 'x-token': { file: token } } }),
      writeFile(key, TEST_SECRET),
    ]);
    expect(shown(endpoint).secrets).toEqual([TEST_SECRET]);
    await rm(key);
    await writeFile(token, 't 2');
    expect(await shownAgain()).toEqual({ secrets: [TEST_SECRET], headers: { 'x-token': 't 2' } });
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
    const { endpoint, again } = await open({ tls });
    expect(endpoint.tls?.ca?.reveal()).toContain(other.cert.trim());
    expect(endpoint.tls?.client?.key.reveal()).toContain(one.key.trim());
    await writeFile(at('key'), other.key);
    expect(await again()).toBe(
      "endpoints.shop.tls.key_file: expected the key of cert_file's first certificate, " +
        'found another key',
    );
    await expect(load({ tls })).rejects.toThrow('relay.yaml:8:17: endpoints.shop.tls.key_file');
    await writeFile(at('cert'), other.cert);
    expect(await again()).toMatchObject({ name: 'shop' });
    await rm(at('ca'));
    expect(await again()).toContain('no such file');
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
