// cspell:ignore cancle
/** Requests that leave for real receivers, with no Redis anywhere. */
import { CloudEvent, HTTP } from 'cloudevents';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { selfSigned } from '../support/certificate.js';
import { cli, startCli, tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { startHttps } from '../support/https-server.js';
import { assertVerified, TestReceiver } from '../support/test-receiver.js';

const TOKEN = 'hush-4711';

/** Nobody listens on the port of its Redis. */
async function aFolder(url: string, given: { endpoint?: object; routes?: readonly object[] } = {}) {
  const shop = {
    url: `${url}/hooks?token=${TOKEN}`,
    secrets: [TEST_SECRET],
    headers: { authorization: `Bearer ${TOKEN}` },
    ...given.endpoint,
  };
  const file = {
    redis: { url: `redis://127.0.0.1:${await freePort()}` },
    endpoints: { shop, audit: { url: `${url}/audit`, secrets: 'none' } },
    routes: given.routes ?? [
      { name: 'cancel', match: 'order:{id}', to: ['shop', 'audit'], path: '/orders/{id}' },
      { name: 'other', match: 'order:*', to: 'audit' },
    ],
  };
  const folder = await tempFolder({ 'relay.yaml': stringify(file) });
  return {
    send: (...words: string[]) => cli(['send', ...words], { cwd: folder.path }),
    match: (...words: string[]) => cli(['match', ...words], { cwd: folder.path }),
    start: (...words: string[]) => startCli(['send', ...words], { cwd: folder.path }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe('send', () => {
  it('sends what match shows to every endpoint of every route, as a test', async () => {
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(202).end('thank you');
    });
    await using folder = await aFolder(receiver.url);
    const { code, stdout, stderr } = await folder.send('order:42');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(receiver.requests.map(({ path }) => path)).toEqual([
      `/hooks/orders/42?token=${TOKEN}`,
      '/audit/orders/42',
      '/audit',
    ]);
    const [first] = receiver.requests;
    if (first === undefined) throw new Error('expected a request');
    assertVerified(first);
    for (const { id, headers, body } of receiver.requests) {
      expect(id).toMatch(/^msg_test_[0-9a-f]{32}$/);
      expect(headers['expiry-relay-test']).toBe('true');
      expect(body.data).toMatchObject({ key: 'order:42', test: true });
      expect(stdout).toContain(`  webhook-id: ${id}\n`);
    }
    expect(stdout).toMatch(
      /^route cancel to shop, id = 42\n {2}POST http:\S+\/hooks\/orders\/42\?\[secret\]\n/,
    );
    expect(stdout.match(/ {2}accepted with 202 after [\d.]+ m?s\n {2}thank you\n/g)).toHaveLength(
      3,
    );
    expect(stdout).not.toContain(TOKEN);
    const shown = await folder.match('order:42');
    const lines = shown.stdout.split('\n').filter((line) => /^(route| {2}POST)/.test(line));
    for (const line of lines) expect(stdout).toContain(`${line}\n`);
  });

  it('sends no body where a route has none, which listen verifies with a secret beside an empty one', async () => {
    const listening = startCli(['listen', '--port', '0', '--secret', '', '--secret', TEST_SECRET]);
    const url = await eventually('the address', () => /http:\S+/.exec(listening.stderr.text)?.[0]);
    const routes = [{ name: 'ping', match: 'order:{id}', to: 'shop', body: 'none' }];
    await using folder = await aFolder(url, { routes });
    expect(await folder.send('order:42')).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(listening.stdout.text)).toMatchObject({
      verdict: 'verified',
      content_type: null,
      body: null,
    });
    listening.stop();
    await listening.done;
  });

  it('warns in its help of endpoints that process test webhooks as real events', async () => {
    const { code, stdout } = await cli(['send', '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('real events: use a key that matches no record.');
  });

  it('has another id each time', async () => {
    await using receiver = await TestReceiver.start();
    await using folder = await aFolder(receiver.url);
    await folder.send('order:42');
    await folder.send('order:42');
    expect(new Set(receiver.requests.map(({ id }) => id)).size).toBe(6);
  });

  it('marks CloudEvents and templates as well', async () => {
    await using receiver = await TestReceiver.start();
    await using folder = await aFolder(receiver.url, {
      routes: [
        { name: 'event', match: '*', to: 'shop', format: 'cloudevents' },
        { name: 'template', match: '*', to: 'shop', method: 'PATCH', body: { id: '{webhook_id}' } },
      ],
    });
    expect((await folder.send('a')).code).toBe(0);
    const [event, template] = receiver.requests;
    const parsed = HTTP.toEvent({ headers: { ...event?.headers }, body: String(event?.raw) });
    expect(parsed).toBeInstanceOf(CloudEvent);
    expect(parsed).toMatchObject({ id: event?.id, data: { test: true } });
    expect(template).toMatchObject({ method: 'PATCH', body: { id: template?.id } });
    expect(template?.headers['expiry-relay-test']).toBe('true');
  });

  it('says of values that they are missing: no Redis is asked', async () => {
    await using receiver = await TestReceiver.start();
    const asking = { match: 'order:{id}', include: ['value'], lookup: 'cart:{id}' };
    await using folder = await aFolder(receiver.url, {
      routes: [
        { name: 'standard', to: 'shop', ...asking },
        { name: 'template', to: 'shop', ...asking, body: { v: '{value.a}', l: '{lookup}' } },
      ],
    });
    expect((await folder.send('order:42')).code).toBe(0);
    const [standard, template] = receiver.requests;
    expect(standard?.body.data).toMatchObject({
      value: null,
      value_omitted: 'gone',
      lookup: { key: 'cart:42', value: null, value_omitted: 'unavailable' },
    });
    expect(template?.body).toEqual({ v: null, l: null });
  });

  it('can be narrowed to a route and to an endpoint', async () => {
    await using receiver = await TestReceiver.start();
    await using folder = await aFolder(receiver.url);
    await folder.send('order:42', '--route', 'other');
    await folder.send('order:42', '--endpoint', 'shop');
    await folder.send('order:42', '--route', 'cancel', '--endpoint', 'audit');
    expect(receiver.requests.map(({ path }) => path.split('?')[0])).toEqual([
      '/audit',
      '/hooks/orders/42',
      '/audit/orders/42',
    ]);
    const none = await folder.send('order:42', '--route', 'other', '--endpoint', 'shop');
    expect(none).toMatchObject({ code: 1, stdout: '' });
    expect(none.stderr).toBe(
      'expiry-relay: no route matches "order:42" with --route other with --endpoint shop; ' +
        'patterns: order:{id} (cancel), order:* (other)\n',
    );
  });

  it.each([
    [
      ['order:1', '--route', 'cancle'],
      2,
      '--route: expected a route in the file, found "cancle" (did you mean "cancel"?)',
    ],
    [['order:1', '--endpoint', 'x'], 2, '--endpoint: expected an endpoint in the file, found "x"'],
    [['cart:1'], 1, 'no route matches "cart:1"; patterns: order:{id} (cancel), order:* (other)'],
    [['order:1', '--database', '3'], 1, 'database 3 is not watched (redis.databases)'],
  ])('answers %j with exit code %i', async (words, code, message) => {
    await using folder = await aFolder('http://127.0.0.1:9');
    const stderr = `expiry-relay: ${message}\n`;
    expect(await folder.send(...words)).toEqual({ code, stdout: '', stderr });
  });

  it('shows a refusal, and exits 1 although it has sent', async () => {
    await using receiver = await TestReceiver.start((_, response, count) => {
      response.writeHead(count === 2 ? 204 : 500).end(`\u001b[2Jno disk; ${TOKEN}`);
    });
    await using folder = await aFolder(receiver.url);
    const { code, stdout, stderr } = await folder.send('order:42');
    expect(code).toBe(1);
    expect(stderr).toBe('expiry-relay: 2 of 3 test webhooks not accepted\n');
    expect(stdout).toMatch(/rejected with 500 after \S+ m?s \(expected 2xx\)\n {2}\[withheld/);
    expect(stdout).toMatch(/accepted with 204 after \S+ m?s\n/);
    expect(stdout).toContain('\\x1b[2Jno disk');
    expect(receiver.requests).toHaveLength(3);
  });

  it('names the statuses that the endpoint accepts', async () => {
    await using receiver = await TestReceiver.start((_, response, count) => {
      response.writeHead(count === 1 ? 409 : 404).end();
    });
    await using folder = await aFolder(receiver.url, { endpoint: { accept: [303, 409] } });
    expect((await folder.send('order:42')).stdout).toMatch(/accepted with 409 after \S+ m?s\n/);
    expect((await folder.send('order:42')).stdout).toMatch(
      /rejected with 404 after \S+ m?s \(expected 2xx, 303, 409\)\n/,
    );
  });

  it.each([
    [410, {}, '→ the relay would disable this endpoint until a reload'],
    [
      301,
      { location: '/other?key=hush' },
      /→ redirects are not followed: .* \(location: \S+\/other\?…\)\n/,
    ],
    [304, {}, /→ redirects are not followed: correct the URL\n/],
    [401, {}, '→ check that the receiver has the same secret, and the headers of the endpoint\n'],
    [404, {}, '→ check the URL of the endpoint, and the path and the method of the route\n'],
    [500, {}, "→ check the receiver's log\n"],
  ])('says what an answer of %i means', async (status, headers, advice) => {
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(status, headers).end();
    });
    await using folder = await aFolder(receiver.url);
    const { code, stdout } = await folder.send('order:42', '--endpoint', 'shop');
    expect(code).toBe(1);
    expect(stdout).toMatch(advice);
    expect(stdout).not.toContain('hush');
  });

  it('says of a certificate what doctor says', async () => {
    await using certificate = await selfSigned('IP:127.0.0.1');
    await using server = await startHttps(certificate);
    await using folder = await aFolder(server.url);
    const { code, stdout } = await folder.send('order:42', '--endpoint', 'shop');
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /\(tls\): .*\n {2}→ if the certificate is signed by your own authority, set tls.ca_file/,
    );
  });

  it('says that an endpoint may want a certificate of the relay', async () => {
    await using certificate = await selfSigned('IP:127.0.0.1');
    await using server = await startHttps(certificate, [certificate]);
    await using folder = await aFolder(server.url, {
      endpoint: { tls: { ca_file: certificate.certFile } },
    });
    const { code, stdout } = await folder.send('order:42', '--endpoint', 'shop');
    expect(code).toBe(1);
    expect(stdout).toMatch(/→ .*client certificate.*tls\.cert_file/);
  });

  it('says why nobody could be reached, and what to do', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    await using folder = await aFolder(url);
    const { code, stdout } = await folder.send('order:42', '--endpoint', 'shop');
    expect(code).toBe(1);
    expect(stdout).toMatch(/failed after \S+ m?s \(connection_refused\): connect ECONNREFUSED/);
    expect(stdout).toContain('→ start the receiver, or correct the port in the URL');
    expect(stdout).not.toContain(TOKEN);
  });

  it('sends to another URL, signed, without what is meant for the endpoint', async () => {
    await using receiver = await TestReceiver.start();
    await using folder = await aFolder('http://127.0.0.1:9');
    const { code, stdout } = await folder.send('order:42', '--to', `${receiver.url}/here`);
    expect(code).toBe(0);
    expect(receiver.requests.map(({ path }) => path)).toEqual([
      '/here/orders/42',
      '/here/orders/42',
      '/here',
    ]);
    const [first] = receiver.requests;
    if (first === undefined) throw new Error('expected a request');
    assertVerified(first);
    expect(first.headers.authorization).toBeUndefined();
    expect(stdout).not.toContain(TOKEN);
    const wrong = await folder.send('order:42', '--to', 'here');
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toContain('--to: expected a URL such as');
  });

  it("gives up after the endpoint's timeout", async () => {
    await using receiver = await TestReceiver.start(() => undefined);
    await using folder = await aFolder(receiver.url, { endpoint: { timeout: '200ms' } });
    const { code, stdout } = await folder.send('order:42', '--endpoint', 'shop');
    expect(code).toBe(1);
    expect(stdout).toContain('(timeout): no response within 200 ms\n');
  });

  it('ends at a signal', async () => {
    await using receiver = await TestReceiver.start(() => undefined);
    await using folder = await aFolder(receiver.url);
    const run = folder.start('order:42');
    await eventually('the request', () => receiver.requests[0]);
    run.stop();
    expect(await run.done).toBe(1);
    expect(receiver.requests).toHaveLength(1);
    expect(run.stdout.text).toContain('(stopped)');
    expect(run.stderr.text).toContain('3 of 3 test webhooks not accepted');
  });

  it('does not send a body that would be too large, and says so', async () => {
    await using receiver = await TestReceiver.start();
    await using folder = await aFolder(receiver.url, {
      routes: [{ name: 'large', match: '*', to: 'shop', body: '{key}'.repeat(500) }],
    });
    const { code, stderr } = await folder.send('x'.repeat(50_000));
    expect(code).toBe(1);
    expect(stderr).toContain('route large to shop: the body is larger than 16MiB');
    expect(receiver.requests).toEqual([]);
  });
});
