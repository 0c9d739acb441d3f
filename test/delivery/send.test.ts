// cspell:ignore htcpcp querysecret
import { describe, expect, it, onTestFinished } from 'vitest';
import { createDnsLookup } from '../../src/delivery/dns.js';
import { buildRequest } from '../../src/delivery/request.js';
import { createSender } from '../../src/delivery/send.js';
import { systemClock } from '../../src/lib/clock.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { Secret } from '../../src/model/secret.js';
import { aDelivery, anEndpoint } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { FaultyServer, flood, type Misbehave, nobodyThere } from '../support/faulty-server.js';
import { ManualClock } from '../support/manual-clock.js';
import { outcomeOf } from '../support/outcome.js';
import { assertVerified, type Respond, TestReceiver } from '../support/test-receiver.js';

const WITHHELD = '[withheld: it repeats a header or the query of this endpoint]';

/** A sender to `url`, closed when the test ends, with a POST ready to send. */
function aSender(url: string, given: Partial<Endpoint> = {}, clock = systemClock) {
  const endpoint = anEndpoint({ url: new URL(url), timeoutMs: 10_000, ...given });
  const sender = createSender(() => endpoint, clock, createDnsLookup(systemClock));
  onTestFinished(() => sender.close());
  const post = () => outcomeOf(sender, buildRequest(endpoint, aDelivery(), systemClock.nowMs()));
  return { sender, post };
}

async function answeredWith(respond: Respond, given: Partial<Endpoint> = {}) {
  await using receiver = await TestReceiver.start(respond);
  return await aSender(receiver.url, given).post();
}

async function metWith(misbehave: Misbehave, given: Partial<Endpoint> = {}) {
  await using server = await FaultyServer.start(misbehave);
  return await aSender(server.url, given).post();
}

describe('a request', () => {
  it.each(['POST', 'PUT', 'PATCH', 'DELETE'] as const)('by %s has its body', async (method) => {
    await using receiver = await TestReceiver.start();
    const endpoint = anEndpoint({ url: new URL(receiver.url) });
    const sender = createSender(() => endpoint, systemClock, createDnsLookup(systemClock));
    onTestFinished(() => sender.close());
    const delivery = aDelivery({ method });
    await outcomeOf(sender, buildRequest(endpoint, delivery, systemClock.nowMs()));
    expect(receiver.requests).toMatchObject([{ method, raw: delivery.body }]);
  });
});

describe('a request without a body', () => {
  it.each([
    ['POST', '0'],
    ['PUT', '0'],
    ['PATCH', '0'],
    ['DELETE', undefined],
  ] as const)('by %s says so, has no type, and is signed', async (method, length) => {
    await using receiver = await TestReceiver.start();
    const endpoint = anEndpoint({ url: new URL(receiver.url) });
    const sender = createSender(() => endpoint, systemClock, createDnsLookup(systemClock));
    onTestFinished(() => sender.close());
    const delivery = aDelivery({ method, contentType: null, body: Buffer.alloc(0) });
    await outcomeOf(sender, buildRequest(endpoint, delivery, systemClock.nowMs()));
    const [request] = receiver.requests;
    if (request === undefined) throw new Error('expected a request');
    expect(request).toMatchObject({ method, raw: Buffer.alloc(0) });
    expect(request.headers['content-length']).toBe(length);
    expect(request.headers).not.toHaveProperty('content-type');
    expect(request.headers).not.toHaveProperty('transfer-encoding');
    assertVerified(request);
  });
});

describe('an answer', () => {
  it.each([200, 201, 202, 204, 299])('of %i is accepted', async (status) => {
    const outcome = await answeredWith((_, response) => void response.writeHead(status).end());
    expect(outcome).toEqual({ kind: 'accepted', status, answer: '' });
  });

  it.each([303, 409, 410])('of %i is accepted if the endpoint says so', async (status) => {
    const respond: Respond = (_, response) =>
      void response.writeHead(status, { 'retry-after': '60' }).end('known');
    const accepting = { accept: new Set([303, 409, 410]) };
    expect(await answeredWith(respond, accepting)).toEqual({
      kind: 'accepted',
      status,
      answer: 'known',
    });
    expect(await answeredWith(respond, { accept: new Set([499]) })).toMatchObject({
      kind: 'rejected',
    });
  });

  it('is shown truncated and printable, also when it is accepted', async () => {
    const text = `\u001b[2J${'ok'.repeat(500)}`;
    const outcome = await answeredWith((_, response) => void response.writeHead(200).end(text));
    expect(outcome).toMatchObject({ kind: 'accepted' });
    expect(outcome).toHaveProperty('answer', expect.stringMatching(/^\\x1b\[2J(ok)+…$/));
  });

  it.each([300, 304, 400, 401, 404, 410, 500, 599])('of %i is refused', async (status) => {
    const outcome = await answeredWith((_, response) => void response.writeHead(status).end());
    expect(outcome).toEqual({
      kind: 'rejected',
      status,
      retryAfterMs: null,
      location: null,
      answer: '',
    });
  });

  it.each([301, 302, 303, 307, 308])('of %i is refused and not followed', async (status) => {
    await using other = await TestReceiver.start();
    const outcome = await answeredWith(
      (_, response) => void response.writeHead(status, { location: other.url }).end(),
    );
    expect(outcome).toMatchObject({ kind: 'rejected', status, location: `${other.url}/` });
    expect(other.requests).toEqual([]);
  });

  it.each([
    ['/moved?token=hush', /^http:\/\/127\.0\.0\.1:\d+\/moved\?…$/],
    ['http://user:hush@elsewhere/a', /^http:\/\/elsewhere\/a$/],
  ])('that redirects to %s is reported without login and query', async (location, shown) => {
    const outcome = await answeredWith(
      (_, response) => void response.writeHead(308, { location }).end(),
    );
    expect(outcome).toHaveProperty('location', expect.stringMatching(shown));
  });

  it.each(['http://[', 'mailto:a@b'])('that leads to %s leads nowhere', async (location) => {
    const outcome = await answeredWith(
      (_, response) => void response.writeHead(308, { location }).end(),
    );
    expect(outcome).toMatchObject({ status: 308, location: null });
  });

  it.each([
    [429, 7_000],
    [503, 7_000],
    [500, null],
  ])('of %i with Retry-After asks for a pause of %s ms', async (status, retryAfterMs) => {
    const outcome = await answeredWith(
      (_, response) => void response.writeHead(status, { 'retry-after': '7' }).end(),
    );
    expect(outcome).toMatchObject({ kind: 'rejected', retryAfterMs });
  });

  it('that gives a reason for a refusal is quoted, printable and truncated', async () => {
    const outcome = await answeredWith(
      (_, response) => void response.writeHead(400).end(`no\n\x1b[31m${'x'.repeat(9_000)}`),
    );
    expect(outcome).toMatchObject({ answer: `no\\x0a\\x1b[31m${'x'.repeat(192)}…` });
  });

  it.each(['Bearer sk_live_1', 'sk_live_1'])(
    'that repeats the secret in "%s" is withheld',
    async (repeated) => {
      const outcome = await answeredWith(
        (_, response) => void response.writeHead(401).end(`wrong: ${repeated}`),
        { headers: { authorization: new Secret('Bearer sk_live_1') } },
      );
      expect(outcome).toMatchObject({ answer: WITHHELD });
    },
  );

  it('that repeats a secret is withheld even if it is truncated within the secret', async () => {
    const outcome = await answeredWith(
      ({ headers }, response) => void response.writeHead(401).end(headers['x-api-key']),
      { headers: { 'x-api-key': new Secret('s'.repeat(8_000)) } },
    );
    expect(outcome).toMatchObject({ answer: WITHHELD });
  });

  it.each([
    ['key=QUERYSECRET12345', 'cannot POST /?key=QUERYSECRET12345'],
    ['key=QUERYSECRET12345', 'wrong key: QUERYSECRET12345'],
    ['key=%70%34ss%2Bw%C3%B6rd', 'cannot POST /?key=%70%34ss%2Bw%C3%B6rd'],
    ['key=%70%34ss%2Bw%C3%B6rd', 'wrong key: p4ss+w\u00f6rd'],
    ['QUERYSECRET12345', 'cannot POST /?QUERYSECRET12345'],
  ])('that repeats a part of the query ?%s (%s) is withheld', async (query, text) => {
    await using receiver = await TestReceiver.start(
      (_, response) => void response.writeHead(404).end(text),
    );
    expect(await aSender(`${receiver.url}/?${query}`).post()).toMatchObject({ answer: WITHHELD });
  });

  it('is withheld in every output, also when it is accepted', async () => {
    const secret = 'sk_live_8Qd2';
    const encoded = Buffer.from(`key=${secret}`).toString('base64url');
    const headers = { 'retry-after': encoded, location: `/${encoded}` };
    const given = { headers: { 'x-api-key': new Secret(secret) } };
    const refused = await answeredWith(
      (_, response) => void response.writeHead(503, headers).end(encoded),
      given,
    );
    expect(refused).toMatchObject({
      answer: WITHHELD,
      location: null,
      unreadableRetryAfter: WITHHELD,
    });
    const accepted = await answeredWith((_, response) => void response.end(encoded), given);
    expect(accepted).toMatchObject({ kind: 'accepted', answer: WITHHELD });
  });

  it('is quoted when it has no more in common with the query than a name, true or false', async () => {
    const text = '{"wait":true,"thread":false,"token":"wrong"}';
    await using receiver = await TestReceiver.start(
      (_, response) => void response.writeHead(404).end(text),
    );
    const url = `${receiver.url}/?wait=true&thread=false&token=p4ssw0rd`;
    expect(await aSender(url).post()).toMatchObject({ answer: text });
  });

  it('is quoted when it has no more than a short word in common with a header', async () => {
    const outcome = await answeredWith(
      (_, response) => void response.writeHead(401).end('Bearer?'),
      { headers: { authorization: new Secret('Bearer sk_live_1') } },
    );
    expect(outcome).toMatchObject({ answer: 'Bearer?' });
  });

  it('is read up to a limit, and the connection is closed before the rest', async () => {
    await using server = await FaultyServer.start((socket) =>
      flood(socket, 'HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n', 'x'.repeat(65_536)),
    );
    const accepted = { kind: 'accepted', status: 200, answer: `${'x'.repeat(200)}…` };
    expect(await aSender(server.url).post()).toEqual(accepted);
    await eventually('the end of the connection', () => server.sockets[0]?.destroyed);
    expect(server.sockets[0]?.bytesWritten).toBeLessThan(20_000_000);
    expect(server.requests).toBe(1);
  });

  it('that exceeds the limit in one packet counts, and does not affect the next one', async () => {
    const long = `HTTP/1.1 400 Bad Request\r\ncontent-length: 9000\r\nconnection: close\r\n\r\n`;
    await using server = await FaultyServer.start((socket) => socket.end(long + 'x'.repeat(9_000)));
    const { post } = aSender(server.url);
    const refused = { kind: 'rejected', status: 400, answer: `${'x'.repeat(200)}…` };
    expect(await post()).toMatchObject(refused);
    expect(await post()).toMatchObject(refused);
    expect(server.requests).toBe(2);
  });

  it('is the response after early hints', async () => {
    const outcome = await answeredWith((_, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      response.writeHead(202).end();
    });
    expect(outcome).toEqual({ kind: 'accepted', status: 202, answer: '' });
  });
});

describe('an answer whose status line has been read', () => {
  const OK = 'HTTP/1.1 200 OK\r\n';
  const whole =
    (text: string): Misbehave =>
    (socket) =>
      void socket.end(text);
  const open =
    (text: string): Misbehave =>
    (socket) =>
      void socket.write(text);
  const reset =
    (text: string): Misbehave =>
    (socket) =>
      void socket.write(text, () => setImmediate(() => socket.resetAndDestroy()));

  it.each<[string, Misbehave]>([
    ['a 204 with a content-length', open('HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\n')],
    ['a 204 with a body', open('HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok')],
    ['a length that is not a number', open(`${OK}content-length: two\r\n\r\nok`)],
    ['two lengths', open(`${OK}content-length: 2\r\ncontent-length: 3\r\n\r\nok`)],
    [
      'a length and chunks',
      open(`${OK}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`),
    ],
    ['a chunk without its size', open(`${OK}transfer-encoding: chunked\r\n\r\nzz\r\nok`)],
    ['a body that is cut short', whole(`${OK}content-length: 9\r\n\r\nhalf`)],
    ['chunks that are cut short', whole(`${OK}transfer-encoding: chunked\r\n\r\n9\r\nhalf`)],
    ['a head that is cut short', whole(`${OK}content-`)],
    ['nothing but a status line', whole(OK)],
    ['a reset right behind the status line', reset(OK)],
    ['a reset within the body', reset(`${OK}content-length: 9\r\n\r\nhalf`)],
    ['a header without a colon', open(`${OK}nonsense\r\n\r\n`)],
    ['a header with a control character', open(`${OK}x: a\x00b\r\n\r\n`)],
    ['a header name with a blank', open(`${OK}x y: z\r\n\r\n`)],
    ['lines that end only in line feeds', open('HTTP/1.1 200 OK\nx: y\n\n')],
    ['headers beyond 64 KiB', open(`${OK}${'x: y'.padEnd(1_000, 'y')}\r\n`.repeat(70))],
    ['headers without end', (socket) => flood(socket, OK, 'x: y\r\n'.repeat(1_000))],
    [
      'a switch of protocols',
      open('HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nHTTP/1.1 204 No\r\n\r\n'),
    ],
  ])('counts, although %s follows', async (_, misbehave) => {
    const outcome = await metWith(misbehave);
    expect(outcome).toMatchObject({ kind: 'accepted', malformed: expect.any(String) });
  });

  it.each<[string, string]>([
    ['the head', `${OK}x: `],
    ['the body', `${OK}content-length: 9\r\n\r\nhalf`],
  ])('counts, although it stops in the middle of %s', async (_, text) => {
    expect(await metWith(open(text), { timeoutMs: 100 })).toMatchObject({
      kind: 'accepted',
      status: 200,
      malformed: 'the response was not complete within 100 ms',
    });
  });

  it('counts, although it drips and exceeds the total time limit', async () => {
    const outcome = await metWith(
      (socket) => {
        socket.write(`${OK}transfer-encoding: chunked\r\n\r\n`);
        const drip = setInterval(() => socket.write('1\r\nx\r\n'), 10);
        socket.on('close', () => clearInterval(drip));
      },
      { timeoutMs: 150 },
    );
    expect(outcome).toMatchObject({ kind: 'accepted', status: 200 });
  });

  it('counts when it refuses, too', async () => {
    const outcome = await metWith(whole('HTTP/1.1 410 Gone\r\ncontent-length: 9\r\n\r\nhalf'));
    expect(outcome).toMatchObject({ kind: 'rejected', status: 410, answer: 'half' });
  });

  it('closes its connection when it is malformed, and the next webhook gets another', async () => {
    await using server = await FaultyServer.start(
      open('HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok'),
    );
    const { post } = aSender(server.url, { concurrency: 1 });
    for (let posts = 1; posts <= 3; posts += 1) {
      expect(await post()).toMatchObject({ kind: 'accepted', status: 204 });
      expect(server.requests).toBe(posts);
    }
  });

  it('is read with up to 64 KiB of headers', async () => {
    const header = `x: ${'y'.repeat(1_000)}\r\n`;
    const text = `${OK}${header.repeat(60)}content-length: 2\r\n\r\nok`;
    expect(await metWith(open(text))).toEqual({ kind: 'accepted', status: 200, answer: 'ok' });
  });
});

describe('an answer with a status below 100', () => {
  it('is not HTTP', async () => {
    const text = 'HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n';
    const outcome = await metWith((socket) => void socket.write(text));
    expect(outcome).toMatchObject({ kind: 'unreachable', reason: 'protocol' });
  });
});

describe('informational answers', () => {
  const NO_CONTENT = 'HTTP/1.1 204 No Content\r\n\r\n';
  const accepted = { kind: 'accepted', status: 204, answer: '' };

  it.each([100, 101, 102, 103, 199])('(%i) are skipped', async (status) => {
    const info = `HTTP/1.1 ${status} Info\r\nlink: </a>\r\n\r\n`;
    expect(await metWith((socket) => void socket.write(info + NO_CONTENT))).toEqual(accepted);
    expect(await metWith((socket) => void socket.write(info + info + NO_CONTENT))).toEqual(
      accepted,
    );
  });

  it('are skipped byte by byte, on a connection that is used again', async () => {
    const bytes = `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\na: b\r\n\r\n${NO_CONTENT}`;
    await using server = await FaultyServer.start((socket) => {
      const answer = async () => {
        for (const byte of bytes) {
          socket.write(byte);
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      socket.on('data', () => void answer());
      void answer();
    });
    const { post } = aSender(server.url, { concurrency: 1 });
    for (let posts = 0; posts < 3; posts += 1) expect(await post()).toEqual(accepted);
    expect(server.requests).toBe(1);
  });
});

describe('an endpoint without an answer', () => {
  it('that refuses the connection is unreachable: refused', async () => {
    const outcome = await aSender(await nobodyThere()).post();
    expect(outcome).toMatchObject({ kind: 'unreachable', reason: 'connection_refused' });
  });

  it.each<[string, Misbehave]>([
    ['sends nothing', () => undefined],
    ['stops in the middle of the status line', (socket) => socket.write('HTTP/1.1 20')],
    ['sends only 100 Continue', (socket) => socket.write('HTTP/1.1 100 Continue\r\n\r\n')],
  ])('that %s is unreachable: timeout', async (_, misbehave) => {
    expect(await metWith(misbehave, { timeoutMs: 100 })).toEqual({
      kind: 'unreachable',
      reason: 'timeout',
      code: '',
      detail: 'no response within 100 ms',
    });
  });

  it('that takes too long to connect to is unreachable: timeout', async () => {
    const endpoint = anEndpoint({ url: new URL('http://slow.example/'), timeoutMs: 100 });
    // The connection waits for an address that is never resolved.
    const sender = createSender(
      () => endpoint,
      systemClock,
      () => undefined,
    );
    onTestFinished(() => sender.close());
    const outcome = await outcomeOf(
      sender,
      buildRequest(endpoint, aDelivery(), systemClock.nowMs()),
    );
    expect(outcome).toMatchObject({ reason: 'timeout', detail: 'no response within 100 ms' });
  });

  it('has a time limit for each request, from its own start', async () => {
    await using server = await FaultyServer.start(() => undefined);
    const clock = new ManualClock();
    const { post } = aSender(server.url, { timeoutMs: 1_000 }, clock);
    const ended: string[] = [];
    const start = (name: string) => void post().then(() => ended.push(name));
    start('first');
    await clock.advance(400);
    start('second');
    await eventually('both are sent', () => server.requests === 2);
    await clock.advance(599);
    expect(ended).toEqual([]);
    await clock.advance(1);
    await eventually('the first ends', () => ended.length === 1);
    expect(ended).toEqual(['first']);
    await clock.advance(400);
    await eventually('the second ends', () => ended.length === 2);
  });

  it('gets the next request on another connection', async () => {
    const ports: unknown[] = [];
    await using receiver = await TestReceiver.start((_, response) => {
      if (ports.push(response.socket?.remotePort) > 1) response.writeHead(204).end();
    });
    const { post } = aSender(receiver.url, { timeoutMs: 200 });
    expect(await post()).toMatchObject({ reason: 'timeout' });
    expect(await post()).toMatchObject({ kind: 'accepted' });
    expect(await post()).toMatchObject({ kind: 'accepted' });
    expect(new Set(ports).size).toBe(2);
    expect(ports[2]).toBe(ports[1]);
  });

  it.each<[string, Misbehave]>([
    ['resets the connection', (socket) => socket.resetAndDestroy()],
    ['closes the connection', (socket) => socket.end()],
    ['closes it in the middle of the status line', (socket) => socket.end('HTTP/1.1 20')],
    [
      'changes to another protocol',
      (socket) =>
        socket.write('HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'),
    ],
  ])('that %s is unreachable: reset', async (_, misbehave) => {
    expect(await metWith(misbehave)).toMatchObject({
      kind: 'unreachable',
      reason: 'connection_reset',
    });
  });

  it.each<[string, Misbehave]>([
    ['speaks something else', (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')],
    ['does so without a line feed', (socket) => socket.write('HTCPCP/1.0 418')],
    ['gives a status of two digits', (socket) => socket.end('HTTP/1.1 20 OK\r\n\r\n')],
  ])('that %s is unreachable: protocol', async (_, misbehave) => {
    expect(await metWith(misbehave)).toMatchObject({ kind: 'unreachable', reason: 'protocol' });
  });

  it('whose name does not resolve is unreachable: dns', async () => {
    const outcome = await aSender('http://nowhere.invalid/').post();
    expect(outcome).toMatchObject({ kind: 'unreachable', reason: 'dns' });
  });

  it('that speaks no TLS on an https URL is unreachable: tls', async () => {
    await using receiver = await TestReceiver.start();
    const outcome = await aSender(receiver.url.replace('http:', 'https:')).post();
    expect(outcome).toMatchObject({ kind: 'unreachable', reason: 'tls' });
  });
});

describe('a sender', () => {
  it('uses its connections again', async () => {
    const ports = new Set<number | undefined>();
    await using receiver = await TestReceiver.start((_, response) => {
      ports.add(response.socket?.remotePort);
      response.writeHead(204).end();
    });
    const { post } = aSender(receiver.url);
    for (let posts = 0; posts < 20; posts += 1) await post();
    expect(receiver.requests).toHaveLength(20);
    // Undici may open a second one before the first is idle.
    expect(ports.size).toBeLessThanOrEqual(2);
  });

  it('repeats a request at once when the receiver closed the idle connection that it used', async () => {
    await using server = await FaultyServer.start((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      socket.once('data', () => socket.resetAndDestroy());
    });
    const { post } = aSender(server.url, { concurrency: 1 });
    expect(await post()).toEqual({ kind: 'accepted', status: 200, answer: '' });
    expect(await post()).toEqual({ kind: 'accepted', status: 200, answer: '' });
    expect(server.requests).toBe(2);
  });

  it('does not repeat a request that the receiver has begun to answer', async () => {
    await using server = await FaultyServer.start((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      socket.once('data', () => socket.end('HTTP/1.1 20'));
    });
    const { post } = aSender(server.url, { concurrency: 1 });
    expect(await post()).toEqual({ kind: 'accepted', status: 200, answer: '' });
    expect(await post()).toMatchObject({ reason: 'connection_reset' });
    expect(server.requests).toBe(1);
  });

  it('does not repeat a request when a fresh connection is reset', async () => {
    await using server = await FaultyServer.start((socket) => void socket.resetAndDestroy());
    expect(await aSender(server.url).post()).toMatchObject({ reason: 'connection_reset' });
    expect(server.requests).toBe(1);
  });

  it('survives an unexpected error while it classifies a response', async () => {
    let isBroken = true;
    const nowMs = () => {
      if (isBroken) throw new Error('a bug');
      return systemClock.nowMs();
    };
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(500).end();
    });
    const { post } = aSender(receiver.url, {}, { ...systemClock, nowMs });
    expect(await post()).toMatchObject({ reason: 'internal_error', detail: 'a bug' });
    isBroken = false;
    expect(await post()).toMatchObject({ kind: 'rejected', status: 500 });
  });

  it('aborts attempts in progress when it is closed', async () => {
    await using receiver = await TestReceiver.start(() => undefined);
    const { sender, post } = aSender(receiver.url);
    const outcome = post();
    await eventually('the request', () => receiver.requests[0]);
    await sender.close();
    expect(await outcome).toMatchObject({ kind: 'unreachable', reason: 'stopped' });
  });

  it('cancels all requests in progress when it is closed, and sends nothing more', async () => {
    await using receiver = await TestReceiver.start(() => undefined);
    const { sender, post } = aSender(receiver.url, { concurrency: 1 });
    const outcomes = Promise.all([post(), post(), post()]);
    await eventually('the requests', () => receiver.requests[2]);
    await sender.close();
    const stopped = { kind: 'unreachable', reason: 'stopped' };
    expect(await outcomes).toMatchObject([stopped, stopped, stopped]);
    expect(await post()).toMatchObject(stopped);
    expect(receiver.requests).toHaveLength(3);
  });
});
