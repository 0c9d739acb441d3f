/** Clients of the admin port that send too many requests, or do not read the responses. */
import { setImmediate } from 'node:timers/promises';
import { request } from 'undici';
import { describe, expect, it } from 'vitest';
import { READ_BYTES_MAX, REQUEST_MS_MAX, RESPONSE_MS_MAX } from '../../src/admin/connection.js';
import { CONNECTIONS_MAX, CONNECTIONS_MIN, connectionsMax } from '../../src/admin/connections.js';
import { HEAD_BYTES_MAX } from '../../src/admin/http.js';
import { startAdmin } from '../../src/admin/server.js';
import { SharedText } from '../../src/admin/shared-text.js';
import { type Clock, systemClock } from '../../src/lib/clock.js';
import { ask, RawClient, rawClients } from '../support/admin-client.js';
import { API_PARTS } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { ManualClock } from '../support/manual-clock.js';

interface Open extends AsyncDisposable {
  readonly port: number;
  readonly closed: string[];
  get(path: string): Promise<[status: number, text: string]>;
}

async function open(
  metrics: () => Promise<string> = async () => 'up 1\n',
  clock: Clock = systemClock,
  connectionsMax = CONNECTIONS_MAX,
): Promise<Open> {
  const closed: string[] = [];
  const admin = await startAdmin({
    ...API_PARTS,
    listen: { host: '127.0.0.1', port: 0 },
    checks: () => [],
    metrics,
    metricsType: 'text/plain',
    clock,
    connectionsMax,
    onClosed: (limit) => closed.push(limit),
    onError: () => undefined,
  });
  const { port } = admin.address;
  return {
    port,
    closed,
    get: async (path) => {
      const { statusCode, body } = await request(`http://127.0.0.1:${port}${path}`);
      return [statusCode, await body.text()];
    },
    [Symbol.asyncDispose]: () => admin.close(),
  };
}

const LARGE = 'x'.repeat(16 * 1024 * 1024);

describe('a connection to the admin port', () => {
  it.each([
    ['a thousand requests at once', ask('/livez').repeat(1_000), [200]],
    ['a request over HTTP/1.0', 'GET /livez HTTP/1.0\r\n\r\n', [200]],
    ['lines that end without a carriage return', 'GET /livez HTTP/1.1\nhost: relay\n\n', [200]],
    ['a full URL', ask('http://relay:9464/livez'), [200]],
    ['an Expect', 'GET /livez HTTP/1.1\r\nexpect: 100-continue\r\n\r\n', [200]],
    ['an Upgrade', 'GET /livez HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n', [200]],
    ['a body', 'POST /livez HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody', [405]],
    ['a CONNECT', 'CONNECT relay:80 HTTP/1.1\r\n\r\n', [405]],
    ['another protocol', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
    ['the first bytes of TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', [400]],
    ['a line that is not a request', 'PING\r\n', [400]],
    ['a method in lower case', 'get /livez', [400]],
    ['a request in one line', 'GET /livez\r\n', [400]],
    ['blank lines before a request', `\r\n\n${ask('/livez')}`, [200]],
    [
      'two lengths',
      'GET /livez HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n',
      [200],
    ],
    ['a head that is too large', `GET /livez HTTP/1.1\r\na: ${'b'.repeat(HEAD_BYTES_MAX)}`, [431]],
  ])('is answered once and closed: %s', async (_, written, statuses) => {
    await using admin = await open();
    using client = await RawClient.connect(admin.port, written);
    await client.closed();
    expect(client.statuses).toEqual(statuses);
    expect(client.received).toContain('connection: close');
  });

  it('is answered when its client has ended its side', async () => {
    await using admin = await open();
    using client = await RawClient.connect(admin.port);
    client.socket.end(ask('/metrics'));
    await client.closed();
    expect(client.received).toMatch(/\r\n\r\nup 1\n$/);
  });

  it('is answered when its client has ended its side amid the request', async () => {
    await using admin = await open();
    using client = await RawClient.connect(admin.port);
    client.socket.end('GET /livez HTTP/1.1\r\n');
    await client.closed();
    expect(client.statuses).toEqual([400]);
  });

  it('is closed without an answer when its client has sent nothing', async () => {
    await using admin = await open();
    using client = await RawClient.connect(admin.port);
    client.socket.end();
    await client.closed();
    expect(client.received).toBe('');
  });

  it('is answered when its request is sent byte by byte', async () => {
    await using admin = await open();
    using client = await RawClient.connect(admin.port);
    client.socket.setNoDelay();
    for (const byte of ask('/livez')) {
      client.socket.write(byte);
      await setImmediate();
    }
    await client.closed();
    expect(client.statuses).toEqual([200]);
  });

  it('gets only the head in reply to a HEAD request', async () => {
    await using admin = await open();
    using client = await RawClient.connect(admin.port, 'HEAD /livez HTTP/1.1\r\n\r\n');
    await client.closed();
    expect(client.received).toMatch(/content-length: 3\r\n(.+\r\n)*\r\n$/);
  });

  it('gets a large response completely and in order', async () => {
    const text = Array.from({ length: 100_000 }, (_, n) => `line ${n}\n`).join('');
    await using admin = await open(async () => text);
    expect(await admin.get('/metrics')).toEqual([200, text]);
  });

  it('is read no further when it sends endlessly', async () => {
    await using admin = await open(() => new Promise(() => undefined));
    using client = await RawClient.connect(admin.port, ask('/metrics'));
    const sent = 64 * 1024 * 1024;
    client.socket.write(Buffer.alloc(sent));
    expect(await admin.get('/livez')).toEqual([200, 'ok\n']);
    await eventually('the client is held up', () => client.socket.bytesWritten > READ_BYTES_MAX);
    expect(client.socket.writableLength).toBe(sent);
    expect(client.isClosed).toBe(false);
  });

  it('is closed when its request is not complete in time', async () => {
    const clock = new ManualClock();
    await using admin = await open(undefined, clock);
    using silent = await RawClient.connect(admin.port);
    using slow = await RawClient.connect(admin.port, 'GET /livez HTTP/1.1\r\n');
    await eventually('both are limited', () => clock.timers === 2);
    await clock.advance(REQUEST_MS_MAX);
    await Promise.all([silent.closed(), slow.closed()]);
    expect(admin.closed).toEqual(['time', 'time']);
  });

  it('is written to only while its client reads, and closed when it does not read in time', async () => {
    const clock = new ManualClock();
    await using admin = await open(async () => LARGE, clock);
    using client = await RawClient.unread(admin.port, ask('/metrics').repeat(100));
    await eventually('the request is there', () => clock.timers > 1);
    const before = process.memoryUsage().external;
    await clock.advance(RESPONSE_MS_MAX - 1_000);
    expect(admin.closed).toEqual([]);
    expect(process.memoryUsage().external - before).toBeLessThan(3 * LARGE.length);
    await clock.advance(1_000);
    expect(admin.closed).toEqual(['time']);
    client.socket.resume();
    await client.closed();
    expect(client.received.length).toBeLessThan(LARGE.length);
  });
});

it('a stop does not wait for clients', async () => {
  const admin = await open(async () => LARGE);
  using _silent = await RawClient.connect(admin.port);
  using _unread = await RawClient.unread(admin.port, ask('/metrics'));
  expect(await admin.get('/livez')).toEqual([200, 'ok\n']);
  const fromMs = performance.now();
  await admin[Symbol.asyncDispose]();
  expect(performance.now() - fromMs).toBeLessThan(REQUEST_MS_MAX / 2);
});

describe('beside connections that fill the admin port, /livez answers', () => {
  const MAX = 200;
  it.each([
    ['that send nothing', ''],
    ['that send an incomplete request', 'GET /livez HTTP/1.1\r\n'],
    ['that stay connected after their response', ask('/livez')],
    ['that do not read their metrics', ask('/metrics').repeat(5)],
  ])('%s', async (_, written) => {
    await using admin = await open(async () => LARGE, systemClock, MAX);
    using _clients = await rawClients(MAX + 50, () => RawClient.unread(admin.port, written));
    for (let probe = 0; probe < 3; probe += 1) {
      expect(await admin.get('/livez')).toEqual([200, 'ok\n']);
    }
  });

  it('and the oldest connection is closed for a new one', async () => {
    await using admin = await open(undefined, systemClock, 20);
    using first = await RawClient.connect(admin.port, 'GET /livez');
    using clients = await rawClients(19, () => RawClient.connect(admin.port));
    expect(await admin.get('/livez')).toEqual([200, 'ok\n']);
    await first.closed();
    expect(admin.closed).toEqual(['connections']);
    expect(clients.clients.filter(({ isClosed }) => isClosed)).toEqual([]);
  });

  it('and only open files that the rest of the relay does not need are used', () => {
    expect(connectionsMax(Number.POSITIVE_INFINITY)).toBe(CONNECTIONS_MAX);
    expect(connectionsMax(400)).toBe(400);
    expect(connectionsMax(-100)).toBe(CONNECTIONS_MIN);
  });
});

describe('the metrics', () => {
  it('are rendered once for simultaneous requests, and at most once a second', async () => {
    const clock = new ManualClock();
    let renderings = 0;
    let finish: (text: string) => void = () => undefined;
    const render = () => {
      renderings += 1;
      return new Promise<string>((resolve) => {
        finish = resolve;
      });
    };
    await using admin = await open(render, {
      ...systemClock,
      monotonicMs: () => clock.monotonicMs(),
    });
    const both = Promise.all([admin.get('/metrics'), admin.get('/metrics')]);
    await eventually('it is rendering', () => renderings === 1);
    expect(await admin.get('/livez')).toEqual([200, 'ok\n']);
    finish('one\n');
    expect(await both).toEqual([
      [200, 'one\n'],
      [200, 'one\n'],
    ]);
    clock.jump(999);
    expect(await admin.get('/metrics')).toEqual([200, 'one\n']);
    clock.jump(1);
    const next = admin.get('/metrics');
    await eventually('it is rendering again', () => renderings === 2);
    finish('two\n');
    expect(await next).toEqual([200, 'two\n']);
  });

  /** A text of this size with this rendering time; records the times of its renderings. */
  function shared(bytes: number, tookMs: number) {
    const clock = new ManualClock();
    const renderedAtMs: number[] = [];
    const text = new SharedText(async () => {
      renderedAtMs.push(clock.monotonicMs());
      clock.jump(tookMs);
      return 'x'.repeat(bytes);
    }, clock);
    return { clock, renderedAtMs, text };
  }

  it.each([
    [100, 1_000],
    [1_200_000, 3_000],
    [8_000_000, 10_000],
  ])(
    'of %d bytes are shared for %d ms from the beginning of their rendering',
    async (bytes, ms) => {
      const { clock, renderedAtMs, text } = shared(bytes, 500);
      await text.get();
      clock.jump(ms - 500 - 1);
      await text.get();
      clock.jump(1);
      await text.get();
      expect(renderedAtMs).toEqual([0, ms]);
    },
  );

  it('are not shared for longer after a rendering delayed by Redis', async () => {
    const { renderedAtMs, text } = shared(100, 5_000);
    await text.get();
    await text.get();
    expect(renderedAtMs).toEqual([0, 5_000]);
  });

  it('are replaced by the error if they cannot be rendered, and retried a second later', async () => {
    const clock = new ManualClock();
    const results = [Promise.reject(new Error('no figures')), Promise.resolve('up 1\n')];
    results[0]?.catch(() => undefined);
    await using admin = await open(
      () => results.shift() ?? Promise.reject(new Error('asked too often')),
      { ...systemClock, monotonicMs: () => clock.monotonicMs() },
    );
    expect(await admin.get('/metrics')).toEqual([500, 'no figures\n']);
    expect(await admin.get('/metrics')).toEqual([500, 'no figures\n']);
    clock.jump(1_000);
    expect(await admin.get('/metrics')).toEqual([200, 'up 1\n']);
  });
});
