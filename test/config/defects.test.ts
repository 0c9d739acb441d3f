// cspell:ignore arer grüße
/** Values that are rejected for characters that were copied, quoted or inserted with them. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { loadSettings } from '../../src/config/load.js';
import { tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';

interface Given {
  readonly top?: object;
  readonly endpoint?: object;
  readonly route?: object;
  readonly env?: Record<string, string>;
  readonly files?: Readonly<Record<string, string | Buffer>>;
}

/** The error of a file with these parts, without the file name and the position. */
async function saidOf({ top, endpoint, route, env = {}, files = {} }: Given): Promise<string> {
  const file = {
    ...top,
    endpoints: { shop: { url: 'http://shop', secrets: [TEST_SECRET], ...endpoint } },
    routes: [{ name: 'all', match: '*', to: 'shop', ...route }],
  };
  await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
  for (const [name, held] of Object.entries(files)) await writeFile(join(folder.path, name), held);
  return await loadSettings({ file: undefined, env, cwd: folder.path }).then(
    () => 'accepted',
    ({ message }: Error) => message.replace(/^relay\.yaml:\d+:\d+: /, ''),
  );
}

const ZERO_WIDTH = '\u200b';

describe('a text of the file', () => {
  it.each<[what: string, given: Given, expected: string]>([
    ['a Redis URL', { top: { redis: { url: 'redis://h:6379\n' } } }, 'it ends with a newline'],
    [
      'a Redis URL with an invisible character',
      { top: { redis: { url: `redis://127.0.0.1${ZERO_WIDTH}:6379` } } },
      'it contains a zero width space (U+200B)',
    ],
    [
      'a state URL with an invisible character in its host',
      { top: { state: { url: `redis://ho${ZERO_WIDTH}st` } } },
      'it contains a zero width space (U+200B)',
    ],
    [
      'a Unix socket',
      { top: { redis: { url: 'unix:///tmp/r.sock\n' } } },
      'it ends with a newline',
    ],
    [
      'an encoded Unix socket',
      { top: { redis: { url: 'unix:///tmp/r.sock%0A' } } },
      'one whose path ends with a newline',
    ],
    [
      'the path of an endpoint',
      { endpoint: { url: `http://shop/hooks${ZERO_WIDTH}` } },
      'it ends with a zero width space (U+200B)',
    ],
    ['a quoted URL', { top: { state: { url: '"redis://h"' } } }, 'it is enclosed in double quotes'],
    ['an endpoint', { endpoint: { url: ' http://shop' } }, 'it begins with a blank'],
    ['a proxy', { endpoint: { proxy: '“http://p:1”' } }, 'it is enclosed in typographic quotes'],
    ['a secret', { endpoint: { secrets: [`${TEST_SECRET}\r`] } }, 'it ends with a carriage return'],
    ['the word none', { endpoint: { secrets: 'none\n' } }, 'it ends with a newline'],
    ['a header', { endpoint: { headers: { a: 'Bearer t\n' } } }, 'it ends with a newline'],
    [
      'a header with an invisible character',
      { endpoint: { headers: { a: `Be${ZERO_WIDTH}arer t` } } },
      'it contains a zero width space (U+200B) at character 3',
    ],
    [
      'a user name',
      { endpoint: { basic: { username: 'relay\n', password: 'p' } } },
      'it ends with a newline',
    ],
    [
      'a password',
      { endpoint: { basic: { username: 'relay', password: 'p\n' } } },
      'it ends with a newline',
    ],
    ['a duration', { endpoint: { timeout: '30s ' } }, 'it ends with a blank'],
    ['a number', { endpoint: { concurrency: "'5'" } }, 'it is enclosed in single quotes'],
    ['a fraction', { endpoint: { retry: { jitter: '0.5\t' } } }, 'it ends with a tab'],
    [
      'a rate',
      { endpoint: { rate_limit: '\u00a05/s' } },
      'it begins with a no-break space (U+00A0)',
    ],
    ['yes or no', { endpoint: { allow_link_local: 'true\n' } }, 'it ends with a newline'],
    ['a size', { route: { lookup: 'a', value_max: '1KiB\n' } }, 'it ends with a newline'],
    [
      'a list item',
      { endpoint: { retry: { schedule: ['1s', '5s\n'] } } },
      'it ends with a newline',
    ],
    ['a name', { route: { name: 'all\n' } }, 'it ends with a newline'],
    ['an endpoint of a route', { route: { to: ['shop\n'] } }, 'it ends with a newline'],
    [
      'a type',
      { route: { type: 'a\u00adb' } },
      'it contains a soft hyphen (U+00AD) at character 2',
    ],
    ['a method', { route: { method: 'PUT\n' } }, 'it ends with a newline'],
    ['a path', { route: { path: '\ufeff/a' } }, 'it begins with a byte order mark (U+FEFF)'],
    ['an address', { top: { admin: { listen: ':9464\n' } } }, 'it ends with a newline'],
    ['a prefix', { top: { state: { prefix: '\u202ea' } } }, 'right-to-left override (U+202E)'],
    [
      'a server name',
      { top: { redis: { tls: { server_name: 'h\n' } } } },
      'it ends with a newline',
    ],
    ['the path of a file', { endpoint: { secrets: [{ file: 'key ' }] } }, 'it ends with a blank'],
    [
      'a key',
      { top: { 'state\u00a0': {} } },
      'it ends with a no-break space (U+00A0); did you mean',
    ],
    [
      'the name of a header',
      { endpoint: { headers: { 'x-a\u200b': 'b' } } },
      'it ends with a zero width space (U+200B)',
    ],
  ])('is described: %s', async (_, given, expected) => {
    expect(await saidOf(given)).toContain(expected);
  });

  it('is not shown when a variable gave it', async () => {
    const env = { WAIT: 'hunter2s\n' };
    const said = await saidOf({ endpoint: { timeout: `\${WAIT}` }, env });
    expect(said).toBe(
      'endpoints.shop.timeout: expected a duration such as 250ms, 15s, 1h30m or 1w, found a hidden ' +
        'value, as it may be a secret (it ends with a newline)',
    );
  });

  it('of a body may have blanks and quotes, which are not described', async () => {
    expect(await saidOf({ route: { body: { note: ' "{oops} ' } } })).not.toContain('begins with');
  });
});

describe('the text in a file that is named', () => {
  it.each<[what: string, given: Given, expected: string]>([
    ['a secret', { endpoint: { secrets: [{ file: 'f' }] } }, 'its content ends with a newline'],
    [
      'a header',
      { endpoint: { headers: { a: { file: 'f' } } } },
      'its content ends with a newline',
    ],
    [
      'a password',
      { endpoint: { basic: { username: 'u', password_file: 'f' } } },
      'its content ends with a newline',
    ],
  ])('is described: %s', async (_, given, expected) => {
    const said = await saidOf({ ...given, files: { f: 'hunter2\n\n' } });
    expect(said).toContain(expected);
    expect(said).not.toContain('hunter2');
  });

  it('is not described if it may contain line breaks', async () => {
    const endpoint = { url: 'https://shop', tls: { ca_file: 'f' } };
    expect(await saidOf({ endpoint, files: { f: 'no\nPEM\n\n' } })).not.toContain('its content');
  });

  it.each<[encoding: string, bytes: Buffer]>([
    ['UTF-16 (little-endian)', Buffer.from(`\ufeff${TEST_SECRET}\r\n`, 'utf16le')],
    ['UTF-16 (little-endian)', Buffer.from(TEST_SECRET, 'utf16le')],
    ['UTF-16 (big-endian)', Buffer.from(`\ufeff${TEST_SECRET}`, 'utf16le').swap16()],
    ['UTF-16 (big-endian)', Buffer.from(TEST_SECRET, 'utf16le').swap16()],
  ])('is reported to be in %s', async (encoding, bytes) => {
    const said = await saidOf({
      endpoint: { secrets: [{ file: 'f.key' }] },
      files: { 'f.key': bytes },
    });
    expect(said).toContain(`it is not UTF-8 text, but ${encoding}: save it as UTF-8`);
  });
});

describe('a service link of Kubernetes', () => {
  const env = { REDIS_PORT: 'tcp://10.0.0.1:6379', REDIS_URL: 'tcp://10.0.0.1:6379' };
  const advice =
    'REDIS_PORT holds a service link of Kubernetes (tcp://…): give the variable another name, or ' +
    "set enableServiceLinks: false in the pod's spec";

  it.each<[what: string, given: Given]>([
    ['the port of a URL', { top: { redis: { url: `redis://redis:\${REDIS_PORT}/0` } } }],
    ['a whole URL', { top: { redis: { url: `\${REDIS_PORT}` } } }],
    ['the address of the admin port', { top: { admin: { listen: `:\${REDIS_PORT:-9464}` } } }],
    ['an endpoint', { endpoint: { url: `http://shop:\${REDIS_PORT}` } }],
    ['a number', { endpoint: { concurrency: `\${REDIS_PORT}` } }],
  ])('is named if a variable has it in %s', async (_, given) => {
    const said = await saidOf({ ...given, env });
    expect(said).toContain(advice);
    expect(said).not.toContain('10.0.0.1');
  });

  it('is not suggested for a variable of another name, or for the file itself', async () => {
    for (const url of [`\${REDIS_URL}`, 'tcp://10.0.0.1:6379']) {
      const said = await saidOf({ top: { redis: { url } }, env });
      expect(said).toContain('found tcp:// (write redis://)');
      expect(said).not.toContain('Kubernetes');
    }
  });
});

describe('a file in another encoding', () => {
  const text = 'endpoints:\n  shop: {url: http://shop, secrets: none}\nroutes: []\n';

  it.each<[what: string, bytes: Buffer, expected: RegExp]>([
    [
      'UTF-16LE with its mark',
      Buffer.from(`\ufeff${text}`, 'utf16le'),
      /but UTF-16 \(little-endian\)/,
    ],
    [
      'UTF-16LE without',
      Buffer.from(text, 'utf16le'),
      /but UTF-16 \(little-endian\): save it as UTF-8/,
    ],
    ['UTF-16BE', Buffer.from(`\ufeff${text}`, 'utf16le').swap16(), /but UTF-16 \(big-endian\)/],
    ['UTF-16BE without', Buffer.from(text, 'utf16le').swap16(), /but UTF-16 \(big-endian\)/],
    [
      'UTF-32LE',
      Buffer.from([...text].flatMap((char) => [char.charCodeAt(0), 0, 0, 0])),
      /but UTF-32: save/,
    ],
    ['latin-1', Buffer.from('# Grüße\n', 'latin1'), /it is not UTF-8 text: save it as UTF-8/],
    [
      'UTF-8 with its mark',
      Buffer.from(`\ufeff${text}`),
      /^relay\.yaml:3:9: routes: expected a list/,
    ],
    [
      'nothing but zero bytes',
      Buffer.alloc(300),
      /^relay\.yaml:1:1: .*nothing but blanks or invisible characters/,
    ],
    ['zero bytes at the end', Buffer.from(`${text}${'\0'.repeat(300)}`), /^relay\.yaml:/],
    ['a lone zero byte', Buffer.from(`${text}\0`), /^relay\.yaml:/],
  ])('is distinguished from UTF-8: %s', async (_, bytes, expected) => {
    await using folder = await tempFolder({});
    await writeFile(join(folder.path, 'relay.yaml'), bytes);
    const loading = loadSettings({ file: undefined, env: {}, cwd: folder.path });
    await expect(loading).rejects.toThrow(expected);
  });

  it('is opened under the given name, and a defect of the name is described', async () => {
    const loading = loadSettings({ file: 'relay.yaml\n', env: {}, cwd: '/' });
    await expect(loading).rejects.toThrow('no such file (it ends with a newline)');
  });
});
