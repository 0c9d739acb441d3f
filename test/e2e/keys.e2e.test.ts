// cspell:ignore mred заказ
/** Keys as Redis allows them: any bytes, any length. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess } from '../support/relay-process.js';
import { assertVerified, type ReceivedRequest, TestReceiver } from '../support/test-receiver.js';

const MEBIBYTE = 1024 * 1024;

/** Every control character but the newline that ends a line. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
const CONTROL = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]/;

/** The part of a key that matches {id} in the route's pattern, without colons. */
const AWKWARD: readonly [name: string, id: string | Buffer][] = [
  ['one byte', 'x'],
  ['two dots', '..'],
  ['one dot', '.'],
  ['a way up', '../../etc/passwd'],
  ['an encoded slash', '%2f..%2F'],
  ['a percent sign alone', '%'],
  ['braces', '{}{id}${HOME}'],
  ['spaces', ' a b '],
  ['newlines', 'a\r\nb\n\n'],
  ['a forged request', 'x HTTP/1.1\r\n\r\nPOST /forged HTTP/1.1\r\n\r\n'],
  ['quotes and backslashes', '\'"`\\\\" \\u0000'],
  ['ANSI escapes', '\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b2J'],
  ['NUL', 'a\0b\0'],
  ['another host', '@evil.example//evil.example/'],
  ['a query and a fragment', '?admin=1&x#y;z'],
  ['right-to-left marks and line separators', '\u202egnp.exe\u2028\u2029\ufeff'],
  ['many scripts', 'заказ-訂單-😀'],
  ['no UTF-8', Buffer.from([0x80, 0xff, 0x00, 0x0a, 0x41, 0xc3])],
  ['half a surrogate pair', Buffer.from([0xed, 0xa0, 0xbd])],
];

const FORGED_LINE = 'x"}\n{"level":"info","event":"forged","msg":"forged"}\n';

let server: RunningRedis;
let redis: Redis;
let receiver: TestReceiver;
let relay: RelayProcess;

/** Lets a key expire, by default in database 0. */
const expire = (key: string | Buffer, client: Redis = redis) => client.set(key, '', 'PX', 10);

/** For a relay beside the shared one: its state is in a separate database. */
const withOwnState = (database: number) => ({
  redis: { url: server.url },
  state: { url: `${server.url}/${database}` },
});

/** The first request that `matches`. */
const arrival = (what: string, matches: (request: ReceivedRequest) => boolean) =>
  eventually(what, () => receiver.requests.find(matches));

const toEvery = ({ path }: ReceivedRequest) => path === '/every';
const toOrders = ({ path }: ReceivedRequest) => path.startsWith('/hooks/');

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url, { protocol: 2 });
  receiver = await TestReceiver.start();
  relay = await RelayProcess.start({
    redis: { url: server.url, databases: [0, 1] },
    endpoints: {
      every: { url: `${receiver.url}/every`, secrets: [TEST_SECRET] },
      orders: { url: `${receiver.url}/hooks`, secrets: [TEST_SECRET] },
    },
    routes: [
      { name: 'every', match: '*', to: 'every' },
      { name: 'cancel', match: 'o:{id}', to: 'orders', path: '/orders/{id}/cancel' },
    ],
    log: { level: 'trace' },
  });
});

afterAll(async () => {
  await relay?.[Symbol.asyncDispose]();
  await receiver?.[Symbol.asyncDispose]();
  redis?.disconnect();
  await server?.stop();
});

describe.each(AWKWARD)('a key with %s', (_, id) => {
  const key = Buffer.concat([Buffer.from('o:'), Buffer.from(id)]);
  const isUtf8 = Buffer.from(key.toString()).equals(key);

  beforeAll(() => expire(key));

  it('is exactly in the body', async () => {
    const request = await arrival(
      'the webhook',
      (received) => toEvery(received) && received.body.data.key === key.toString(),
    );
    assertVerified(request);
    expect(request.body.data.key_base64).toBe(isUtf8 ? undefined : key.toString('base64'));
    expect(request.body.data.key.includes('\ufffd')).toBe(!isUtf8);
  });

  it('fills one segment of the path, exactly, and reaches nothing else', async () => {
    const { path, headers, body } = await arrival(
      'the webhook',
      (received) => toOrders(received) && received.body.data.key === key.toString(),
    );
    const [, segment = ''] = /^\/hooks\/orders\/([A-Za-z0-9._~%-]+)\/cancel$/.exec(path) ?? [];
    expect(percentDecoded(segment)).toEqual(Buffer.from(id));
    expect(segment).not.toMatch(/^\.{1,2}$/);
    expect(headers.host).toBe(new URL(receiver.url).host);
    expect(body.data.params).toEqual({ id: Buffer.from(id).toString() });
  });
});

function percentDecoded(text: string): Buffer {
  const bytes = text.match(/%[0-9A-F]{2}|[^%]/g) ?? [];
  return Buffer.concat(
    bytes.map((part) =>
      part.length === 1 ? Buffer.from(part) : Buffer.from(part.slice(1), 'hex'),
    ),
  );
}

describe('the length of a key', () => {
  it('may be zero', async () => {
    await expire('');
    const request = await arrival(
      'the webhook',
      ({ body }) => body.data.key === '' && body.type !== '',
    );
    assertVerified(request);
  });

  it('may be one byte', async () => {
    await expire('k');
    assertVerified(await arrival('the webhook', ({ body }) => body.data.key === 'k'));
  });

  it('may be 1 MiB', async () => {
    const key = 'm'.repeat(MEBIBYTE);
    await expire(key);
    assertVerified(await arrival('the webhook', ({ body }) => body.data.key === key));
  });

  it('may be 1 MiB of bytes that take six times the space in JSON', async () => {
    const key = '\0'.repeat(MEBIBYTE);
    await expire(key);
    assertVerified(await arrival('the webhook', ({ body }) => body.data.key === key));
  });

  it('may not be more: the key is logged and counted, and the relay continues', async () => {
    await expire('t'.repeat(MEBIBYTE + 1));
    const line = await relay.logged('expiration_oversized');
    expect(line).toMatchObject({
      level: 'error',
      database: 0,
      key: `${'t'.repeat(200)}…`,
      key_bytes: MEBIBYTE + 1,
      key_bytes_max: MEBIBYTE,
    });
    expect(await relay.metric('expiry_relay_expirations_oversized_total')).toBe(1);
    await expire('after the long one');
    await arrival('the next webhook', ({ body }) => body.data.key === 'after the long one');
    expect(receiver.keys.filter((key) => key.startsWith('ttt'))).toEqual([]);
  });
});

describe('the database of a key', () => {
  it('is in the body; unwatched databases cause no webhook', async () => {
    const inOne = new Redis(server.url, { protocol: 2, db: 1 });
    const inTwo = new Redis(server.url, { protocol: 2, db: 2 });
    await expire('in two', inTwo);
    // Redis publishes `expired` before it replies that the key does not exist.
    await eventually('the end of the key', async () => (await inTwo.exists('in two')) === 0);
    await expire('in one', inOne);
    const request = await arrival('the webhook', ({ body }) => body.data.key === 'in one');
    expect(request.body.data.database).toBe(1);
    expect(receiver.keys).not.toContain('in two');
    inOne.disconnect();
    inTwo.disconnect();
  });
});

describe('the ids of webhooks', () => {
  it('differ between routes, between endpoints and between the expirations of one key', async () => {
    await using here = await TestReceiver.start();
    await using there = await TestReceiver.start();
    await using other = await RelayProcess.start({
      ...withOwnState(3),
      endpoints: {
        here: { url: here.url, secrets: [TEST_SECRET] },
        there: { url: there.url, secrets: [TEST_SECRET] },
      },
      routes: [
        { name: 'one', match: 'id:*', to: ['here', 'there'] },
        { name: 'two', match: ['*', 'id:{n}'], to: 'here' },
      ],
    });
    await expire('id:1');
    await eventually('one here and there', () => here.requests[1] && there.requests[0]);
    await expire('id:1');
    await eventually('another', () => here.requests[3] && there.requests[1]);
    const requests = [...here.requests, ...there.requests];
    expect(new Set(requests.map(({ id }) => id)).size).toBe(6);
    expect(requests.filter(({ id }) => !/^[A-Za-z0-9_-]+$/.test(id))).toEqual([]);
    const routes = (receivedBy: TestReceiver) =>
      receivedBy.requests.map(({ body }) => body.data.route).sort();
    expect([routes(here), routes(there)]).toEqual([
      ['one', 'one', 'two', 'two'],
      ['one', 'one'],
    ]);
    await eventually('six attempts', () => other.logs('attempt').length === 6);
  });
});

describe('the log', () => {
  it('is one line of JSON after another, without control characters or forged lines', async () => {
    const ids = [...AWKWARD.map(([, id]) => id), FORGED_LINE];
    const keys = ids.map((id) => Buffer.concat([Buffer.from('log:'), Buffer.from(id)]));
    for (const key of keys) await expire(key);
    await eventually('all lines', async () => {
      const logged = relay.logs('attempt').filter(({ key }) => `${key}`.startsWith('log:'));
      return logged.length === keys.length;
    });
    expect(relay.stdout).not.toMatch(CONTROL);
    expect(relay.logs().filter(({ level, event, msg }) => !level || !event || !msg)).toEqual([]);
    expect(relay.logs('forged')).toEqual([]);
    expect(relay.logs().filter((line) => CONTROL.test(Object.values(line).join()))).toEqual([]);
    expect(relay.stderr).toBe('');
  });

  it('made pretty, holds no control characters and no forged lines either', async () => {
    await using pretty = await RelayProcess.spawn({
      ...withOwnState(4),
      endpoints: { every: { url: receiver.url, secrets: [TEST_SECRET] } },
      routes: [{ name: 'every', match: '*', to: 'every' }],
      log: { level: 'trace', format: 'pretty' },
    });
    await eventually('listening', () => pretty.stdout.includes('listening for expirations'));
    const ids = [...AWKWARD.map(([, id]) => id), FORGED_LINE];
    for (const id of ids) await expire(`pretty:${id}`);
    const delivered = () => pretty.stdout.match(/ attempt {2}delivered {2}/gm)?.length;
    await eventually('all lines', () => delivered() === ids.length);
    expect(pretty.stdout).not.toMatch(CONTROL);
    expect(pretty.stdout).not.toMatch(/^\{/m);
  });
});
