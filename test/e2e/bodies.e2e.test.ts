/** Custom bodies, as real receivers get them. */
import { CloudEvent, HTTP } from 'cloudevents';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { cli, tempFolder } from '../support/cli.js';
import { blockOf } from '../support/doc-pages.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { sharedRedis } from '../support/shared-redis.js';
import { assertVerified, type ReceivedRequest, TestReceiver } from '../support/test-receiver.js';

const shared = sharedRedis();

const FORM = 'application/x-www-form-urlencoded';
const HOSTILE = '42&admin=1"},{"\r\n/../x';

/** Long enough for its deadline to be read, also on a busy machine. */
const expire = (key: string) => shared.client.set(key, '', 'PX', 500);

const arrived = (receiver: TestReceiver, count = 1) =>
  eventually(`${count} requests`, () => {
    const { requests } = receiver;
    return requests.length >= count ? requests : null;
  });

const fieldsOf = ({ raw }: ReceivedRequest) =>
  Object.fromEntries(new URLSearchParams(raw.toString()));

describe('a body for an existing endpoint', () => {
  it('is the form of the documentation, signed, at its own path', async () => {
    await using receiver = await TestReceiver.start();
    const file = parse(blockOf('docs/request-bodies.md', 'yaml', FORM));
    file.redis = { url: shared.server.url };
    file.endpoints.shop.url = receiver.url;
    const env = { SHOP_WEBHOOK_SECRET: TEST_SECRET, SHOP_TOKEN: 'of-tests' };
    await using _ = await RelayProcess.start(file, env);
    await expire('order:42:unpaid');
    const [request] = await arrived(receiver);
    if (request === undefined) throw new Error('no request');
    assertVerified(request);
    expect([request.method, request.path]).toEqual(['POST', '/orders/42/cancel']);
    expect(request.headers).toMatchObject({
      'content-type': FORM,
      'content-length': String(request.raw.length),
      authorization: 'Bearer of-tests',
    });
    expect(fieldsOf(request)).toEqual({
      reason: 'not paid in time',
      order: '42',
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
  });

  it('keeps its method, content type and bytes over retries, as a dead letter, and replayed', async () => {
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(500).end();
    });
    const file = simpleFile(shared.server.url, receiver.url, {
      endpoint: { retry: { schedule: ['100ms'], jitter: 0 } },
      route: {
        match: 'order:{id}',
        method: 'PUT',
        content_type: FORM,
        body: { order: '{id}', id: '{webhook_id}' },
      },
    });
    await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
    const dead = (...words: string[]) => cli(['dead', ...words], { cwd: folder.path });
    await using first = await RelayProcess.start(file);
    await expire(`order:${HOSTILE}`);
    const [before] = await arrived(receiver, 2);
    if (before === undefined) throw new Error('no request');
    await eventually('a dead letter', async () =>
      (await dead('list', '--json')).stdout.includes('"attempts":2'),
    );
    const { stdout } = await dead('show', before.id);
    expect(stdout).toMatch(/^request +PUT http:/m);
    expect(stdout).toMatch(/^body +\d+ bytes, application\/x-www-form-urlencoded$/m);
    expect((await dead('show', before.id, '--body')).stdout).toBe(before.raw.toString());
    await first.stop('SIGKILL');
    receiver.respond = (_, response) => void response.writeHead(204).end();
    await using _ = await RelayProcess.start(file);
    await dead('replay', before.id);
    await arrived(receiver, 3);
    for (const request of receiver.requests) {
      assertVerified(request);
      expect(request).toMatchObject({ method: 'PUT', id: before.id, raw: before.raw });
      expect(request.headers['content-type']).toBe(FORM);
      expect(fieldsOf(request)).toEqual({ order: HOSTILE, id: before.id });
    }
  });

  it('is JSON whose values keep their types, by each method', async () => {
    await using receiver = await TestReceiver.start();
    const methods = ['POST', 'PUT', 'PATCH', 'DELETE'];
    const body = { order: { ref: '{id}', text: 'order "{id}"' }, database: '{database}', n: 1.5 };
    const route = { match: 'order:{id}', to: 'shop', body };
    const routes = methods.map((method) => ({ ...route, name: method, method }));
    const file = { ...simpleFile(shared.server.url, receiver.url), routes };
    await using _ = await RelayProcess.start(file);
    await expire(`order:${HOSTILE}`);
    await arrived(receiver, methods.length);
    expect(receiver.requests.map(({ method }) => method).toSorted()).toEqual(methods.toSorted());
    for (const request of receiver.requests) {
      assertVerified(request);
      expect(JSON.parse(request.raw.toString())).toEqual({
        database: 0,
        n: 1.5,
        order: { ref: HOSTILE, text: `order "${HOSTILE}"` },
      });
    }
  });

  it('has the fields of a value and of a lookup, as JSON and as a form', async () => {
    await using receiver = await TestReceiver.start();
    const asking = { match: 'timer:{id}', to: 'shop', include: ['value'], lookup: 'order:{id}' };
    const body = { total: '{lookup.total}', note: 'by {value}', missing: '{lookup.nothing}' };
    const routes = [
      { ...asking, name: 'json', body: { ...body, order: '{lookup}' } },
      { ...asking, name: 'form', body, content_type: FORM },
    ];
    const file = { ...simpleFile(shared.server.url, receiver.url), routes };
    await using relay = await RelayProcess.start(file);
    await eventually('watching', () => relay.watches);
    await shared.client.hset('order:42', { total: '12.50', name: HOSTILE });
    await shared.client.set('timer:42', '"&me', 'PX', 3_000);
    await arrived(receiver, 2);
    const [form] = receiver.requests.filter(({ headers }) => headers['content-type'] === FORM);
    const [json] = receiver.requests.filter((request) => request !== form);
    expect(json?.body).toEqual({
      total: '12.50',
      note: 'by "&me',
      missing: null,
      order: { total: '12.50', name: HOSTILE },
    });
    if (form === undefined) throw new Error('no form');
    expect(fieldsOf(form)).toEqual({ total: '12.50', note: 'by "&me', missing: '' });
  });

  it('is a CloudEvent that its SDK reads and a Standard Webhooks library verifies', async () => {
    await using receiver = await TestReceiver.start();
    const file = simpleFile(shared.server.url, receiver.url, {
      route: { match: 'order:{id}', type: 'com.shop.order.late', format: 'cloudevents' },
    });
    await using _ = await RelayProcess.start(file);
    await expire('order:é42');
    const [request] = await arrived(receiver);
    if (request === undefined) throw new Error('no request');
    assertVerified(request);
    expect(request.headers['content-type']).toBe('application/cloudevents+json; charset=utf-8');
    const body = request.raw.toString();
    const event = HTTP.toEvent<{ expired_at: string }>({ headers: { ...request.headers }, body });
    if (!(event instanceof CloudEvent)) throw new Error('expected one event');
    expect(event).toMatchObject({
      id: request.id,
      source: '/expiry-relay/expiry-relay',
      type: 'com.shop.order.late',
      subject: 'order:é42',
      time: event.data?.expired_at,
      data: { key: 'order:é42', params: { id: 'é42' }, route: 'all', detected_by: 'notification' },
    });
  });

  it('that would be too large is counted and logged, and nothing else is lost', async () => {
    await using receiver = await TestReceiver.start();
    const small = { name: 'small', match: '*', to: 'shop', body: { route: '{route}' } };
    const large = { name: 'large', match: '*', to: 'shop', body: '{key}'.repeat(100) };
    const file = { ...simpleFile(shared.server.url, receiver.url), routes: [large, small] };
    await using relay = await RelayProcess.start(file);
    await expire('x'.repeat(200_000));
    const [request] = await arrived(receiver);
    expect(request?.body).toEqual({ route: 'small' });
    expect(await relay.logged('delivery_oversized')).toMatchObject({
      level: 'error',
      route: 'large',
      endpoint: 'shop',
      key_bytes: 200_000,
    });
    const series = 'expiry_relay_deliveries_oversized_total{endpoint="shop"}';
    expect(await relay.metric(series)).toBe(1);
    expect(receiver.requests).toHaveLength(1);
  });
});
