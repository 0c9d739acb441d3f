/** TLS to a Redis: the keys of the file, and an error for each kind of failure. */
import dns from 'node:dns';
import type { AddressInfo } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, type MockInstance, vi } from 'vitest';
import { type Certificate, selfSigned } from '../support/certificate.js';
import { failureAt, openStateOf, settingsOf, whyNot } from '../support/connecting.js';
import { FaultyServer } from '../support/faulty-server.js';
import { startTlsRedis, type TlsRedis } from '../support/tls-redis.js';

let server: Certificate;
let client: Certificate;
let stranger: Certificate;
let open: TlsRedis;
let guarded: TlsRedis;

beforeAll(async () => {
  server = await selfSigned('DNS:localhost');
  client = await selfSigned('DNS:relay');
  stranger = await selfSigned('DNS:stranger');
  open = await startTlsRedis(server, { clients: null });
  guarded = await startTlsRedis(server, { clients: [client] });
});
afterAll(async () => {
  for (const each of [open, guarded, server, client, stranger]) await each[Symbol.asyncDispose]();
});

const pair = ({ certFile, keyFile }: Certificate) => ({ cert_file: certFile, key_file: keyFile });
const at = ({ port }: { port: number }, host = 'localhost') => `rediss://${host}:${port}`;

describe('a Redis that requires a client certificate, as it does by default', () => {
  it('is connected to with the certificate of the file, for the keys and the state', async () => {
    const tls = { ca_file: server.certFile, ...pair(client) };
    const settings = await settingsOf({ redis: { url: at(guarded), tls } });
    expect(await failureAt(settings)).toBeNull();
    await using opened = openStateOf(settings);
    await opened.state.ready(AbortSignal.timeout(20_000));
    expect(opened.state.problem).toBeNull();
  });

  it('is reported to require one where the file has none', async () => {
    const tls = { ca_file: server.certFile };
    expect(await whyNot({ url: at(guarded), tls })).toMatch(
      /requires a client certificate.*Set redis\.tls\.cert_file and redis\.tls\.key_file/,
    );
    const state = { url: at(guarded), tls };
    await using opened = openStateOf(await settingsOf({ state }));
    await expect(opened.state.ready(AbortSignal.timeout(20_000))).rejects.toThrow(
      /requires a client certificate.*Set state\.tls\.cert_file/,
    );
  });

  it('is reported to refuse an unknown one, with its issuer and end of validity', async () => {
    const tls = { ca_file: server.certFile, ...pair(stranger) };
    expect(await whyNot({ url: at(guarded), tls })).toMatch(
      /rejects the certificate of redis\.tls\.cert_file.*CN=expiry-relay-test stranger.*valid from/,
    );
  });

  it('is reported to refuse one that has expired', async () => {
    await using expired = await selfSigned('DNS:relay', 400);
    await using strict = await startTlsRedis(server, { clients: [expired] });
    const tls = { ca_file: server.certFile, ...pair(expired) };
    expect(await whyNot({ url: at(strict), tls })).toMatch(
      /rejects the certificate of redis\.tls\.cert_file \(\w*CERTIFICATE_EXPIRED\)\. .*Renew it/,
    );
  });
});

describe('a certificate of the server that does not verify', () => {
  it('because its authority is unknown causes an error that names ca_file', async () => {
    expect(await whyNot({ url: at(open) })).toMatch(
      /not signed by a CA that Node trusts .*Set redis\.tls\.ca_file/,
    );
  });

  it('because its authority is not in ca_file causes an error', async () => {
    const said = await whyNot({ url: at(open), tls: { ca_file: stranger.certFile } });
    expect(said).toContain('not signed by a CA in redis.tls.ca_file');
    expect(said).not.toContain('NODE_EXTRA_CA_CERTS');
  });

  it.each([
    ['/nowhere/ca.pem', 'no such file'],
    ['/etc/hostname', 'it holds no certificates in PEM'],
  ])('says that Node ignores NODE_EXTRA_CA_CERTS=%s', async (file, reason) => {
    const said = await whyNot({ url: at(open) }, { NODE_EXTRA_CA_CERTS: file });
    expect(said).toContain(`NODE_EXTRA_CA_CERTS names ${file}, which Node ignores: ${reason}`);
  });

  it('because it is for another name causes an error with both names, and server_name helps', async () => {
    const url = at(open, '127.0.0.1');
    const tls = { ca_file: server.certFile };
    expect(await whyNot({ url, tls })).toMatch(
      /not valid for 127\.0\.0\.1 \(the host of redis\.url\), only for DNS:localhost .*redis\.tls\.server_name/,
    );
    expect(await whyNot({ url, tls: { ...tls, server_name: 'other.example' } })).toContain(
      'not valid for other.example (redis.tls.server_name), only for DNS:localhost',
    );
    expect(await whyNot({ url, tls: { ...tls, server_name: 'localhost' } })).toBe('connected');
  });

  it('because it has expired, or is not valid yet, causes an error', async () => {
    for (const [daysAgo, reason] of [
      [400, 'has expired'],
      [-10, 'is not valid yet'],
    ] as const) {
      await using timed = await selfSigned('DNS:localhost', daysAgo);
      await using redis = await startTlsRedis(timed, { clients: null });
      const tls = { ca_file: timed.certFile };
      expect(await whyNot({ url: at(redis), tls })).toContain(`its certificate ${reason}`);
    }
  });
});

/** A server that accepts only TLS, and the names that clients have requested. */
async function startSni({ key, cert }: Certificate) {
  const names: unknown[] = [];
  const tls = createTlsServer({ key, cert }, (socket) => {
    names.push(socket.servername);
    socket.on('error', () => undefined).end();
  });
  tls.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
  return {
    port: (tls.address() as AddressInfo).port,
    names,
    [Symbol.asyncDispose]: async () => void tls.close(),
  };
}

it('a name with a trailing dot is resolved with it, and requested and verified without it', async () => {
  await using sni = await startSni(server);
  const { lookup } = dns;
  // Not every machine resolves the absolute form of this name.
  const spy = vi.spyOn(dns, 'lookup') as unknown as MockInstance<(...asked: unknown[]) => void>;
  spy.mockImplementation((name, ...rest) =>
    Reflect.apply(lookup, dns, [name === 'localhost.' ? '127.0.0.1' : name, ...rest]),
  );
  const tls = { ca_file: server.certFile };
  const said = await whyNot({ url: at(sni, 'localhost.'), tls });
  expect(spy).toHaveBeenCalledWith('localhost.', expect.anything(), expect.anything());
  spy.mockRestore();
  expect(sni.names).toEqual(['localhost']);
  expect(said).toContain('after the TLS handshake');
});

it('SNI is the host, or server_name instead of it, and empty for an address', async () => {
  await using sni = await startSni(server);
  const tls = { ca_file: server.certFile };
  await whyNot({ url: at(sni), tls });
  await whyNot({ url: at(sni, '127.0.0.1'), tls: { ...tls, server_name: 'localhost' } });
  await using numbered = await selfSigned('IP:127.0.0.1');
  await using other = await startSni(numbered);
  const said = await whyNot({ url: at(other, '127.0.0.1'), tls: { ca_file: numbered.certFile } });
  expect(sni.names).toEqual(['localhost', 'localhost']);
  expect(other.names).toEqual([false]);
  expect(said).toContain('after the TLS handshake');
});

describe.concurrent('a port that does not speak TLS behind rediss://', () => {
  it('is reported when it replies in another protocol', async () => {
    await using http = await FaultyServer.start((socket) => socket.end('HTTP/1.1 400 No\r\n\r\n'));
    const url = http.url.replace('http:', 'rediss:');
    expect(await whyNot({ url })).toMatch(/this port is without TLS .*Use redis:\/\//);
  });

  it('is reported not to reply to the handshake when it is a Redis', async () => {
    expect(await whyNot({ url: at(open.plain) })).toMatch(
      /does not respond to the TLS handshake\. .*use redis:\/\/ in redis\.url/,
    );
  });

  it('is reported to close connections during the handshake', async () => {
    await using closing = await FaultyServer.start((socket) => socket.destroy());
    const url = closing.url.replace('http:', 'rediss:');
    expect(await whyNot({ url })).toContain('closes connections during the TLS handshake');
  });
});

describe('a port for TLS behind redis://', () => {
  it('is reported as one possibility when it closes the connection', async () => {
    expect(await whyNot({ url: `redis://localhost:${open.port}` })).toMatch(
      /closes them without a response\. The port may require TLS \(use rediss:\/\/\)/,
    );
  });

  it('is reported when it replies with a TLS alert', async () => {
    const alert = Buffer.from([0x15, 3, 1, 0, 2, 2, 70]);
    await using tls = await FaultyServer.start((socket) => socket.end(alert));
    const said = await whyNot({ url: tls.url.replace('http:', 'redis:') });
    expect(said).toContain('requires TLS, but redis.url is redis://. Use rediss://');
  });
});

it('a proxy that terminates TLS and whose Redis is down causes retries', async () => {
  await using proxy = await startSni(server);
  const redis = { url: at(proxy), tls: { ca_file: server.certFile } };
  const error = await failureAt(await settingsOf({ redis }));
  expect(error?.message).toMatch(/closes connections after the TLS handshake .*Redis is down/);
  expect(error?.retryable).toBe(true);
});
