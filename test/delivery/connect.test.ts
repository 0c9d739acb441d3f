import type { LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { readProxyUrl } from '../../src/config/addresses.js';
import { CONNECTION_AGE_MS_MAX } from '../../src/delivery/connection.js';
import { createDnsLookup } from '../../src/delivery/dns.js';
import { buildRequest } from '../../src/delivery/request.js';
import { createSender } from '../../src/delivery/send.js';
import { systemClock } from '../../src/lib/clock.js';
import type { Endpoint } from '../../src/model/endpoint.js';
import { Secret } from '../../src/model/secret.js';
import { selfSigned } from '../support/certificate.js';
import { ConnectProxy } from '../support/connect-proxy.js';
import { startDeaf } from '../support/deaf-server.js';
import { aDelivery, anEndpoint } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { FaultyServer, nobodyThere } from '../support/faulty-server.js';
import { startHttps } from '../support/https-server.js';
import { outcomeOf } from '../support/outcome.js';
import { TestReceiver } from '../support/test-receiver.js';

function proxyAt(url: string) {
  const reading = readProxyUrl(url);
  if (!reading.ok) throw new Error('not a proxy');
  return reading.value;
}

/** The outcome of one POST. */
async function postTo(
  url: string,
  given: Partial<Endpoint>,
  lookup: LookupFunction = createDnsLookup(systemClock),
) {
  const endpoint = anEndpoint({ url: new URL(url), timeoutMs: 10_000, ...given });
  const sender = createSender(() => endpoint, systemClock, lookup);
  onTestFinished(() => sender.close());
  return outcomeOf(sender, buildRequest(endpoint, aDelivery(), systemClock.nowMs()));
}

/** A resolver for which every name has these addresses. */
function leadingTo(...addresses: string[]): LookupFunction {
  const found = addresses.map((address): LookupAddress => {
    return { address, family: address.includes(':') ? 6 : 4 };
  });
  return createDnsLookup(systemClock, async () => found);
}

/** An unused address, so that a failed test never reaches cloud metadata. */
const LINK_LOCAL = '169.254.77.77';
/** It never leaves this machine. */
const LINK_LOCAL_ON_LOOPBACK = 'fe80::77%lo';

const ACCEPTED = { kind: 'accepted', status: 204, answer: '' };

describe('a name', () => {
  it.each([
    ['link-local', LINK_LOCAL],
    ['link-local IPv6', LINK_LOCAL_ON_LOOPBACK],
    ['IPv4-mapped', `::ffff:${LINK_LOCAL}`],
  ])('that resolves to a forbidden address (%s) is not connected to', async (_, address) => {
    expect(await postTo('http://shop.example', {}, leadingTo(address))).toMatchObject({
      kind: 'unreachable',
      reason: 'forbidden_address',
      detail:
        `shop.example resolves to ${address}, which is a link-local or cloud metadata address; not ` +
        'connecting to it (allow_link_local: true allows it)',
    });
  });

  it('that also resolves to a forbidden address is connected to at the others only', async () => {
    await using receiver = await TestReceiver.start();
    const { port } = new URL(receiver.url);
    const lookup = leadingTo(LINK_LOCAL, '127.0.0.1');
    expect(await postTo(`http://shop.example:${port}`, {}, lookup)).toEqual(ACCEPTED);
  });

  it('is resolved for each connection, and its addresses are checked each time', async () => {
    await using receiver = await TestReceiver.start(
      (_, response) => void response.writeHead(204, { connection: 'close' }).end(),
    );
    const answers = ['127.0.0.1', LINK_LOCAL];
    const lookup = createDnsLookup(systemClock, async () => [
      { address: answers.shift() ?? '', family: 4 },
    ]);
    const url = new URL(receiver.url.replace('127.0.0.1', 'rebound.example'));
    const endpoint = anEndpoint({ url, timeoutMs: 10_000 });
    const sender = createSender(() => endpoint, systemClock, lookup);
    onTestFinished(() => sender.close());
    const post = () => outcomeOf(sender, buildRequest(endpoint, aDelivery(), systemClock.nowMs()));
    expect(await post()).toEqual(ACCEPTED);
    expect(await post()).toMatchObject({ reason: 'forbidden_address' });
  });

  it('may resolve to a forbidden address when the file allows it', async () => {
    const given = { allowLinkLocal: true, timeoutMs: 300 };
    const lookup = leadingTo(LINK_LOCAL_ON_LOOPBACK);
    const outcome = await postTo('http://shop.example', given, lookup);
    expect(outcome).toMatchObject({ kind: 'unreachable' });
    expect(outcome).not.toMatchObject({ reason: 'forbidden_address' });
  });
});

describe('a name with several addresses', () => {
  it('is connected to at one that accepts, although the first is silent', async () => {
    await using receiver = await TestReceiver.start();
    const port = Number(new URL(receiver.url).port);
    await using _deaf = await startDeaf('127.0.0.2', port);
    const lookup = leadingTo('127.0.0.2', '127.0.0.1');
    const outcome = await postTo(`http://shop.example:${port}`, { timeoutMs: 2_000 }, lookup);
    expect(outcome).toEqual(ACCEPTED);
  });

  it('is connected to at one that is far away, although all others refuse', async () => {
    const port = await freePort();
    await using far = await startDeaf('127.0.0.2', port);
    const lookup = leadingTo('127.0.0.3', '127.0.0.2', '127.0.0.4', '127.0.0.1');
    const outcome = postTo(`http://shop.example:${port}`, {}, lookup);
    // Each of the others has been tried by then.
    await sleep(600);
    far.hear();
    expect(await outcome).toEqual(ACCEPTED);
  });

  it('is reported as refused when all of them refuse', async () => {
    const port = await freePort();
    const lookup = leadingTo('127.0.0.2', '127.0.0.1');
    expect(await postTo(`http://shop.example:${port}`, {}, lookup)).toMatchObject({
      reason: 'connection_refused',
      detail: expect.stringContaining(`127.0.0.1:${port}`),
    });
  });

  it('works the same for a proxy', async () => {
    await using proxy = await ConnectProxy.start();
    await using receiver = await TestReceiver.start();
    const port = Number(proxy.host.split(':')[1]);
    await using _deaf = await startDeaf('127.0.0.2', port);
    const given = { proxy: proxyAt(`http://proxy.example:${port}`), timeoutMs: 2_000 };
    const lookup = leadingTo('127.0.0.2', '127.0.0.1');
    expect(await postTo(receiver.url, given, lookup)).toEqual(ACCEPTED);
  });
});

describe('a shortage of this machine', () => {
  it.each([{}, { proxy: proxyAt('http://proxy.example:3128') }])(
    'prevents an attempt, and is attributed to neither endpoint nor proxy (%o)',
    async (given) => {
      const shortage = Object.assign(new Error('too many open files'), { code: 'EMFILE' });
      const lookup = createDnsLookup(systemClock, () => Promise.reject(shortage));
      expect(await postTo('http://shop.example', given, lookup)).toEqual({
        kind: 'prevented',
        code: 'EMFILE',
        detail: 'too many open files',
      });
    },
  );
});

describe('an absolute name', () => {
  it('keeps its dot only for DNS: Host, SNI and the certificate have none', async () => {
    await using certificate = await selfSigned('DNS:shop.example');
    await using shop = await startHttps(certificate);
    const { port } = new URL(shop.url);
    const asked: string[] = [];
    const lookup = createDnsLookup(systemClock, async (hostname) => {
      asked.push(hostname);
      return [{ address: '127.0.0.1', family: 4 }];
    });
    const given = { tls: { ca: new Secret(certificate.cert), client: null } };
    expect(await postTo(`https://shop.example.:${port}/`, given, lookup)).toEqual(ACCEPTED);
    expect(asked).toEqual(['shop.example.']);
    expect(shop.names).toEqual([{ host: `shop.example:${port}`, servername: 'shop.example' }]);
  });

  it('is sent to a proxy without the dot, as is the name of the proxy', async () => {
    await using proxy = await ConnectProxy.start();
    await using receiver = await TestReceiver.start();
    const { port } = new URL(receiver.url);
    const asked: string[] = [];
    const lookup = createDnsLookup(systemClock, async (hostname) => {
      asked.push(hostname);
      return [{ address: '127.0.0.1', family: 4 }];
    });
    const given = { proxy: proxyAt(`http://proxy.example.:${proxy.host.split(':')[1]}`) };
    expect(await postTo(`http://shop.example.:${port}/`, given, lookup)).toEqual(ACCEPTED);
    expect(asked).toEqual(['proxy.example.']);
    expect(proxy.asked).toEqual([`shop.example:${port}`]);
    expect(receiver.requests[0]?.headers.host).toBe(`shop.example:${port}`);
  });
});

describe('a connection', () => {
  /** A clock whose monotonic time a test advances. */
  function fastClock() {
    const fast = { aheadMs: 0, factor: 1 };
    const monotonicMs = () => systemClock.monotonicMs() * fast.factor + fast.aheadMs;
    return { fast, clock: { ...systemClock, monotonicMs } };
  }

  it('is not used again after a minute, so that DNS changes are followed', async () => {
    await using old = await TestReceiver.start();
    const port = Number(new URL(old.url).port);
    await using young = await TestReceiver.start(undefined, port, '127.0.0.2');
    const addresses = ['127.0.0.1'];
    const lookup = createDnsLookup(systemClock, async () =>
      addresses.map((address) => ({ address, family: 4 })),
    );
    const { fast, clock } = fastClock();
    const endpoint = anEndpoint({ url: new URL(`http://shop.example:${port}`), timeoutMs: 10_000 });
    const sender = createSender(() => endpoint, clock, lookup);
    onTestFinished(() => sender.close());
    const post = () => outcomeOf(sender, buildRequest(endpoint, aDelivery(), systemClock.nowMs()));
    expect(await post()).toEqual(ACCEPTED);
    addresses[0] = '127.0.0.2';
    fast.aheadMs = CONNECTION_AGE_MS_MAX - 1_000;
    expect(await post()).toEqual(ACCEPTED);
    expect([old.requests.length, young.requests.length]).toEqual([2, 0]);
    fast.aheadMs += 2_000;
    expect(await post()).toEqual(ACCEPTED);
    expect([old.requests.length, young.requests.length]).toEqual([2, 1]);
  });

  it('ends at its age under load without losing or repeating a webhook', async () => {
    const ports = new Set<number | undefined>();
    await using receiver = await TestReceiver.start((_, response) => {
      ports.add(response.socket?.remotePort);
      response.writeHead(204).end();
    });
    const { fast, clock } = fastClock();
    // A minute passes in 20 ms.
    fast.factor = 3_000;
    const endpoint = anEndpoint({ url: new URL(receiver.url), timeoutMs: 30_000, concurrency: 8 });
    const sender = createSender(() => endpoint, clock, createDnsLookup(systemClock));
    onTestFinished(() => sender.close());
    const post = () => outcomeOf(sender, buildRequest(endpoint, aDelivery(), systemClock.nowMs()));
    const outcomes = await Promise.all(Array.from({ length: 1_000 }, post));
    expect(outcomes.filter(({ kind }) => kind !== 'accepted')).toEqual([]);
    expect(receiver.requests).toHaveLength(1_000);
    expect(ports.size).toBeGreaterThan(8);
  });
});

describe('an address in the URL', () => {
  it.each([LINK_LOCAL, '2852015437', '[::ffff:a9fe:4d4d]', '[fe80::1]'])(
    '(%s) is refused as well, also through a proxy',
    async (host) => {
      await using proxy = await ConnectProxy.start();
      const refused = { kind: 'unreachable', reason: 'forbidden_address' };
      expect(await postTo(`http://${host}/`, {})).toMatchObject(refused);
      const through = { proxy: proxyAt(`http://${proxy.host}`) };
      expect(await postTo(`http://${host}/`, through)).toMatchObject(refused);
      expect(proxy.asked).toEqual([]);
    },
  );
});

describe('a proxy', () => {
  it('gets the name of the endpoint, with the login, which the endpoint does not see', async () => {
    await using proxy = await ConnectProxy.start({ login: 'relay:p@ss' });
    await using receiver = await TestReceiver.start();
    const { port } = new URL(receiver.url);
    const given = { proxy: proxyAt(`http://relay:p%40ss@${proxy.host}`) };
    expect(await postTo(`http://shop.invalid:${port}/hooks`, given)).toEqual(ACCEPTED);
    expect(proxy.asked).toEqual([`shop.invalid:${port}`]);
    expect(receiver.requests[0]?.headers).not.toHaveProperty('proxy-authorization');
    expect(receiver.requests[0]?.headers.host).toBe(`shop.invalid:${port}`);
  });

  it('with TLS tunnels TLS to the endpoint', async () => {
    await using certificate = await selfSigned('IP:127.0.0.1');
    await using proxy = await ConnectProxy.start({ certificate });
    await using shop = await startHttps(certificate);
    const ca = new Secret(certificate.cert);
    const given = { proxy: proxyAt(`https://${proxy.host}`), tls: { ca, client: null } };
    // The authorities of the endpoint are not those of the proxy.
    expect(await postTo(shop.url, given)).toMatchObject({ reason: 'proxy' });
    expect(proxy.asked).toEqual([]);
  });

  it.each([
    [407, 'returned 407: it requires a user and password, or rejects the configured ones'],
    [403, 'returned 403: it forbids this host or port'],
    [502, 'returned 502: it cannot reach the endpoint'],
    [418, 'returned 418'],
  ])('that responds with %i is the reason', async (status, what) => {
    await using proxy = await ConnectProxy.start();
    proxy.answer = status;
    const given = { proxy: proxyAt(`http://u:hush@${proxy.host}`) };
    expect(await postTo('http://shop.invalid/', given)).toMatchObject({
      kind: 'unreachable',
      reason: 'proxy',
      detail: `the proxy ${proxy.host} ${what}`,
    });
    expect(proxy.asked).toEqual(['shop.invalid:80']);
  });

  it('that is down is the reason', async () => {
    const url = await nobodyThere();
    const outcome = await postTo('https://shop.invalid/', { proxy: proxyAt(url) });
    const detail = expect.stringMatching(/^the proxy \S+ cannot be reached: connect ECONNREFUSED/);
    expect(outcome).toMatchObject({ kind: 'unreachable', reason: 'proxy', detail });
  });

  it.each<[string, Parameters<typeof FaultyServer.start>[0]]>([
    ['closes the connection', (socket) => socket.end()],
    ['speaks no HTTP', (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')],
  ])('that %s is the reason', async (_, misbehave) => {
    await using server = await FaultyServer.start(misbehave);
    const outcome = await postTo('https://shop.invalid/', { proxy: proxyAt(server.url) });
    expect(outcome).toMatchObject({
      reason: 'proxy',
      detail: expect.stringContaining('failed: '),
    });
  });

  it.each(['http://shop.invalid/', 'https://shop.invalid/'])(
    'that sends more than the response to CONNECT, like a web server, is the reason (%s)',
    async (url) => {
      await using server = await FaultyServer.start((socket) =>
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n<html/>'),
      );
      const outcome = await postTo(url, { proxy: proxyAt(server.url) });
      expect(outcome).toMatchObject({
        reason: 'proxy',
        detail: expect.stringContaining('returned 200 and more data'),
      });
      expect(server.requests).toBe(1);
    },
  );

  it('that does not respond is the reason when the attempt times out', async () => {
    await using proxy = await ConnectProxy.start();
    proxy.answer = 'hang';
    const given = { proxy: proxyAt(`http://${proxy.host}`), timeoutMs: 500 };
    expect(await postTo('https://shop.invalid/', given)).toMatchObject({
      kind: 'unreachable',
      reason: 'proxy',
      detail: `the proxy ${proxy.host} did not connect to the endpoint within 500 ms`,
    });
  });

  it('is not the reason when the endpoint does not complete TLS in time', async () => {
    await using proxy = await ConnectProxy.start();
    await using silent = await FaultyServer.start(() => undefined);
    const given = { proxy: proxyAt(`http://${proxy.host}`), timeoutMs: 300 };
    const outcome = await postTo(silent.url.replace('http:', 'https:'), given);
    expect(outcome).toMatchObject({ reason: 'timeout' });
  });

  it('is not shown where its host is forbidden', async () => {
    const given = { proxy: proxyAt('http://proxy.example:3128') };
    const outcome = await postTo('http://shop.example/', given, leadingTo(LINK_LOCAL));
    expect(outcome).toMatchObject({ reason: 'forbidden_address' });
  });
});

describe('certificates of the endpoint', () => {
  it('replace the authorities of Node', async () => {
    await using certificate = await selfSigned('IP:127.0.0.1');
    await using other = await selfSigned('IP:127.0.0.1');
    await using shop = await startHttps(certificate);
    const trusting = (cert: string) => ({ tls: { ca: new Secret(cert), client: null } });
    expect(await postTo(shop.url, trusting(certificate.cert))).toEqual(ACCEPTED);
    expect(await postTo(shop.url, trusting(other.cert))).toMatchObject({ reason: 'tls' });
    expect(await postTo(shop.url, {})).toMatchObject({ reason: 'tls' });
  });

  it('are replaced while webhooks are in flight, and none is lost', async () => {
    await using certificate = await selfSigned('IP:127.0.0.1');
    await using old = await selfSigned('DNS:old');
    await using young = await selfSigned('DNS:young');
    await using shop = await startHttps(certificate, [old, young]);
    const showing = ({ cert, key }: typeof old) =>
      anEndpoint({
        url: new URL(shop.url),
        timeoutMs: 10_000,
        tls: {
          ca: new Secret(certificate.cert),
          client: { cert: new Secret(cert), key: new Secret(key) },
        },
      });
    let endpoint = showing(old);
    const sender = createSender(() => endpoint, systemClock, createDnsLookup(systemClock));
    onTestFinished(() => sender.close());
    const post = () => outcomeOf(sender, buildRequest(endpoint, aDelivery(), systemClock.nowMs()));
    const posts = (count: number) => Promise.all(Array.from({ length: count }, post));
    expect(await posts(3)).toEqual([ACCEPTED, ACCEPTED, ACCEPTED]);
    const underWay = posts(20);
    endpoint = showing(young);
    const later = posts(5);
    for (const outcome of [...(await underWay), ...(await later)])
      expect(outcome).toEqual(ACCEPTED);
    expect(shop.clients.slice(0, 3)).toEqual(Array(3).fill(shop.fingerprintOf(old)));
    const byYoung = shop.clients.filter((one) => one === shop.fingerprintOf(young));
    expect(byYoung).toHaveLength(5);
    expect(shop.clients).toHaveLength(28);
  });

  it('are replaced while webhooks hang, and a stop closes the old connections as well', async () => {
    await using silent = await FaultyServer.start(() => undefined);
    const showing = () =>
      anEndpoint({ url: new URL(silent.url), timeoutMs: 60_000, tls: { ca: null, client: null } });
    let endpoint = showing();
    const sender = createSender(() => endpoint, systemClock, createDnsLookup(systemClock));
    const post = () => outcomeOf(sender, buildRequest(endpoint, aDelivery(), systemClock.nowMs()));
    const underWay = [post(), post()];
    endpoint = showing();
    underWay.push(post());
    await eventually('all of them', () => silent.requests === 3);
    await sender.close();
    const stopped = { kind: 'unreachable', reason: 'stopped' };
    expect(await Promise.all(underWay)).toMatchObject([stopped, stopped, stopped]);
  });

  it('for another host are refused each time', async () => {
    await using certificate = await selfSigned('DNS:other.example');
    await using shop = await startHttps(certificate);
    const tls = { ca: new Secret(certificate.cert), client: null };
    const endpoint = anEndpoint({ url: new URL(shop.url), timeoutMs: 10_000, concurrency: 1, tls });
    const sender = createSender(() => endpoint, systemClock, createDnsLookup(systemClock));
    onTestFinished(() => sender.close());
    for (let posts = 0; posts < 3; posts += 1) {
      const request = buildRequest(endpoint, aDelivery(), systemClock.nowMs());
      expect(await outcomeOf(sender, request)).toMatchObject({
        kind: 'unreachable',
        reason: 'tls',
      });
    }
  });

  it('that the endpoint requires and does not get fail the attempt', async () => {
    await using certificate = await selfSigned('IP:127.0.0.1');
    await using client = await selfSigned('DNS:relay');
    await using shop = await startHttps(certificate, [client]);
    const given = { tls: { ca: new Secret(certificate.cert), client: null } };
    expect(await postTo(shop.url, given)).toMatchObject({ kind: 'unreachable' });
    expect(shop.clients).toEqual([]);
  });
});
