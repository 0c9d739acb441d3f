/** Access to endpoints: headers, logins, certificates and proxies, from the YAML file and from secret files. */
import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { type Certificate, selfSigned } from '../support/certificate.js';
import { tempFolder } from '../support/cli.js';
import { ConnectProxy } from '../support/connect-proxy.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { nobodyThere } from '../support/faulty-server.js';
import { startHttps } from '../support/https-server.js';
import { leadingNames } from '../support/leading-names.js';
import { MountedSecret } from '../support/mounted-secret.js';
import { type LogLine, type RelayFile, RelayProcess } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

const TOKEN = 'tok_4f9d1c7e5b';
const PASSWORD = 'pass/word:of "tests"';
/** An unused address, so that a failed test never reaches cloud metadata. */
const LINK_LOCAL = '169.254.77.77';

const expire = (redis: RunningRedis, key: string) =>
  withRedis(redis, (client) => client.set(key, '', 'PX', 10));

function fileOf(
  redis: RunningRedis,
  endpoints: Record<string, Record<string, unknown>>,
): RelayFile {
  const all = Object.entries(endpoints).map(([name, given]) => [
    name,
    { secrets: [TEST_SECRET], timeout: '10s', retry: { schedule: [] }, ...given },
  ]);
  return {
    redis: { url: redis.url },
    endpoints: Object.fromEntries(all),
    routes: [{ name: 'all', match: '*', to: Object.keys(endpoints) }],
    log: { level: 'trace' },
  };
}

/** The line of the attempt for this key at this endpoint. */
function attemptFor(relay: RelayProcess, endpoint: string, key: string): Promise<LogLine> {
  return eventually(`an attempt for ${key} at ${endpoint}`, () =>
    relay.logs('attempt').find((line) => line.endpoint === endpoint && line.key === key),
  );
}

/** The request for this key. */
function requestFor(receiver: TestReceiver, key: string) {
  return eventually(`a request for ${key}`, () =>
    receiver.requests.find(({ body }) => body.data.key === key),
  );
}

/** Neither plain nor encoded as in headers and URLs. */
function expectNoSecrets({ stdout, stderr }: { stdout: string; stderr: string }): void {
  for (const secret of [TOKEN, PASSWORD, '"tests"', encodeURIComponent(PASSWORD), btoa(PASSWORD)]) {
    expect(stdout + stderr).not.toContain(secret);
  }
}

describe.concurrent('headers', () => {
  it('come from the environment, from files and from basic authentication', async () => {
    await using redis = await startRedis();
    await using plain = await TestReceiver.start();
    await using basic = await TestReceiver.start();
    await using folder = await tempFolder({ token: `${TOKEN}\n`, password: `${PASSWORD}\n` });
    const file = fileOf(redis, {
      plain: {
        url: plain.url,
        headers: {
          authorization: `Bearer \${SHOP_TOKEN}`,
          'X-Api-Key': { file: `${folder.path}/token` },
        },
      },
      basic: {
        url: basic.url,
        basic: { username: 'relay', password_file: `${folder.path}/password` },
      },
    });
    await using relay = await RelayProcess.start(file, { SHOP_TOKEN: TOKEN });
    await expire(redis, 'order:1');
    const { headers } = await requestFor(plain, 'order:1');
    expect(headers).toMatchObject({ authorization: `Bearer ${TOKEN}`, 'x-api-key': TOKEN });
    const { authorization = '' } = (await requestFor(basic, 'order:1')).headers;
    expect(atob(authorization.replace(/^Basic /, ''))).toBe(`relay:${PASSWORD}`);
    expectNoSecrets(relay);
  });

  it('follow a file that Kubernetes swaps; the last good one stays in use when it vanishes', async () => {
    await using redis = await startRedis();
    const repeat = (token: string, response: ServerResponse) =>
      void response.writeHead(401).end(`wrong token: ${token}`);
    await using receiver = await TestReceiver.start(({ headers }, response) =>
      repeat(headers['x-api-key'] ?? '', response),
    );
    await using mounted = await MountedSecret.mount({ token: 'first-token' });
    const headers = { 'x-api-key': { file: mounted.file('token') } };
    await using relay = await RelayProcess.start(
      fileOf(redis, { shop: { url: receiver.url, headers } }),
    );
    const tokenFor = async (key: string) => {
      await expire(redis, key);
      const request = await requestFor(receiver, key);
      expect(await attemptFor(relay, 'shop', key)).toMatchObject({
        response_body: '[withheld: it repeats a header or the query of this endpoint]',
      });
      return request.headers['x-api-key'];
    };
    const stale = () => relay.metric('expiry_relay_credentials_stale{endpoint="shop"}');
    expect(await tokenFor('order:1')).toBe('first-token');

    await mounted.swap({ token: `${TOKEN}\n` });
    await relay.logged('credentials_reloaded');
    expect(await tokenFor('order:2')).toBe(TOKEN);

    await mounted.swap({});
    expect(await relay.logged('credentials_unusable')).toMatchObject({
      endpoint: 'shop',
      reason: expect.stringMatching(/found "\/\S+\/token" \(no such file\)$/),
    });
    expect(await tokenFor('order:3')).toBe(TOKEN);
    expect(await stale()).toBe(1);

    await mounted.swap({ token: 'third-token' });
    await eventually('a second reload', () => relay.logs('credentials_reloaded').length === 2);
    expect(await tokenFor('order:4')).toBe('third-token');
    expect(await stale()).toBe(0);
    expect(relay.logs('credentials_unusable')).toHaveLength(1);
    expectNoSecrets(relay);
  });
});

describe.concurrent('with certificates', () => {
  let certificate: Certificate;
  beforeAll(async () => {
    certificate = await selfSigned('IP:127.0.0.1');
  });
  afterAll(() => certificate[Symbol.asyncDispose]());

  it('an endpoint with a private authority is trusted only where the file names it', async () => {
    await using redis = await startRedis();
    await using shop = await startHttps(certificate);
    const tls = { ca_file: certificate.certFile };
    const file = fileOf(redis, { trusted: { url: shop.url, tls }, other: { url: shop.url } });
    await using relay = await RelayProcess.start(file);
    await expire(redis, 'order:1');
    expect(await attemptFor(relay, 'trusted', 'order:1')).toMatchObject({ outcome: 'accepted' });
    expect(await attemptFor(relay, 'other', 'order:1')).toMatchObject({ reason: 'tls' });
    expect(shop.clients).toHaveLength(1);
  });

  it('the relay presents its own, and a new one when its files change', async () => {
    await using redis = await startRedis();
    await using first = await selfSigned('DNS:first');
    await using second = await selfSigned('DNS:second');
    await using shop = await startHttps(certificate, [first, second]);
    const held = ({ cert, key }: Certificate) => ({ 'tls.crt': cert, 'tls.key': key });
    await using mounted = await MountedSecret.mount(held(first));
    const tls = {
      ca_file: certificate.certFile,
      cert_file: mounted.file('tls.crt'),
      key_file: mounted.file('tls.key'),
    };
    const file = fileOf(redis, {
      known: { url: shop.url, tls },
      unknown: { url: shop.url, tls: { ca_file: certificate.certFile } },
    });
    await using relay = await RelayProcess.start(file);
    await expire(redis, 'order:1');
    expect(await attemptFor(relay, 'known', 'order:1')).toMatchObject({ outcome: 'accepted' });
    expect(await attemptFor(relay, 'unknown', 'order:1')).toMatchObject({ outcome: 'unreachable' });
    await mounted.swap(held(second));
    await relay.logged('credentials_reloaded');
    await expire(redis, 'order:2');
    expect(await attemptFor(relay, 'known', 'order:2')).toMatchObject({ outcome: 'accepted' });
    expect(shop.clients).toEqual([first, second].map(shop.fingerprintOf));
  });
});

describe.concurrent('through a proxy', () => {
  it('endpoints of http and https are reached by CONNECT, and an error of the proxy is logged', async () => {
    await using redis = await startRedis();
    await using certificate = await selfSigned('DNS:shop.invalid');
    await using proxy = await ConnectProxy.start({ login: `relay:${PASSWORD}` });
    await using secure = await startHttps(certificate);
    await using plain = await TestReceiver.start();
    const at = (url: string) => `http://shop.invalid:${new URL(url).port}/hooks`;
    const login = `relay:${encodeURIComponent(PASSWORD)}`;
    const file = fileOf(redis, {
      plain: { url: at(plain.url), proxy: `\${EGRESS_PROXY}` },
      secure: {
        url: at(secure.url).replace('http:', 'https:'),
        proxy: `\${EGRESS_PROXY}`,
        tls: { ca_file: certificate.certFile },
      },
      stranger: { url: at(plain.url), proxy: `http://relay:wrong@${proxy.host}` },
      nobody: { url: at(plain.url), proxy: await nobodyThere() },
      direct: { url: at(plain.url) },
    });
    await using relay = await RelayProcess.start(file, {
      EGRESS_PROXY: `http://${login}@${proxy.host}`,
      HTTP_PROXY: `http://${login}@${proxy.host}`,
      HTTPS_PROXY: `http://${login}@${proxy.host}`,
    });
    await expire(redis, 'order:1');
    expect(await attemptFor(relay, 'plain', 'order:1')).toMatchObject({ outcome: 'accepted' });
    expect(await attemptFor(relay, 'secure', 'order:1')).toMatchObject({ outcome: 'accepted' });
    expect(await attemptFor(relay, 'stranger', 'order:1')).toMatchObject({
      outcome: 'unreachable',
      reason: 'proxy',
      error: `the proxy ${proxy.host} returned 407: it requires a user and password, or rejects the configured ones`,
    });
    expect(await attemptFor(relay, 'nobody', 'order:1')).toMatchObject({
      reason: 'proxy',
      error: expect.stringContaining('cannot be reached: connect ECONNREFUSED'),
    });
    expect(await attemptFor(relay, 'direct', 'order:1')).toMatchObject({ reason: 'dns' });
    expect(plain.requests).toHaveLength(1);
    expect(secure.clients).toHaveLength(1);
    expect(proxy.asked).toHaveLength(3);
    expectNoSecrets(relay);
  });
});

describe.concurrent('through a proxy with TLS', () => {
  it('endpoints of http and https are reached, the latter by TLS within TLS', async () => {
    await using redis = await startRedis();
    await using ofProxy = await selfSigned('IP:127.0.0.1');
    await using certificate = await selfSigned('DNS:shop.invalid');
    await using proxy = await ConnectProxy.start({ certificate: ofProxy });
    await using secure = await startHttps(certificate);
    await using plain = await TestReceiver.start();
    const through = { proxy: `https://${proxy.host}` };
    const at = (url: string) => `//shop.invalid:${new URL(url).port}/hooks`;
    const tls = { ca_file: certificate.certFile };
    const file = fileOf(redis, {
      plain: { url: `http:${at(plain.url)}`, ...through },
      secure: { url: `https:${at(secure.url)}`, tls, ...through },
    });
    const env = { NODE_EXTRA_CA_CERTS: ofProxy.certFile };
    await using relay = await RelayProcess.start(file, env);
    for (const key of ['order:1', 'order:2']) {
      await expire(redis, key);
      expect(await attemptFor(relay, 'plain', key)).toMatchObject({ outcome: 'accepted' });
      expect(await attemptFor(relay, 'secure', key)).toMatchObject({ outcome: 'accepted' });
    }
    expect(plain.keys).toEqual(['order:1', 'order:2']);
    expect(secure.clients).toHaveLength(2);
  });
});

describe.concurrent('a forbidden address', () => {
  it('is never connected to when the name of an endpoint resolves to it, unless the file allows it', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start((_, response) => {
      // So that each webhook has a separate connection, for which the name is resolved again.
      response.writeHead(204, { connection: 'close' }).end();
    });
    const env = leadingNames({
      'metadata.example': [LINK_LOCAL],
      'rebound.example': ['127.0.0.1', LINK_LOCAL],
      // It never leaves this machine.
      'allowed.example': ['fe80::77%lo'],
    });
    const at = (name: string) => receiver.url.replace('127.0.0.1', name);
    const file = fileOf(redis, {
      metadata: { url: at('metadata.example') },
      rebound: { url: at('rebound.example') },
      allowed: { url: at('allowed.example'), allow_link_local: true },
    });
    await using relay = await RelayProcess.start(file, env);
    await expire(redis, 'order:1');
    const refusal = { outcome: 'unreachable', reason: 'forbidden_address', disposition: 'dead' };
    const line = await attemptFor(relay, 'metadata', 'order:1');
    expect(line).toMatchObject(refusal);
    expect(line.error).toContain(
      `metadata.example resolves to ${LINK_LOCAL}, which is a link-local`,
    );
    expect(await attemptFor(relay, 'rebound', 'order:1')).toMatchObject({ outcome: 'accepted' });
    const allowed = await attemptFor(relay, 'allowed', 'order:1');
    expect(allowed.reason).not.toBe('forbidden_address');
    await expire(redis, 'order:2');
    expect(await attemptFor(relay, 'rebound', 'order:2')).toMatchObject(refusal);
    expect(receiver.requests).toHaveLength(1);
  });
});
