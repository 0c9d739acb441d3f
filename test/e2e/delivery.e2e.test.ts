/** From Redis to receivers that verify: the content, number, time and form of webhooks. */
import type { ServerResponse } from 'node:http';
import { stringify } from 'safe-stable-stringify';
import { describe, expect, it } from 'vitest';
import { VERSION } from '../../src/lib/version.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';
import { assertVerified, type ReceivedRequest, TestReceiver } from '../support/test-receiver.js';

/** Two more secrets, of 24 and 64 bytes. */
const NEW_SECRET = `whsec_${Buffer.alloc(24, 'new').toString('base64')}`;
const FOREIGN_SECRET = `whsec_${Buffer.alloc(64, 'foreign').toString('base64')}`;

const shared = sharedRedis();

/** Lets all of these keys expire at the same time. */
async function expire(...keys: string[]): Promise<void> {
  const pipeline = shared.client.pipeline();
  for (const key of keys) pipeline.set(key, '', 'PX', 10);
  await pipeline.exec();
}

const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** Waits for so many requests; gives all. */
async function arrived(receiver: TestReceiver, count: number): Promise<ReceivedRequest[]> {
  await eventually(`${count} requests`, () => receiver.requests.length >= count);
  return receiver.requests;
}

function answer(response: ServerResponse, status: number, headers = {}): void {
  response.writeHead(status, headers).end();
}

describe('1,000 keys that expire within 5 seconds', () => {
  it('give exactly 1,000 verified webhooks with 1,000 ids, one for each key', async () => {
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(shared.server.url, receiver.url));
    const keys = numbered('order:', 1_000);
    const pipeline = shared.client.pipeline();
    for (const [i, key] of keys.entries()) pipeline.set(key, 'unpaid', 'PX', 1 + i * 5);
    await pipeline.exec();
    const requests = await arrived(receiver, keys.length);
    await eventually('all is settled', async () => {
      return (await relay.metric('expiry_relay_outbox_pending{endpoint="shop"}')) === 0;
    });
    for (const request of requests) assertVerified(request);
    expect(new Set(requests.map(({ id }) => id)).size).toBe(keys.length);
    expect(receiver.keys.toSorted()).toEqual(keys.toSorted());
    const counts = await relay.metrics(
      'expiry_relay_attempts_total{endpoint="shop",outcome="accepted"}',
      'expiry_relay_expirations_total{route="all",detected_by="notification"}',
    );
    expect(counts).toEqual([keys.length, keys.length]);
  });
});

describe('a request', () => {
  it('is exactly as documented', async () => {
    await using receiver = await TestReceiver.start();
    await using _ = await RelayProcess.start(
      simpleFile(shared.server.url, `${receiver.url}/hooks?tenant=1`, {
        endpoint: { headers: { authorization: 'Bearer of-tests', 'X-Tenant': 'Ünï' } },
        route: {
          name: 'cancel',
          match: 'order:{zone}:{id}:unpaid',
          type: 'order.payment.expired',
          path: '/orders/{id}?zone={zone}',
        },
      }),
    );
    const beforeMs = Date.now();
    // Long enough for its deadline to be read, also on a busy machine.
    await shared.client.set('order:eu:42:unpaid', '', 'PX', 500);
    const [request] = await arrived(receiver, 1);
    if (request === undefined) throw new Error('no request');
    assertVerified(request);
    const { method, path, headers, raw, body } = request;
    expect([method, path]).toEqual(['POST', '/hooks/orders/42?tenant=1&zone=eu']);
    expect(headers).toEqual({
      host: new URL(receiver.url).host,
      connection: 'keep-alive',
      'content-length': String(raw.length),
      'content-type': 'application/json',
      'user-agent': `expiry-relay/${VERSION}`,
      authorization: 'Bearer of-tests',
      'x-tenant': 'Ünï',
      'webhook-id': expect.stringMatching(/^[A-Za-z0-9_-]+$/),
      'webhook-timestamp': expect.stringMatching(/^\d{10}$/),
      'webhook-signature': expect.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
    });
    expect(raw.toString()).toBe(stringify(body));
    expect(body).toEqual({
      type: 'order.payment.expired',
      timestamp: body.data.expired_at,
      data: {
        database: 0,
        detected_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        detected_by: 'notification',
        expired_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        key: 'order:eu:42:unpaid',
        params: { id: '42', zone: 'eu' },
        route: 'cancel',
      },
    });
    const detectedAtMs = Date.parse(`${body.data.detected_at}`);
    expect(detectedAtMs).toBeGreaterThanOrEqual(beforeMs);
    expect(detectedAtMs).toBeLessThanOrEqual(request.atMs);
  });

  it('verifies with either of two secrets, and with no other', async () => {
    await using receiver = await TestReceiver.start();
    await using _ = await RelayProcess.start(
      simpleFile(shared.server.url, receiver.url, {
        endpoint: { secrets: [TEST_SECRET, NEW_SECRET] },
      }),
    );
    await expire('rotated');
    const [request] = await arrived(receiver, 1);
    if (request === undefined) throw new Error('no request');
    assertVerified(request, TEST_SECRET);
    assertVerified(request, NEW_SECRET);
    expect(() => assertVerified(request, FOREIGN_SECRET)).toThrow('No matching signature');
    expect(request.headers['webhook-signature']?.split(' ')).toHaveLength(2);
  });

  it('has no signature with `secrets: none`', async () => {
    await using receiver = await TestReceiver.start();
    await using _ = await RelayProcess.start(
      simpleFile(shared.server.url, receiver.url, { endpoint: { secrets: 'none' } }),
    );
    await expire('unsigned');
    const [request] = await arrived(receiver, 1);
    expect(request?.headers).not.toHaveProperty('webhook-signature');
    expect(request?.id).toMatch(/^msg_/);
    expect(request?.body.data.key).toBe('unsigned');
  });
});

describe('a retry', () => {
  it('carries the same id and bytes, and a new timestamp that is signed', async () => {
    await using receiver = await TestReceiver.start((_, response, count) =>
      answer(response, count === 1 ? 500 : 204),
    );
    await using relay = await RelayProcess.start(
      simpleFile(shared.server.url, receiver.url, {
        // Timestamps are in seconds: a second later there must be another one.
        endpoint: { retry: { schedule: ['1s'], jitter: 0 } },
        route: { match: 'again' },
      }),
    );
    await expire('again');
    const [first, second] = await arrived(receiver, 2);
    if (first === undefined || second === undefined) throw new Error('no requests');
    assertVerified(first);
    assertVerified(second);
    expect(second.id).toBe(first.id);
    expect(second.raw.equals(first.raw)).toBe(true);
    const stamps = [first, second].map(({ headers }) => Number(headers['webhook-timestamp']));
    expect(stamps[1]).toBeGreaterThan(stamps[0] ?? Number.NaN);
    expect(Math.abs((stamps[1] ?? 0) - second.atMs / 1000)).toBeLessThan(1.5);
    expect(second.headers['webhook-signature']).not.toBe(first.headers['webhook-signature']);
    await eventually('two lines', () => relay.logs('attempt').length === 2);
    expect(relay.logs('attempt')).toMatchObject([
      { id: first.id, attempt: 1, disposition: 'retry' },
      { id: first.id, attempt: 2, disposition: 'done' },
    ]);
  });
});

/** Two endpoints that both get every key that matches. */
function twoEndpoints(shop: TestReceiver, other: TestReceiver, match: string) {
  return {
    redis: { url: shared.server.url },
    endpoints: {
      shop: {
        url: shop.url,
        secrets: [TEST_SECRET],
        retry: { schedule: ['10ms', '10ms'], jitter: 0 },
      },
      other: { url: other.url, secrets: [TEST_SECRET] },
    },
    routes: [{ name: 'all', match, to: ['shop', 'other'] }],
  };
}

describe('an endpoint that answers', () => {
  it('429 with Retry-After gets nothing at all until then, then everything', async () => {
    await using other = await TestReceiver.start();
    await using shop = await TestReceiver.start((_, response, count) =>
      count === 1 ? answer(response, 429, { 'retry-after': '2' }) : answer(response, 204),
    );
    await using relay = await RelayProcess.start(twoEndpoints(shop, other, 'throttled:*'));
    await expire('throttled:first');
    await relay.logged('endpoint_throttled');
    await expire('throttled:second');
    await arrived(other, 2);
    const [refused, ...later] = await arrived(shop, 3);
    const throttledUntilMs = (refused?.atMs ?? Number.NaN) + 2_000;
    expect(later.map(({ body }) => body.data.key).toSorted()).toEqual([
      'throttled:first',
      'throttled:second',
    ]);
    for (const request of later) {
      assertVerified(request);
      expect(request.atMs).toBeGreaterThanOrEqual(throttledUntilMs);
    }
    // The other endpoint did not wait.
    for (const { atMs } of other.requests) expect(atMs).toBeLessThan(throttledUntilMs);
  });

  it('410 gets nothing more: its webhooks are dead letters, and others are delivered', async () => {
    await using other = await TestReceiver.start();
    await using shop = await TestReceiver.start((_, response) => answer(response, 410));
    await using relay = await RelayProcess.start(twoEndpoints(shop, other, 'gone:*'));
    await expire('gone:first');
    await relay.logged('endpoint_gone');
    await expire('gone:second', 'gone:third');
    await eventually('three dead letters of an endpoint that is gone', async () => {
      const [letters, gone] = await relay.metrics(
        'expiry_relay_dead_letters{endpoint="shop"}',
        'expiry_relay_endpoint_gone{endpoint="shop"}',
      );
      return letters === 3 && gone === 1;
    });
    expect(relay.logs('dead_unattempted')).toMatchObject([{ count: 1, dead_reason: 'gone' }]);
    await arrived(other, 3);
    expect(shop.keys).toEqual(['gone:first']);
    expect(relay.logs('attempt').filter(({ endpoint }) => endpoint === 'shop')).toMatchObject([
      { outcome: 'rejected', status: 410, disposition: 'dead', dead_reason: 'gone' },
    ]);
    const others = await relay.metrics(
      'expiry_relay_dead_letters{endpoint="other"}',
      'expiry_relay_outbox_pending{endpoint="shop"}',
    );
    expect(others).toEqual([0, 0]);
    expect((await relay.get('/readyz')).status).toBe(200);
  });
});

describe('the limits of an endpoint', () => {
  it('concurrency is reached, and never exceeded', async () => {
    const open: ServerResponse[] = [];
    let openMax = 0;
    await using receiver = await TestReceiver.start((_, response) => {
      openMax = Math.max(openMax, open.push(response));
    });
    await using relay = await RelayProcess.start(
      simpleFile(shared.server.url, receiver.url, {
        endpoint: { concurrency: 3 },
        route: { match: 'concurrent:*' },
      }),
    );
    const keys = numbered('concurrent:', 12);
    await expire(...keys);
    await eventually('all are captured', async () => {
      return (await relay.metric('expiry_relay_outbox_pending{endpoint="shop"}')) === keys.length;
    });
    for (let answered = 0; answered < keys.length; answered += 1) {
      const expected = Math.min(3, keys.length - answered);
      await eventually(`${expected} open requests`, () => open.length === expected);
      const response = open.shift();
      if (response !== undefined) answer(response, 204);
    }
    await eventually('all are settled', () => relay.logs('attempt').length === keys.length);
    expect(openMax).toBe(3);
    expect(receiver.keys.toSorted()).toEqual(keys.toSorted());
  });

  it('rate_limit is kept in any second, and everything arrives', async () => {
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(
      simpleFile(shared.server.url, receiver.url, {
        endpoint: { rate_limit: '20/s' },
        route: { match: 'limited:*' },
      }),
    );
    const keys = numbered('limited:', 40);
    await expire(...keys);
    await arrived(receiver, keys.length);
    await eventually('all lines', () => relay.logs('attempt').length === keys.length);
    // By the relay's clock: on a busy machine arrivals would be seen in clusters.
    const startsMs = relay
      .logs('attempt')
      .map(({ time, duration_ms }) => Date.parse(`${time}`) - Number(duration_ms));
    const withinOneSecond = startsMs.map(
      (startMs) => startsMs.filter((ms) => ms >= startMs && ms < startMs + 1_000).length,
    );
    // A tenth may be sent at once, and log lines have times in whole milliseconds.
    expect(Math.max(...withinOneSecond)).toBeLessThanOrEqual(23);
    expect(receiver.keys.toSorted()).toEqual(keys.toSorted());
  });
});
