/** Endpoints that are dead, slow or hostile: each costs its own webhooks, and nothing else. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import type { UnreachableReason } from '../../src/model/vocabulary.js';
import { selfSigned } from '../support/certificate.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { FaultyServer, flood, type Misbehave, nobodyThere } from '../support/faulty-server.js';
import { type HttpsServer, startHttps } from '../support/https-server.js';
import { type LogLine, type RelayFile, RelayProcess } from '../support/relay-process.js';
import { assertVerified, TestReceiver } from '../support/test-receiver.js';

const REDIS_PASSWORD = 'redis password/of "tests"';
const TOKEN = 'tok_4f9d1c7e5b';

/** The limit on lateness for a healthy endpoint on a busy machine; the faulty ones hang longer. */
const PROMPT_MS = 5_000;

let server: RunningRedis;
let redis: Redis;
let healthy: TestReceiver;

const expire = (key: string) => redis.set(key, '', 'PX', 10);

/** An endpoint under test. */
function anEndpoint(url: string, given: Record<string, unknown> = {}) {
  return {
    url,
    secrets: [TEST_SECRET],
    headers: { authorization: `Bearer ${TOKEN}` },
    timeout: '10s',
    retry: { schedule: ['50ms', '50ms'], jitter: 0 },
    ...given,
  };
}

/** The endpoints under test, and a healthy one beside them; all get every key. */
function fileOf(endpoints: Record<string, object>): RelayFile {
  const all = { ...endpoints, healthy: { url: healthy.url, secrets: [TEST_SECRET] } };
  return {
    redis: { url: server.url },
    endpoints: all,
    routes: [{ name: 'all', match: '*', to: Object.keys(all) }],
    log: { level: 'trace' },
  };
}

function attemptsAt(relay: RelayProcess, endpoint: string): LogLine[] {
  return relay.logs('attempt').filter((line) => line.endpoint === endpoint);
}

function deadLine(relay: RelayProcess, endpoint: string): Promise<LogLine> {
  return eventually('a dead letter', () =>
    attemptsAt(relay, endpoint).find(({ disposition }) => disposition === 'dead'),
  );
}

/** Neither plain nor encoded as in URLs and headers. */
function expectNoSecrets({ stdout, stderr }: { stdout: string; stderr: string }): void {
  const secrets = [TEST_SECRET.slice('whsec_'.length), TOKEN, REDIS_PASSWORD, '"tests"', 'of%20'];
  for (const secret of secrets) expect(stdout + stderr).not.toContain(secret);
}

beforeAll(async () => {
  server = await startRedis({ password: REDIS_PASSWORD });
  redis = new Redis(server.url, { protocol: 2 });
  healthy = await TestReceiver.start();
});

afterAll(async () => {
  redis?.disconnect();
  await healthy?.[Symbol.asyncDispose]();
  await server?.stop();
});

const EARLY_HINTS = 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'.repeat(100);
const OK = 'HTTP/1.1 200 OK\r\n';
const OK_HALF = `${OK}content-length: 9\r\n\r\nhalf`;
const NO = 'HTTP/1.1 500 No\r\n\r\n';
const LONG = 'x'.repeat(1_000);

const unreachable = (reason: UnreachableReason) => ({ outcome: 'unreachable', reason });

/** Endpoints of the same relay, with their behavior on a connection. */
const FAULTS: readonly [name: string, outcome: object, Misbehave][] = [
  ['never-answers', unreachable('timeout'), () => undefined],
  ['hangs-in-the-status', unreachable('timeout'), (socket) => socket.write('HTTP/1.1 20')],
  ['promises-for-ever', unreachable('protocol'), (socket) => flood(socket, '', EARLY_HINTS)],
  ['resets', unreachable('connection_reset'), (socket) => socket.resetAndDestroy()],
  ['closes', unreachable('connection_reset'), (socket) => socket.end()],
  ['no-http', unreachable('protocol'), (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')],
  ['endless-refusal', { outcome: 'rejected', status: 500 }, (socket) => flood(socket, NO, LONG)],
  ['repeats-the-token', { outcome: 'rejected', status: 500 }, (socket) => socket.end(NO + TOKEN)],
];

/** Endpoints of the same relay that accept a webhook, and misbehave after the status line. */
const ACCEPTING: readonly [name: string, Misbehave][] = [
  ['hangs-in-the-head', (socket) => socket.write(`${OK}x: `)],
  ['hangs-in-the-body', (socket) => socket.write(OK_HALF)],
  ['closes-in-the-body', (socket) => socket.end(OK_HALF)],
  ['endless-headers', (socket) => flood(socket, OK, `x: ${LONG}\r\n`)],
  ['endless-header', (socket) => flood(socket, `${OK}x: `, LONG)],
  [
    'body-of-no-content',
    (socket) => socket.write('HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok'),
  ],
];

/** Endpoints of the same relay that no connection reaches. */
const OUT_OF_REACH: readonly [name: string, reason: UnreachableReason][] = [
  ['nobody-there', 'connection_refused'],
  ['no-such-host', 'dns'],
  ['self-signed', 'tls'],
  ['other-name', 'tls'],
  ['plain-http', 'tls'],
];

describe('of many faulty endpoints of one relay,', () => {
  const servers = new Map<string, FaultyServer>();
  const disposables: AsyncDisposable[] = [];
  let relay: RelayProcess;
  let plain: TestReceiver;
  let unverified: HttpsServer[];

  function keep<Disposable extends AsyncDisposable>(disposable: Disposable): Disposable {
    disposables.push(disposable);
    return disposable;
  }

  beforeAll(async () => {
    const endpoints: Record<string, object> = {};
    for (const [name, outcome, misbehave] of FAULTS) {
      const shop = keep(await FaultyServer.start(misbehave));
      servers.set(name, shop);
      const hangs = 'reason' in outcome && outcome.reason === 'timeout';
      endpoints[name] = anEndpoint(shop.url, { timeout: hangs ? '1s' : '10s' });
    }
    for (const [name, misbehave] of ACCEPTING) {
      const shop = keep(await FaultyServer.start(misbehave));
      servers.set(name, shop);
      endpoints[name] = anEndpoint(shop.url, { timeout: '1s' });
    }
    const unknown = keep(await selfSigned('IP:127.0.0.1'));
    const otherName = keep(await selfSigned('DNS:shop.example'));
    unverified = [keep(await startHttps(unknown)), keep(await startHttps(otherName))];
    plain = keep(await TestReceiver.start());
    endpoints['nobody-there'] = anEndpoint(await nobodyThere());
    endpoints['no-such-host'] = anEndpoint('http://nowhere.invalid/');
    endpoints['self-signed'] = anEndpoint(unverified[0]?.url ?? '');
    endpoints['other-name'] = anEndpoint(unverified[1]?.url ?? '');
    endpoints['plain-http'] = anEndpoint(plain.url.replace('http:', 'https:'));
    const env = { NODE_EXTRA_CA_CERTS: otherName.certFile };
    relay = keep(await RelayProcess.start(fileOf(endpoints), env));
    await expire('order:1');
  });

  afterAll(async () => {
    for (const disposable of disposables.reverse()) await disposable[Symbol.asyncDispose]();
  });

  /** Three attempts with the same outcome, then a dead letter. */
  async function expectDeadLetter(endpoint: string, outcome: object): Promise<void> {
    const { id } = await deadLine(relay, endpoint);
    expect(attemptsAt(relay, endpoint)).toMatchObject([
      { id, attempt: 1, level: 'warn', disposition: 'retry', retry_in_ms: 50, ...outcome },
      { id, attempt: 2, level: 'warn', disposition: 'retry', retry_in_ms: 50, ...outcome },
      { id, attempt: 3, level: 'error', disposition: 'dead', dead_reason: 'exhausted', ...outcome },
    ]);
    const series = ['dead_letters', 'outbox_pending'].map(
      (name) => `expiry_relay_${name}{endpoint="${endpoint}"}`,
    );
    await eventually('the metrics', async () => {
      const [letters, pending] = await relay.metrics(...series);
      return letters === 1 && pending === 0;
    });
  }

  it.each(FAULTS)('one that misbehaves (%s) gets three attempts: %o', async (name, outcome) => {
    await expectDeadLetter(name, outcome);
    const shop = servers.get(name);
    expect(shop?.requests).toBe(3);
    await eventually('the end of its connections', () =>
      shop?.sockets.every(({ destroyed, bytesWritten }) => destroyed || bytesWritten === 0),
    );
  });

  it.each(ACCEPTING)('one that accepts and then misbehaves (%s) gets one attempt', async (name) => {
    await eventually('the attempt', () => attemptsAt(relay, name)[0]);
    const [warning] = relay.logs('response_malformed').filter(({ endpoint }) => endpoint === name);
    expect(warning).toMatchObject({ level: 'warn' });
    const accepted = { outcome: 'accepted', disposition: 'done', malformed: warning?.error };
    expect(attemptsAt(relay, name)).toMatchObject([accepted]);
    expect(servers.get(name)?.requests).toBe(1);
  });

  it.each(OUT_OF_REACH)('one out of reach (%s) gets three attempts: %s', async (name, reason) => {
    await expectDeadLetter(name, unreachable(reason));
    expect(unverified.map(({ clients }) => clients.length)).toEqual([0, 0]);
    expect(plain.requests).toEqual([]);
  });

  it('a healthy one gets its webhook promptly', async () => {
    await eventually('the attempt', () => attemptsAt(relay, 'healthy')[0]);
    expect(attemptsAt(relay, 'healthy')).toMatchObject([{ outcome: 'accepted', attempt: 1 }]);
    expect(attemptsAt(relay, 'healthy')[0]?.age_ms).toBeLessThan(PROMPT_MS);
    expect(await relay.metric('expiry_relay_dead_letters{endpoint="healthy"}')).toBe(0);
  });

  it('none crashes the relay, or makes it reveal a secret', async () => {
    for (const [name] of [...FAULTS, ...OUT_OF_REACH]) await deadLine(relay, name);
    expect((await relay.get('/readyz')).status).toBe(200);
    expect(relay.stderr).toBe('');
    expect(await relay.stop()).toEqual({ code: 0, signal: null });
    expectNoSecrets(relay);
  });
});

describe('an endpoint that', () => {
  beforeEach(() => redis.flushall());

  it('answers 200 and then 100 MB has accepted, and costs neither memory nor time', async () => {
    await using shop = await FaultyServer.start((socket) =>
      flood(socket, `${OK}content-length: 100000000\r\n\r\n`, 'x'.repeat(65_536)),
    );
    await using relay = await RelayProcess.start(fileOf({ shop: anEndpoint(shop.url) }));
    const rss = 'process_resident_memory_bytes';
    const beforeBytes = await relay.metric(rss);
    for (let keys = 0; keys < 10; keys += 1) await expire(`large:${keys}`);
    await eventually('ten attempts', () => attemptsAt(relay, 'shop').length === 10);
    for (const line of attemptsAt(relay, 'shop')) {
      expect(line).toMatchObject({ outcome: 'accepted', status: 200, disposition: 'done' });
      expect(line.duration_ms).toBeLessThan(2_000);
    }
    expect((await relay.metric(rss)) - beforeBytes).toBeLessThan(100_000_000);
    await eventually('the end of the answers', () =>
      shop.sockets.every(({ destroyed, bytesWritten }) => destroyed || bytesWritten === 0),
    );
    for (const { bytesWritten } of shop.sockets) expect(bytesWritten).toBeLessThan(20_000_000);
  });

  it('redirects has refused, and the redirect is not followed', async () => {
    await using elsewhere = await TestReceiver.start();
    const statuses = [301, 302, 307, 308];
    await using shop = await TestReceiver.start((_, response, count) => {
      response.writeHead(statuses[count - 1] ?? 500, { location: elsewhere.url }).end();
    });
    const retry = { schedule: ['20ms', '20ms', '20ms'] };
    await using relay = await RelayProcess.start(fileOf({ shop: anEndpoint(shop.url, { retry }) }));
    await expire('order:1');
    await deadLine(relay, 'shop');
    expect(attemptsAt(relay, 'shop')).toMatchObject(
      statuses.map((status) => ({ outcome: 'rejected', status })),
    );
    expect(elsewhere.requests).toEqual([]);
  });

  it('has a certificate that verifies gets its webhooks over https', async () => {
    await using certificate = await selfSigned('IP:127.0.0.1');
    await using shop = await startHttps(certificate);
    await using relay = await RelayProcess.start(fileOf({ shop: anEndpoint(shop.url) }), {
      NODE_EXTRA_CA_CERTS: certificate.certFile,
    });
    await expire('order:1');
    await eventually('the attempt', () => attemptsAt(relay, 'shop')[0]);
    expect(attemptsAt(relay, 'shop')).toMatchObject([{ outcome: 'accepted' }]);
    expect(shop.clients).toHaveLength(1);
  });
});

describe('a healthy endpoint', () => {
  beforeEach(() => redis.flushall());

  it('gets all of its webhooks promptly while another one hangs with its concurrency used up', async () => {
    const keys = 200;
    await using shop = await FaultyServer.start(() => undefined);
    const hanging = anEndpoint(shop.url, { concurrency: 1, timeout: '10m' });
    await using relay = await RelayProcess.start(fileOf({ shop: hanging }));
    const pipeline = redis.pipeline();
    for (let key = 0; key < keys; key += 1) pipeline.set(`hanging:${key}`, '', 'PX', 10);
    await pipeline.exec();
    await eventually('all of them', () => attemptsAt(relay, 'healthy').length === keys);
    for (const line of attemptsAt(relay, 'healthy')) {
      expect(line).toMatchObject({ outcome: 'accepted' });
      expect(line.age_ms).toBeLessThan(PROMPT_MS);
    }
    const requests = healthy.requests.filter(({ body }) => body.data.key.startsWith('hanging:'));
    expect(requests).toHaveLength(keys);
    for (const request of requests) assertVerified(request);
    expect(await relay.metric('expiry_relay_outbox_pending{endpoint="shop"}')).toBe(keys);
    expect(shop.requests).toBe(1);
  });
});

describe('the Redis password', () => {
  it('is not shown when it is wrong', async () => {
    const url = server.url.replace(encodeURIComponent(REDIS_PASSWORD), TOKEN);
    await using relay = await RelayProcess.spawn({ ...fileOf({}), redis: { url } });
    expect((await relay.exited).code).toBe(1);
    expect(relay.startError).toContain('rejects the user name or password');
    expectNoSecrets(relay);
  });
});
