// cspell:ignore tlsv
import { expect, it } from 'vitest';
import { adviceFor, judgeEndpoint } from '../../src/doctor/judge-endpoint.js';
import { Secret } from '../../src/model/secret.js';
import type { UnreachableReason } from '../../src/model/vocabulary.js';
import { anEndpoint } from '../support/domain.js';

const endpoint = anEndpoint({ url: new URL('https://shop.example:8443/hooks?token=hush') });

it('a reachable endpoint is reported without its path and query', () => {
  expect(judgeEndpoint(endpoint, { kind: 'connected', address: '10.0.0.3' }, 12)).toEqual({
    level: 'ok',
    subject: 'endpoint shop',
    text: 'https://shop.example:8443 connected within 12 ms (10.0.0.3), certificate verified',
    advice: null,
    command: null,
  });
  const plain = anEndpoint({ url: new URL('http://shop.example/') });
  expect(judgeEndpoint(plain, { kind: 'connected', address: '::1' }, 1).text).toBe(
    'http://shop.example connected within 1 ms (::1)',
  );
});

it('a reachable endpoint behind a proxy is reported with the proxy, without its login', () => {
  const authorization = new Secret('Basic aHVzaA==');
  const proxied = anEndpoint({ proxy: { url: new URL('http://proxy:3128'), authorization } });
  const { text } = judgeEndpoint(proxied, { kind: 'connected', address: '10.0.0.4' }, 1);
  expect(text).toContain('within 1 ms (through the proxy proxy:3128 at 10.0.0.4)');
});

it.each<[UnreachableReason, string, string]>([
  ['connection_refused', 'ECONNREFUSED', 'start the receiver, or correct the port'],
  ['dns', 'ENOTFOUND', 'correct the host name shop.example'],
  ['timeout', 'UND_ERR_CONNECT_TIMEOUT', 'firewall'],
  ['timeout', 'UND_ERR_CONNECT_TIMEOUT', 'use http://'],
  ['tls', 'CERT_HAS_EXPIRED', 'renew the certificate of the endpoint'],
  ['tls', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'NODE_EXTRA_CA_CERTS'],
  ['tls', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'NODE_EXTRA_CA_CERTS'],
  ['tls', 'ERR_TLS_CERT_ALTNAME_INVALID', 'a certificate for shop.example'],
  ['tls', 'ERR_SSL_WRONG_VERSION_NUMBER', 'use http://'],
  ['network', 'EPROTO', 'use http://'],
  ['network', 'EHOSTUNREACH', 'a route to shop.example'],
  ['tls', 'SELF_SIGNED_CERT_IN_CHAIN', 'tls.ca_file'],
  ['tls', 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'tls.cert_file'],
  ['tls', 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', 'tls.cert_file'],
  ['tls', 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'use http://'],
  ['connection_reset', 'ECONNRESET', 'tls.cert_file'],
  ['proxy', 'ERR_PROXY', "check the endpoint's proxy"],
  ['forbidden_address', 'ERR_FORBIDDEN_ADDRESS', 'allow_link_local: true'],
])('an endpoint that fails by %s (%s): %s', (reason, code, advice) => {
  const found = judgeEndpoint(
    endpoint,
    { kind: 'failed', reason, code, detail: 'the words' },
    5_000,
  );
  expect(found).toMatchObject({ level: 'problem', advice: expect.stringContaining(advice) });
  expect(found.text).toContain(reason === 'timeout' ? 'no TLS connection within 5 s' : 'the words');
});

it('a broken connection causes no advice on certificates over http, or where one is configured', () => {
  const reset = { reason: 'connection_reset', code: 'ECONNRESET' } as const;
  const client = { cert: new Secret('c'), key: new Secret('k') };
  const advice = [
    anEndpoint({ url: new URL('http://shop.example/') }),
    anEndpoint({ url: endpoint.url, tls: { ca: null, client } }),
  ].map((each) => adviceFor(reset, each));
  const plain = "check the receiver's log, and that the port in the URL accepts webhooks";
  expect(advice).toEqual([plain, plain]);
});
