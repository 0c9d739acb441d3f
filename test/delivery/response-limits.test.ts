import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { readProxyUrl } from '../../src/config/addresses.js';
import { createConnector, targetOf } from '../../src/delivery/connect.js';
import { createDnsLookup } from '../../src/delivery/dns.js';
import { buildRequest } from '../../src/delivery/request.js';
import { BODY_BYTES_MAX, HEAD_BYTES_MAX } from '../../src/delivery/response-reader.js';
import { createSender } from '../../src/delivery/send.js';
import { systemClock } from '../../src/lib/clock.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { Secret } from '../../src/model/secret.js';
import { selfSigned } from '../support/certificate.js';
import { aDelivery, anEndpoint } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { FaultyServer, flood, type Misbehave } from '../support/faulty-server.js';
import { startFaultyHttps } from '../support/https-server.js';
import { outcomeOf } from '../support/outcome.js';

/** The most that Node reads at a time, and hence beyond a limit. */
const READ_BYTES_MAX = 64 * 1024;

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`;
const NO_CONTENT = 'HTTP/1.1 204 No Content\r\n\r\n';

const NO_STATUS = {
  kind: 'unreachable',
  reason: 'protocol',
  code: 'ERR_RESPONSE_HEAD',
  detail: 'the response has no final status within 64 KiB',
};
const LONG_HEAD = {
  kind: 'accepted',
  status: 200,
  malformed: 'the head of the response is longer than 64 KiB',
};
const ACCEPTED = { kind: 'accepted', status: 200 };

/** Every connection that this process opens to `url` from now on. */
function connectionsTo(url: string): readonly Socket[] {
  const { port } = new URL(url);
  const sockets: Socket[] = [];
  const onSocket = (message: unknown) => {
    const { socket } = message as { socket: Socket };
    socket.once('connect', () => {
      if (socket.remotePort === Number(port)) sockets.push(socket);
    });
  };
  subscribe('net.client.socket', onSocket);
  onTestFinished(() => void unsubscribe('net.client.socket', onSocket));
  return sockets;
}

function aSender(url: string, given: Partial<Endpoint> = {}) {
  const endpoint = anEndpoint({ url: new URL(url), timeoutMs: 10_000, concurrency: 1, ...given });
  const sender = createSender(() => endpoint, systemClock, createDnsLookup(systemClock));
  onTestFinished(() => sender.close());
  return () => outcomeOf(sender, buildRequest(endpoint, aDelivery(), systemClock.nowMs()));
}

/** Like `flood`, but one byte at a time. */
function drip(socket: Socket, head: string, bytes: string): void {
  socket.setNoDelay(true);
  socket.write(head);
  const goOn = () => {
    for (const byte of bytes.repeat(20)) socket.write(byte);
    if (!socket.destroyed) setImmediate(goOn);
  };
  goOn();
}

describe('a response without end', () => {
  it.each<[string, object, number, Misbehave]>([
    [
      'of informational responses',
      NO_STATUS,
      HEAD_BYTES_MAX,
      (socket) => flood(socket, '', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1_000)),
    ],
    [
      'of informational responses that switch protocols',
      NO_STATUS,
      HEAD_BYTES_MAX,
      (socket) => flood(socket, '', 'HTTP/1.1 101 X\r\n\r\n'.repeat(1_000)),
    ],
    [
      'of headers of an informational response',
      NO_STATUS,
      HEAD_BYTES_MAX,
      (socket) => flood(socket, 'HTTP/1.1 103 X\r\n', 'link: </a>\r\n'.repeat(1_000)),
    ],
    [
      'of blank lines',
      NO_STATUS,
      HEAD_BYTES_MAX,
      (socket) => flood(socket, '', '\r\n'.repeat(10_000)),
    ],
    [
      'in its status line',
      NO_STATUS,
      HEAD_BYTES_MAX,
      (socket) => flood(socket, 'HTTP/1.1 200 ', 'OK'.repeat(10_000)),
    ],
    [
      'of single bytes of informational responses',
      NO_STATUS,
      HEAD_BYTES_MAX,
      (socket) => drip(socket, '', 'HTTP/1.1 102 P\r\n\r\n'),
    ],
    [
      'of headers',
      LONG_HEAD,
      HEAD_BYTES_MAX,
      (socket) => flood(socket, OK, 'a: b\r\n'.repeat(5_000)),
    ],
    [
      'in one header',
      LONG_HEAD,
      HEAD_BYTES_MAX,
      (socket) => flood(socket, `${OK}a: `, 'b'.repeat(20_000)),
    ],
    [
      'of empty headers behind early hints',
      LONG_HEAD,
      HEAD_BYTES_MAX,
      (socket) =>
        flood(socket, `HTTP/1.1 103 X\r\na: ${'b'.repeat(60_000)}\r\n\r\n${OK}`, 'a:\r\n'),
    ],
    [
      'in a chunk extension',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) => flood(socket, `${CHUNKED}1;`, 'a=b;'.repeat(5_000)),
    ],
    [
      'in the size of a chunk',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) => flood(socket, CHUNKED, '0'.repeat(20_000)),
    ],
    [
      'of chunks of one byte',
      { ...ACCEPTED, answer: expect.stringMatching(/^a+…$/) },
      BODY_BYTES_MAX,
      (socket) => flood(socket, CHUNKED, '1\r\na\r\n'.repeat(1_000)),
    ],
    [
      'of trailers',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) => flood(socket, `${CHUNKED}1\r\na\r\n0\r\n`, 'a: b\r\n'.repeat(5_000)),
    ],
    [
      'in one trailer',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) => flood(socket, `${CHUNKED}0\r\na: `, 'b'.repeat(20_000)),
    ],
    [
      'in a body with a length',
      { ...ACCEPTED, answer: expect.stringMatching(/^a+…$/) },
      BODY_BYTES_MAX,
      (socket) => flood(socket, `${OK}content-length: 9999999999\r\n\r\n`, 'a'.repeat(65_536)),
    ],
    [
      'in a compressed body',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) =>
        flood(socket, `${OK}content-encoding: gzip\r\n\r\n`, '\x1f\x8b\x08'.repeat(9_000)),
    ],
    [
      'in a body to the end of the connection',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) => flood(socket, `${OK}connection: close\r\n\r\n`, 'a'.repeat(65_536)),
    ],
    [
      'of single bytes of a body',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) => drip(socket, `${OK}\r\n`, 'a'),
    ],
    [
      'of blank lines behind its end',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) => flood(socket, `${OK}content-length: 0\r\n\r\n`, '\r\n'.repeat(10_000)),
    ],
    [
      'of responses behind its end',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) => flood(socket, '', `${OK}content-length: 0\r\n\r\n`.repeat(1_000)),
    ],
    [
      'behind its end, although it closes the connection',
      ACCEPTED,
      BODY_BYTES_MAX,
      (socket) =>
        flood(socket, `${OK}connection: close\r\ncontent-length: 0\r\n\r\n`, 'a'.repeat(65_536)),
    ],
    [
      'that is not HTTP',
      { kind: 'unreachable', reason: 'protocol' },
      0,
      (socket) => flood(socket, '', '<html>'.repeat(5_000)),
    ],
    [
      'that begins like HTTP, but is not',
      { kind: 'unreachable', reason: 'protocol' },
      0,
      (socket) => flood(socket, 'HTTP/1.1 2000', '0'.repeat(20_000)),
    ],
  ])('%s ends at its limit, with its connection', async (_, outcome, bytesMax, misbehave) => {
    await using server = await FaultyServer.start(misbehave);
    const sockets = connectionsTo(server.url);
    const post = aSender(server.url);
    for (let posts = 1; posts <= 2; posts += 1) {
      expect(await post()).toMatchObject(outcome);
      await eventually('the end of the connection', () => sockets.at(-1)?.destroyed);
      expect(server.requests).toBe(posts);
    }
    // The head of a response comes before its body.
    const headBytes = bytesMax === BODY_BYTES_MAX ? 100 : 0;
    for (const { bytesRead } of sockets)
      expect(bytesRead).toBeLessThanOrEqual(headBytes + bytesMax + READ_BYTES_MAX);
  });

  it('ends at its limit behind TLS, too', async () => {
    await using certificate = await selfSigned('IP:127.0.0.1');
    await using server = await startFaultyHttps(certificate, (socket) =>
      flood(socket, '', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1_000)),
    );
    const tls = { ca: new Secret(certificate.cert), client: null };
    expect(await aSender(server.url, { tls })()).toEqual(NO_STATUS);
  });
});

it('a TLS connection is closed when its server sends session tickets without end', async () => {
  await using certificate = await selfSigned('IP:127.0.0.1');
  await using server = await startFaultyHttps(certificate, () => undefined);
  const tls = { ca: new Secret(certificate.cert), client: null };
  const url = new URL(server.url);
  const parts = { clock: systemClock, lookup: createDnsLookup(systemClock), timeoutMs: 10_000 };
  const connect = createConnector(anEndpoint({ url, tls }), parts);
  const socket = await new Promise<Socket | null>((resolve) => {
    connect(targetOf(url), (...[, connected]) => resolve(connected));
  });
  const failed = once(socket as Socket, 'error');
  // Like Node for each ticket; its servers send two.
  for (let ticket = 0; ticket < 33; ticket += 1) socket?.emit('session', Buffer.from('ticket'));
  expect(await failed).toMatchObject([{ code: 'ERR_TLS_SESSION_TICKETS' }]);
  expect(socket?.destroyed).toBe(true);
});

describe('a response up to its limits', () => {
  const header = (bytes: number) => `a: ${'b'.repeat(bytes - 5)}\r\n`;

  it.each([
    ['in one piece', (socket: Socket, text: string) => void socket.write(text)],
    [
      'in pieces',
      (socket: Socket, text: string) => {
        for (let at = 0; at < text.length; at += 999) {
          setImmediate(() => socket.write(text.slice(at, at + 999)));
        }
      },
    ],
  ])('is read to its end, and its connection is used again (%s)', async (_, send) => {
    const hints = `HTTP/1.1 103 X\r\n${header(30_000)}\r\n`;
    const head = `\r\n${hints}${OK}content-length: ${BODY_BYTES_MAX}\r\n`;
    const rest = header(HEAD_BYTES_MAX - head.length - 2);
    const text = `${head}${rest}\r\n${'x'.repeat(BODY_BYTES_MAX)}`;
    await using server = await FaultyServer.start((socket) => {
      send(socket, text);
      socket.on('data', () => send(socket, text));
    });
    const post = aSender(server.url);
    const accepted = { ...ACCEPTED, answer: `${'x'.repeat(200)}…` };
    expect(await post()).toEqual(accepted);
    expect(await post()).toEqual(accepted);
    expect(server.requests).toBe(1);
  });

  it.each<[string, number]>([
    ['one byte more of its head', HEAD_BYTES_MAX + 1],
    ['no more of its head', HEAD_BYTES_MAX],
  ])('with %s is distinguished from a longer one', async (_, bytes) => {
    const head = `${OK}content-length: 0\r\n`;
    const text = `${head}${header(bytes - head.length - 2)}\r\n`;
    await using server = await FaultyServer.start((socket) => void socket.write(text));
    const outcome = await aSender(server.url)();
    const isLonger = bytes > HEAD_BYTES_MAX;
    expect(outcome).toEqual(isLonger ? { ...LONG_HEAD, answer: '' } : { ...ACCEPTED, answer: '' });
  });
});

describe('a response that is sent byte by byte', () => {
  const PACKETS = 400;

  it('is read completely in few reads, and its connection is used again', async () => {
    const head = `${OK}content-length: 0\r\na: `;
    await using server = await FaultyServer.start((socket) => {
      socket.setNoDelay(true);
      const answer = () => {
        let packets = 0;
        socket.write(head);
        const timer = setInterval(() => {
          packets += 1;
          if (packets < PACKETS) return void socket.write('b');
          clearInterval(timer);
          socket.write('\r\n\r\n');
        }, 1);
      };
      answer();
      socket.on('data', answer);
    });
    const sockets = connectionsTo(server.url);
    const post = aSender(server.url);
    for (let posts = 1; posts <= 2; posts += 1) {
      const sent = post();
      const socket = await eventually('a connection', () => sockets[0]);
      // Node passes the result of each system read here.
      const push = vi.spyOn(socket, 'push');
      expect(await sent).toMatchObject(ACCEPTED);
      expect(push.mock.calls.length).toBeLessThan(PACKETS / 4);
      push.mockRestore();
    }
    expect(server.requests).toBe(1);
  });
});

describe('a connection on which no response is awaited', () => {
  it.each([
    ['blank lines', '\r\n'],
    ['informational responses', 'HTTP/1.1 102 Processing\r\n\r\n'],
    ['further responses', NO_CONTENT],
    ['parts of a response', 'HTTP/1.1 204'],
  ])(
    'is closed once %s are received, and the next webhook gets another',
    async (_, unsolicited) => {
      await using server = await FaultyServer.start((socket) => {
        const answer = () => socket.write(NO_CONTENT, () => setTimeout(more, 20));
        const more = () => flood(socket, unsolicited, unsolicited.repeat(2_000));
        answer();
      });
      const sockets = connectionsTo(server.url);
      const post = aSender(server.url);
      for (let posts = 1; posts <= 2; posts += 1) {
        expect(await post()).toEqual({ kind: 'accepted', status: 204, answer: '' });
        await eventually('the end of the connection', () => sockets.at(-1)?.destroyed);
        expect(server.requests).toBe(posts);
      }
      for (const { bytesRead } of sockets) expect(bytesRead).toBeLessThan(100 + 2 * READ_BYTES_MAX);
    },
  );
});

describe('a response that is received before all of the request is sent', () => {
  it('counts, and the rest of it is not read', async () => {
    await using server = await FaultyServer.start((socket) => {
      socket.pause();
      flood(socket, `HTTP/1.1 413 Too Large\r\n\r\n`, 'a'.repeat(65_536));
    });
    const body = Buffer.alloc(20_000_000, 'a');
    const endpoint = anEndpoint({ url: new URL(server.url), timeoutMs: 10_000 });
    const sender = createSender(() => endpoint, systemClock, createDnsLookup(systemClock));
    onTestFinished(() => sender.close());
    const sockets = connectionsTo(server.url);
    const request = buildRequest(endpoint, aDelivery({ body }), systemClock.nowMs());
    expect(await outcomeOf(sender, request)).toMatchObject({ kind: 'rejected', status: 413 });
    await eventually('the end of the connection', () => sockets[0]?.destroyed);
    expect(sockets[0]?.bytesRead).toBeLessThan(2 * READ_BYTES_MAX);
  });
});

function proxyAt(url: string) {
  const reading = readProxyUrl(url);
  if (!reading.ok) throw new Error('not a proxy');
  return reading.value;
}

describe("a proxy's answer to CONNECT", () => {
  it.each<[string, Misbehave]>([
    [
      'informational responses',
      (socket) => flood(socket, '', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(1_000)),
    ],
    ['headers', (socket) => flood(socket, OK, 'a: b\r\n'.repeat(5_000))],
    ['one header', (socket) => flood(socket, `${OK}a: `, 'b'.repeat(20_000))],
    ['blank lines', (socket) => flood(socket, '', '\r\n'.repeat(10_000))],
    ['a status line', (socket) => flood(socket, 'HTTP/1.1 200 ', 'a'.repeat(20_000))],
    ['a body', (socket) => flood(socket, `${OK}\r\n`, 'a'.repeat(65_536))],
    ['a refusal', (socket) => flood(socket, 'HTTP/1.1 403 No\r\n\r\n', 'a'.repeat(65_536))],
  ])('with endless %s is not read beyond its limit', async (_, misbehave) => {
    await using server = await FaultyServer.start(misbehave);
    const sockets = connectionsTo(server.url);
    const outcome = await aSender('http://shop.invalid/', { proxy: proxyAt(server.url) })();
    expect(outcome).toMatchObject({ kind: 'unreachable', reason: 'proxy' });
    await eventually('the end of the connection', () => sockets[0]?.destroyed);
    expect(sockets[0]?.bytesRead).toBeLessThanOrEqual(HEAD_BYTES_MAX + READ_BYTES_MAX);
  });

  it('is described in the error', async () => {
    await using server = await FaultyServer.start((socket) => flood(socket, '', '\r\n'.repeat(9)));
    const outcome = await aSender('http://shop.invalid/', { proxy: proxyAt(server.url) })();
    const { host } = new URL(server.url);
    const detail = `the proxy ${host} failed: the response has no final status within 64 KiB`;
    expect(outcome).toMatchObject({ detail });
  });
});
