// cspell:ignore passwrd
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadSettings } from '../../src/config/load.js';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'expiry-relay-secrecy-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Long enough not to be in a message by chance. */
const secrets = fc.stringMatching(/^[A-Za-z0-9]{12,60}$/);

/** Malformed secrets, as YAML in the place of a value. */
const shapes: readonly ((secret: string) => string)[] = [
  (secret) => secret,
  (secret) => `"${secret}"`,
  (secret) => `"whsec_${secret}"`,
  (secret) => `"Bearer ${secret}\\n"`,
  (secret) => `"redis://user:${secret}@host:port"`,
  (secret) => `"http://user:${secret}@host/#"`,
  (secret) => `"http://user:${secret}%zz@169.254.1.1"`,
  (secret) => `"whsk_${secret}"`,
  (secret) => `"${secret}\\0é€"`,
  (secret) => `[${secret}]`,
  (secret) => `["whsec_${secret}", whsec_${secret}]`,
  (secret) => `{file: ${secret}}`,
  (secret) => `[{file: "${secret}"}]`,
  (secret) => `[{${secret}: 1}]`,
  (secret) => `*${secret}`,
  (secret) => `&${secret} !${secret} x`,
  (secret) => `!${secret} ${secret}`,
  (secret) => `@${secret}`,
  (secret) => `"${secret}`,
  (secret) => `x: ${secret}`,
  (secret) => `{${secret}`,
  (secret) => `"${secret}\\q"`,
  () => `"\${SECRET}"`,
  () => `"whsec_\${SECRET}"`,
  () => `"[\${SECRET}{a}{a}"`,
  () => `["\${SECRET}", "\${SECRET}", 5]`,
  () => `"{\${SECRET}}"`,
];

/** The places of secrets; anything beside them may be wrong. */
const confidentialPlaces = [
  'redis: {url: @}',
  'redis: {password: @}',
  'redis: {password_file: @}',
  'redis: {url: "http://x", username: u, password: @}',
  'state: {url: @}',
  'state: {url: @, username: u, password: @}',
  'state: {kind: memory, username: @, password: @}',
  'state: {username: u, password_file: @}',
  'endpoints: {shop: {url: @}}',
  'endpoints: {shop: {secrets: @}}',
  'endpoints: {shop: {secrets: [@]}}',
  'endpoints: {shop: {headers: {authorization: @}}}',
  'endpoints: {shop: {headers: {authorization: {file: @}}}}',
  'endpoints: {shop: {basic: {username: @, password: @}}}',
  'endpoints: {shop: {basic: {username: u, password_file: @}}}',
  'endpoints: {shop: {url: "https://h", tls: {ca_file: @, cert_file: @, key_file: @}}}',
  'endpoints: {shop: {proxy: @}}',
] as const;

/** Places where only a variable can put a secret. */
const openPlaces = [
  'log: {level: @, format: @}',
  'admin: {listen: @}',
  'shutdown: {grace: @}',
  'redis: {databases: [@], notifications: @}',
  'state: {kind: @, dead_letters: {keep: @, max: @}, unknown_endpoint_grace: @}',
  'routes: [{name: @, match: @, to: @, path: @, type: @, on_ambiguous: @}]',
  'routes: [{name: a, match: [@], to: [@, @], path: "/{x}"}]',
  'routes: [{name: a, match: "x:{id}", to: shop, format: @, method: @, content_type: @, body: {a: @, b: [@]}}]',
  'endpoints: {shop: {timeout: @, rate_limit: @, concurrency: @, retry: {schedule: [@], jitter: @}}}',
] as const;

/** Without the blank after a colon, or with = in its place, the secret is in a key. */
const keyPlaces = [
  "redis: {url: 'redis://h', @}",
  'state: {@}',
  'state: {dead_letters: {@}}',
  'log: {@: {a: 1}}',
  'admin:\n  @: 1\n  @: 2',
  '@: 1',
  'endpoints: {@: {url: 1}}',
  'endpoints: {@: {secrets: [1], headers: [], @: 1}}\nroutes: [{name: a, match: "*", to: [password]}]',
  'endpoints: {shop: {@}}',
  'endpoints: {shop: {secrets: [{@}]}}',
  'endpoints: {shop: {secrets: [{file: x, @}]}}',
  'endpoints: {shop: {headers: {@}}}',
  'endpoints: {shop: {headers: {x: {@}}, basic: {@}, tls: {@}}}',
  'endpoints: {shop: {headers: {@: "${UNSET}", "@": [1]}}}',
  'endpoints: {shop: {retry: {@}}}',
  'routes: [{name: a, match: "*", to: shop, @}]',
  'shutdown: {<<: {@}}',
] as const;

const keyShapes: readonly ((secret: string) => string)[] = [
  (secret) => `password:${secret}`,
  (secret) => `password=${secret}`,
  (secret) => `x-api-key:${secret}`,
  (secret) => `url:http://${secret}`,
  (secret) => `passwrd:=${secret}:`,
  (secret) => `secrets:whsec_${secret}`,
];

const fromVariable = shapes.slice(-5);

async function messageFor(text: string, env: Record<string, string>): Promise<string> {
  const file = join(folder, 'relay.yaml');
  await writeFile(file, text);
  return loadSettings({ file, env, cwd: folder }).then(
    () => '',
    (thrown: Error) => `${thrown.name}: ${thrown.message} ${thrown.stack}`,
  );
}

describe('a secret', () => {
  const cases = fc.oneof(
    fc.tuple(fc.constantFrom(...confidentialPlaces), fc.constantFrom(...shapes)),
    fc.tuple(fc.constantFrom(...openPlaces), fc.constantFrom(...fromVariable)),
    fc.tuple(fc.constantFrom(...keyPlaces), fc.constantFrom(...keyShapes)),
  );

  it('is never in a message, at any place and with any error', async () => {
    await fc.assert(
      fc.asyncProperty(secrets, cases, async (secret, [place, shape]) => {
        const message = await messageFor(`${place.replaceAll('@', () => shape(secret))}\n`, {
          SECRET: secret,
        });
        expect(message).toMatch(/^SettingsError: /);
        expect(message).not.toContain(secret);
      }),
      { numRuns: 400 },
    );
  });
});
