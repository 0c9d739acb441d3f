// cspell:ignore shpo
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FILE_BYTES_MAX, loadSettings } from '../../src/config/load.js';
import { SECRET_FILE_BYTES_MAX } from '../../src/config/read-secrets.js';
import { TEST_SECRET } from '../support/domain.js';

const SMALLEST = `
endpoints:
  shop: {url: "http://shop:8080/hooks", secrets: [${TEST_SECRET}]}
routes:
  - {name: all, match: "*", to: shop}
`;

async function aFolder(files: Readonly<Record<string, string | Buffer>>) {
  const path = await mkdtemp(join(tmpdir(), 'expiry-relay-config-'));
  for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
  return {
    path,
    load: (file?: string, env: Record<string, string> = {}) =>
      loadSettings({ file, env, cwd: path }),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

/** The smallest file with other text for its endpoint, or above it. */
const withEndpoint = (endpoint: string) => SMALLEST.replace(`secrets: [${TEST_SECRET}]`, endpoint);
const withTop = (top: string) => `${top}\n${SMALLEST}`;

async function settingsOf(text: string, env: Record<string, string> = {}) {
  await using folder = await aFolder({ 'relay.yaml': text });
  return (await folder.load(undefined, env)).settings;
}

async function mistakesIn(text: string, env: Record<string, string> = {}): Promise<string> {
  return settingsOf(text, env).then(
    () => 'accepted',
    (thrown: Error) => thrown.message,
  );
}

describe('which file is loaded', () => {
  it('is the one of -c, before the variable and ./relay.yaml', async () => {
    await using folder = await aFolder({ 'relay.yaml': 'x', 'b.yaml': 'x', 'c.yaml': SMALLEST });
    const env = { EXPIRY_RELAY_CONFIG: 'b.yaml' };
    expect(await folder.load('c.yaml', env)).toMatchObject({ file: 'c.yaml' });
  });

  it('is the one of the variable, before ./relay.yaml', async () => {
    await using folder = await aFolder({ 'relay.yaml': 'x', 'b.yaml': SMALLEST });
    const env = { EXPIRY_RELAY_CONFIG: 'b.yaml' };
    expect(await folder.load(undefined, env)).toMatchObject({ file: 'b.yaml' });
  });

  it('is ./relay.yaml without -c, and without the variable or with an empty one', async () => {
    await using folder = await aFolder({ 'relay.yaml': SMALLEST });
    const env = { EXPIRY_RELAY_CONFIG: '' };
    expect(await folder.load(undefined, env)).toMatchObject({ file: 'relay.yaml' });
  });

  it('is ./expiry-relay.yaml when there is no ./relay.yaml', async () => {
    await using folder = await aFolder({ 'expiry-relay.yaml': SMALLEST });
    expect(await folder.load()).toMatchObject({ file: 'expiry-relay.yaml' });
  });

  it('cannot be one of two default files in a folder', async () => {
    const two = { 'relay.yaml': SMALLEST, 'expiry-relay.yaml': SMALLEST };
    await using folder = await aFolder(two);
    await expect(folder.load()).rejects.toThrow(
      'relay.yaml: expiry-relay.yaml exists as well: delete one of them',
    );
    expect(await folder.load('relay.yaml')).toMatchObject({ file: 'relay.yaml' });
  });

  it('is missing, and the message lists the places', async () => {
    await using folder = await aFolder({});
    await expect(folder.load()).rejects.toThrow(
      /found no relay\.yaml or expiry-relay\.yaml in .* or \/etc\/expiry-relay\. Create one with .* with -c FILE/,
    );
  });

  it('is never another one than the requested one', async () => {
    await using folder = await aFolder({ 'relay.yaml': SMALLEST });
    await expect(folder.load('typo.yaml')).rejects.toThrow(
      'typo.yaml: cannot be read: no such file',
    );
  });

  it('cannot be a folder, binary, or endless', async () => {
    await using folder = await aFolder({ 'bytes.yaml': Buffer.from([0xff, 0xfe]) });
    await expect(folder.load('.')).rejects.toThrow('it is a directory');
    await expect(folder.load('bytes.yaml')).rejects.toThrow('it is not UTF-8 text');
    await expect(folder.load('/dev/zero')).rejects.toThrow(`more than ${FILE_BYTES_MAX} bytes`);
  });

  it('may begin with a byte order mark', async () => {
    expect((await settingsOf(`\uFEFF${SMALLEST}`)).routes).toHaveLength(1);
  });
});

describe('a file of a thousand routes', () => {
  it('fits, with a comment on each', async () => {
    const routes = Array.from(
      { length: 1000 },
      (_, n) => `  # What happens when an order of shop ${n} is not paid in time
  - name: cancel-unpaid-order-of-shop-${n}
    match: shop-${n}:order:{order_id}:unpaid
    to: shop
    type: shop.order.expired
    path: /shops/${n}/orders/{order_id}/cancel

`,
    );
    const text = SMALLEST.replace(/ {2}- \{name.*\n/, () => routes.join(''));
    expect((await settingsOf(text)).routes).toHaveLength(1000);
  });
});

/** Of processor time; three seconds on a slow machine. */
const HOSTILE_CPU_MS_MAX = 10_000;

describe('the largest file that is read', () => {
  const filled = (head: string, item: string, tail = '') =>
    head + item.repeat((FILE_BYTES_MAX - head.length - tail.length) / item.length) + tail;
  const numbered = (item: (n: number) => string, bytesMax: number) => {
    let text = '';
    for (let n = 0; text.length < bytesMax - 40; n += 1) text += item(n);
    return text;
  };
  const half = FILE_BYTES_MAX / 2;

  it.each([
    ['aliases without a name', filled('a: [', '*,', ']')],
    ['characters that cannot begin a string', filled('a: [', '@,', ']')],
    ['commas', filled('a: [', ',', ']')],
    ['closing brackets', filled('', ']')],
    ['lists in lists', filled('', '- ')],
    ['opening brackets', filled('', '[')],
    ['aliases of their own parents', filled('&a [', '*a,', ']')],
    ['one endpoint many times', filled('endpoints: {b: {}}\nroutes: [{to: [', 'a,', ']}]')],
    ['numbers for endpoints', filled('routes: [{to: [', '12,', ']}]')],
    ['numbers for waits', filled('endpoints: {a: {retry: {schedule: [', '12,', ']}}}')],
    [
      'misspelt endpoints',
      `endpoints:\n${numbered((n) => `  e${n}: {}\n`, half)}` +
        `routes: [{to: [${numbered((n) => `t${n},`, half)}]}]`,
    ],
  ])('is refused soon, whatever it contains: %s', async (_, text) => {
    expect(text.length).toBeLessThanOrEqual(FILE_BYTES_MAX);
    await using folder = await aFolder({ 'relay.yaml': text });
    const before = process.cpuUsage();
    await expect(folder.load()).rejects.toThrow(/^relay\.yaml:\d+:/);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(HOSTILE_CPU_MS_MAX);
  });
});

describe('the settings', () => {
  it('have every default filled in', async () => {
    const settings = await settingsOf(SMALLEST);
    expect({ ...settings, routes: [], endpoints: [...settings.endpoints.values()] }).toEqual({
      redis: {
        host: '127.0.0.1',
        port: 6379,
        path: null,
        sentinel: null,
        cluster: null,
        tls: null,
        username: null,
        password: null,
        files: null,
        databases: [0],
        notifications: 'manage',
      },
      endpoints: [
        {
          name: 'shop',
          url: new URL('http://shop:8080/hooks'),
          secrets: [expect.anything()],
          headers: {},
          timeoutMs: 15_000,
          concurrency: 32,
          rateLimit: null,
          retry: {
            scheduleMs: [
              1_000, 5_000, 30_000, 120_000, 600_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000,
              86_400_000,
            ],
            jitter: 0.2,
          },
          tls: null,
          proxy: null,
          accept: new Set(),
          allowLinkLocal: false,
        },
      ],
      routes: [],
      admin: {
        listen: { host: '127.0.0.1', port: 9464 },
        page: { enabled: true, readOnly: false, authorization: null, allowedHosts: [] },
      },
      log: { level: 'info', format: 'auto' },
      state: {
        kind: 'redis',
        redis: {
          host: '127.0.0.1',
          port: 6379,
          path: null,
          sentinel: null,
          cluster: null,
          tls: null,
          username: null,
          password: null,
          files: null,
        },
        database: 0,
        section: 'redis',
        prefix: 'expiry-relay',
        deadLetters: { keepMs: 30 * 86_400_000, countMax: 10_000 },
        unknownEndpointGraceMs: 3_600_000,
      },
      shutdown: { graceMs: 25_000 },
    });
    expect(settings.routes).toMatchObject([
      {
        name: 'all',
        patterns: [{ source: '*' }],
        to: ['shop'],
        type: 'redis.key.expired',
        path: '',
        onAmbiguous: 'deliver',
      },
    ]);
  });

  it('take numbers, durations and words from variables too', async () => {
    const text = withTop(`log: {level: "\${L}"}\nredis: {databases: ["\${D}"]}`).replace(
      'url:',
      `timeout: "\${T}", concurrency: "\${C}", url:`,
    );
    const settings = await settingsOf(text, { L: 'debug', D: '3', T: '2s', C: '7' });
    expect(settings.endpoints.get('shop')).toMatchObject({ timeoutMs: 2_000, concurrency: 7 });
    expect(settings).toMatchObject({ log: { level: 'debug' }, redis: { databases: [3] } });
  });

  it('keep header names in lower case', async () => {
    const settings = await settingsOf(withEndpoint('secrets: none, headers: {X-Shop: a}'));
    expect(settings.endpoints.get('shop')?.headers['x-shop']?.reveal()).toBe('a');
    expect(settings.endpoints.get('shop')?.secrets).toEqual([]);
  });

  it('take the database of the URL, unless `databases` lists several', async () => {
    const databasesOf = async (redis: string) =>
      (await settingsOf(withTop(`redis: {${redis}}`))).redis.databases;
    expect(await databasesOf('url: "redis://r/2"')).toEqual([2]);
    expect(await databasesOf('url: "redis://r/2", databases: [0, 2]')).toEqual([0, 2]);
  });

  it('treat an empty password as none', async () => {
    const { redis } = await settingsOf(withTop(`redis: {password: "\${P:-}", username: ""}`));
    expect(redis).toMatchObject({ username: null, password: null });
  });

  it.each([
    'redis: {username: u}',
    'redis: {url: "redis://u@r"}',
    'state: {username: u}',
    'state: {url: "redis://u@r"}',
    // The password of redis is for the user of redis alone.
    'redis: {password: p}\nstate: {username: u}',
  ])('have no user name without a password: %s', async (top) => {
    expect(await mistakesIn(withTop(top))).toContain('a password beside the user name');
  });

  describe('of the state', () => {
    const IN_R = 'redis: {url: "redis://u:p@r:1/2"}\n';

    async function stateOf(top: string, env: Record<string, string> = {}) {
      const { state } = await settingsOf(withTop(top), env);
      if (state.kind !== 'redis') throw new Error('it is not in Redis');
      const { host, port, username, password } = state.redis;
      return { at: `${host}:${port}/${state.database}`, as: [username, password?.reveal()] };
    }

    it.each([
      ['nothing', '{}', 'r:1/2', ['u', 'p']],
      ['a login', '{username: v, password: q}', 'r:1/2', ['v', 'q']],
      ['a password alone', '{password: q}', 'r:1/2', [null, 'q']],
      ['an empty login', '{username: "", password: ""}', 'r:1/2', ['u', 'p']],
      ['a URL', '{url: "redis://s:3/4"}', 's:3/4', [null, undefined]],
      ['the same URL', '{url: "redis://r:1/2"}', 'r:1/2', [null, undefined]],
      ['a URL with a login', '{url: "redis://v:q@s:3"}', 's:3/0', ['v', 'q']],
      ['a URL and a login', '{url: "redis://s:3", username: v, password: q}', 's:3/0', ['v', 'q']],
      [
        'a URL with a user, and a password',
        '{url: "redis://v@s:3", password: q}',
        's:3/0',
        ['v', 'q'],
      ],
    ])('give its address and login for %s', async (_, state, at, as) => {
      expect(await stateOf(`${IN_R}state: ${state}`)).toEqual({ at, as });
    });

    it('take its password from a file', async () => {
      await using folder = await aFolder({
        'relay.yaml': withTop(`${IN_R}state: {password_file: pw}`),
        pw: 'pass word\n',
      });
      const { state } = (await folder.load()).settings;
      expect(state).toMatchObject({ redis: { username: null } });
      expect(state.kind === 'redis' && state.redis.password?.reveal()).toBe('pass word');
    });

    it('have limits for dead letters and for unknown endpoints', async () => {
      const defaults = { keepMs: 30 * 86_400_000, countMax: 10_000 };
      expect((await settingsOf(SMALLEST)).state).toMatchObject({
        deadLetters: defaults,
        unknownEndpointGraceMs: 3_600_000,
      });
      const given = 'state: {dead_letters: {keep: 1m, max: "${M}"}, unknown_endpoint_grace: 0s}';
      expect((await settingsOf(withTop(given), { M: '7' })).state).toMatchObject({
        deadLetters: { keepMs: 60_000, countMax: 7 },
        unknownEndpointGraceMs: 0,
      });
    });

    it('need no login in memory: empty counts as absent', async () => {
      const state = 'state: {kind: memory, username: "${U:-}", password: "${U:-}"}';
      expect((await settingsOf(withTop(state))).state).toEqual({
        kind: 'memory',
        prefix: 'expiry-relay',
      });
    });
  });

  it('may share keys of endpoints by anchors', async () => {
    const settings = await settingsOf(`
endpoints:
  a: &common {url: "http://a", secrets: none, timeout: 3s}
  b: {<<: *common, url: "http://b"}
routes: [{name: all, match: ["a*", "b*"], to: [a, b]}]
`);
    expect(settings.endpoints.get('b')).toMatchObject({ timeoutMs: 3_000 });
  });
});

describe('secrets in files', () => {
  const redisWithFile = withTop('redis: {password_file: pw}');

  it('are found relative to the YAML file, and lose one newline', async () => {
    await using folder = await aFolder({
      'relay.yaml': `${redisWithFile.replace(TEST_SECRET, '{file: a}, {file: b}')}`,
      pw: ' pass word \n\n',
      a: `${TEST_SECRET}\n`,
      b: `${TEST_SECRET}\r\n`,
    });
    const { settings } = await loadSettings({
      file: join(folder.path, 'relay.yaml'),
      env: {},
      cwd: '/',
    });
    expect(settings.redis.password?.reveal()).toBe(' pass word \n');
    const secrets = settings.endpoints.get('shop')?.secrets ?? [];
    expect(secrets.map((secret) => secret.reveal())).toEqual([TEST_SECRET, TEST_SECRET]);
  });

  it.each([
    ['absent', null, 'no such file'],
    ['empty', '', 'found an empty file'],
    ['nothing but a newline', '\n', 'found an empty file'],
    ['too large', 'x'.repeat(SECRET_FILE_BYTES_MAX + 1), 'more than'],
    ['no text', Buffer.from([0xff]), 'not UTF-8'],
  ])('cause an error when %s', async (_, content, expected) => {
    await using folder = await aFolder({
      'relay.yaml': redisWithFile,
      ...(content === null ? {} : { pw: content }),
    });
    await expect(folder.load()).rejects.toThrow('relay.yaml:1:24: redis.password_file: expected');
    await expect(folder.load()).rejects.toThrow(expected);
  });

  it('hold a password for each section', async () => {
    await using folder = await aFolder({
      'relay.yaml': withTop('redis: {password_file: a}\nstate: {password_file: b}'),
      a: 'one\n',
    });
    await expect(folder.load()).rejects.toThrow('relay.yaml:2:24: state.password_file: expected');
    await writeFile(join(folder.path, 'b'), 'two\n');
    const { redis, state } = (await folder.load()).settings;
    expect(redis.password?.reveal()).toBe('one');
    expect(state.kind === 'redis' && state.redis.password?.reveal()).toBe('two');
  });

  it('follow the same rules as other secrets', async () => {
    await using folder = await aFolder({
      'relay.yaml': SMALLEST.replace(TEST_SECRET, '{file: a}'),
      a: 'hunter2hunter2',
    });
    await expect(folder.load()).rejects.toThrow(
      /secrets\[0\]\.file: .*found one without the prefix whsec_ \(generate/,
    );
    await expect(folder.load()).rejects.not.toThrow('hunter2');
  });
});

describe('an invalid file', () => {
  it('reports the limits on routes, patterns, secrets and endpoints', async () => {
    const many = (count: number, item: (n: number) => string) =>
      Array.from({ length: count }, (_, n) => item(n)).join(', ');
    const endpoints = many(1001, (n) => `e${n}: {url: "http://e", secrets: none}`);
    const routes = many(1001, (n) => `{name: r${n}, match: "*", to: e0}`);
    const text = `endpoints: {${endpoints}}\nroutes: [${routes}]\n`;
    expect(await mistakesIn(text)).toMatch(
      /1 to 1000 endpoints, found 1001\n.*1 to 1000, found one/,
    );
    const patterns = SMALLEST.replace('"*"', `[${many(101, () => '"*"')}]`);
    expect(await mistakesIn(patterns)).toContain('match: expected a list of 1 to 100, found');
    const secrets = SMALLEST.replace(
      TEST_SECRET,
      many(11, () => TEST_SECRET),
    );
    expect(await mistakesIn(secrets)).toContain('secrets: expected a list of 1 to 10, found');
    expect(await mistakesIn('endpoints: {}\nroutes: []\n')).toMatch(/endpoints.*\n.*routes/);
  });

  it.each([
    ['timeout: 11m', 'timeout: expected a duration from 1ms to 10m'],
    ['timeout: 0s', 'timeout: expected a duration from 1ms to 10m'],
    ['concurrency: 0', 'concurrency: expected a whole number from 1 to 1024, found 0'],
    ['concurrency: 1025', 'concurrency: expected a whole number from 1 to 1024'],
    ['rate_limit: 0/s', 'rate_limit: expected a rate from 1/s'],
    [`retry: {schedule: [${'1s,'.repeat(51)}]}`, 'schedule: expected a list of 0 to 50'],
    ['retry: {jitter: 1.1}', 'jitter: expected a number from 0 to 1'],
    ['headers: [a]', 'headers: expected a mapping from header names to strings, found a list'],
    ['retry: ', 'retry: expected a mapping, found nothing'],
  ])('refuses %s', async (endpoint, expected) => {
    expect(await mistakesIn(withEndpoint(`secrets: none, ${endpoint}`))).toContain(expected);
  });

  it.each([
    ['dead_letters: {keep: 59s}', 'dead_letters.keep: expected a duration from 1m to 3650d'],
    ['dead_letters: {keep: 3651d}', 'dead_letters.keep: expected a duration from 1m to 3650d'],
    ['dead_letters: {max: 0}', 'dead_letters.max: expected a whole number from 1 to 1000000'],
    ['dead_letters: {max: 1000001}', 'dead_letters.max: expected a whole number from 1 to'],
    ['unknown_endpoint_grace: 31d', 'unknown_endpoint_grace: expected a duration from 0ms to 30d'],
  ])('refuses in the state section %s', async (state, expected) => {
    const mistakes = await mistakesIn(withTop(`state: {${state}}`));
    expect(mistakes).toContain(`state.${expected}`);
  });

  it('causes one error for a string whose variable is unset', async () => {
    const text = withTop(
      `log: {level: "\${A}"}\nredis: {url: "\${A}", username: u, databases: ["\${A}"]}`,
    ).replace('to: shop', `to: ["\${A}", shpo]`);
    const lines = (await mistakesIn(text)).split('\n');
    expect(lines).toHaveLength(5);
    expect(lines.filter((line) => line.includes('variable A is not set'))).toHaveLength(4);
  });

  it('does not show values from the environment', async () => {
    const env = { V: 'hunter2[{a}{a}' };
    for (const place of ['name: all', 'match: "*"', 'to: shop']) {
      const [key] = place.split(':');
      const text = SMALLEST.replace(place, `${key}: "\${V}"`);
      const mistakes = await mistakesIn(text, env);
      expect(mistakes).toContain('hidden');
      expect(mistakes).not.toContain('hunter2');
    }
  });

  it('prints no control characters, and cuts long values', async () => {
    const mistakes = await mistakesIn(withTop(`log: {level: "\\e[2J${'x'.repeat(500)}"}`));
    expect(mistakes).toContain('\\x1b[2J');
    expect(mistakes.length).toBeLessThan(400);
  });
});
