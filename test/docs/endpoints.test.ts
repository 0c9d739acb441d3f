/** What docs/endpoints.md shows, as it stands there. */
import { execFileSync } from 'node:child_process';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { loadSettings } from '../../src/config/load.js';
import { Secret } from '../../src/model/secret.js';
import { newKeyPair } from '../../src/signing/key-pair.js';
import { sign } from '../../src/signing/sign.js';
import { selfSigned } from '../support/certificate.js';
import { tempFolder } from '../support/cli.js';
import { blockOf } from '../support/doc-pages.js';
import { TEST_SECRET } from '../support/domain.js';
import { runScript } from '../support/run-script.js';

const PAGE = 'docs/endpoints.md';

it('its file loads, with the files that it names beside it', async () => {
  await using certificate = await selfSigned('DNS:shop.internal');
  await using folder = await tempFolder({
    'relay.yaml': blockOf(PAGE, 'yaml', 'endpoints:'),
  });
  const files = {
    'secrets/shop': TEST_SECRET,
    'secrets/shop-api-key': 'key',
    'secrets/shop-password': 'password',
    'tls/ca.crt': certificate.cert,
    'tls/tls.crt': certificate.cert,
    'tls/tls.key': certificate.key,
  };
  for (const name of ['secrets', 'tls']) await mkdir(join(folder.path, name));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text);
  const { settings } = await loadSettings({ file: undefined, env: {}, cwd: folder.path });
  const { headers } = settings.endpoints.get('shop') ?? {};
  expect(Object.keys(headers ?? {})).toEqual(['x-api-key', 'authorization']);
});

it('its receiver takes what a private key has signed, beside other signatures, and nothing else', async () => {
  const { privateKey, publicKey } = newKeyPair();
  const secrets = [TEST_SECRET, newKeyPair().privateKey, privateKey].map(
    (text) => new Secret(text),
  );
  const headers = sign('msg_1', Buffer.from('{"a":1}'), secrets, Date.now());
  const script = `${blockOf(PAGE, 'js', 'isGenuine')}
const headers = ${JSON.stringify(headers)};
const late = { ...headers, 'webhook-timestamp': String(Date.now() / 1000 - 400) };
console.log(isGenuine(headers, '{"a":1}'), isGenuine(headers, '{"a":2}'), isGenuine(late, '{"a":1}'));`;
  expect(await runScript(script, { SHOP_PUBLIC_KEY: publicKey })).toBe('true false false\n');
});

it('its private key is in a file that nobody else may read', async () => {
  await using folder = await tempFolder({});
  const script = `expiry-relay() { echo whsk_; }\n${blockOf(PAGE, 'sh', '--asymmetric')}`;
  execFileSync('bash', ['-euc', `umask 022\n${script}`], { cwd: folder.path });
  const { mode, size } = await stat(join(folder.path, 'shop-key'));
  expect(size).toBeGreaterThan(0);
  expect(mode & 0o077).toBe(0);
});
