/** The result of connecting to an endpoint → advice. Pure. */

import { proxyText } from '../delivery/proxy-connect.js';
import { preventionAdvice } from '../lib/exhaustion.js';
import { printable } from '../lib/printable.js';
import type { Endpoint } from '../model/endpoint.js';
import type { Prevented, UnreachableReason } from '../model/vocabulary.js';
import { type Finding, ok, problem } from '../server/finding.js';
import { lengthText } from '../server/wording.js';

export type Reach =
  /** Includes the TLS handshake when the endpoint's URL is https. */
  | { readonly kind: 'connected'; readonly address: string }
  | Prevented
  | {
      readonly kind: 'failed';
      readonly reason: UnreachableReason;
      /** The error code from Node or OpenSSL; empty when there is none. */
      readonly code: string;
      /** The network error, safe to print. */
      readonly detail: string;
    };

/** Advice for TLS errors, by code. */
const CERTIFICATE: readonly (readonly [RegExp, (host: string) => string])[] = [
  [
    /ALERT.*(?:CERTIFICATE|UNKNOWN_CA|HANDSHAKE)/,
    () =>
      'the endpoint may require a client certificate: set tls.cert_file and tls.key_file of this ' +
      'endpoint',
  ],
  [/EXPIRED/, () => 'renew the certificate of the endpoint'],
  [/NOT_YET_VALID/, () => "check this machine's clock, and the certificate of the endpoint"],
  [/ALTNAME/, (host) => `install a certificate for ${host}, or correct the URL`],
  [
    /SELF_SIGNED|ISSUER|VERIFY_LEAF|UNTRUSTED|CA/,
    () =>
      'if the certificate is signed by your own authority, set tls.ca_file of this endpoint, or ' +
      'NODE_EXTRA_CA_CERTS of the relay',
  ],
  [
    /WRONG_VERSION|PROTOCOL|EPROTO|PACKET/,
    () => 'check that the port uses TLS; if it does not, use http://',
  ],
];

const ADVICE: Readonly<Record<UnreachableReason, (host: string) => string>> = {
  timeout: (host) =>
    `check that ${host} is not overloaded, and that no firewall blocks the connection`,
  dns: (host) => `correct the host name ${host}, or add it to DNS`,
  connection_refused: () => 'start the receiver, or correct the port in the URL',
  connection_reset: () => "check the receiver's log, and that the port in the URL accepts webhooks",
  tls: () => 'check the certificate of the endpoint',
  protocol: () => 'check that the port in the URL accepts HTTP',
  proxy: (host) => `check the endpoint's proxy, and that it can connect to ${host}`,
  forbidden_address: (host) =>
    `correct ${host}, or set allow_link_local: true for this endpoint if the address is intended`,
  network: (host) => `check that this machine has a route to ${host}`,
  stopped: () => 'run the command again',
  internal_error: () => 'report this bug with the message',
};

/** Some servers close a connection without a client certificate and give no reason. */
const PERHAPS_CERTIFICATE =
  '; the endpoint may require a client certificate (tls.cert_file and tls.key_file)';

/** A plain-text server keeps waiting for a request and never answers a TLS handshake. */
const PERHAPS_PLAIN = '. Check that the port uses TLS; if it does not, use http://';

/** Advice for an unreachable endpoint. */
export function adviceFor(
  { reason, code }: { readonly reason: UnreachableReason; readonly code: string },
  { url, tls }: Endpoint,
): string {
  const host = printable(url.hostname);
  const isSecure = url.protocol === 'https:';
  const certificate = isSecure ? CERTIFICATE.find(([pattern]) => pattern.test(code)) : undefined;
  if (certificate !== undefined) return certificate[1](host);
  const mayLack = isSecure && reason === 'connection_reset' && (tls?.client ?? null) === null;
  const mayBePlain = isSecure && reason === 'timeout';
  return (
    ADVICE[reason](host) + (mayLack ? PERHAPS_CERTIFICATE : '') + (mayBePlain ? PERHAPS_PLAIN : '')
  );
}

/** `tookMs`: time until the connection was established or failed. */
export function judgeEndpoint(endpoint: Endpoint, reach: Reach, tookMs: number): Finding {
  const { name, url, proxy } = endpoint;
  const subject = `endpoint ${name}`;
  const at = printable(url.origin);
  const length = lengthText(tookMs);
  const isSecure = url.protocol === 'https:';
  if (reach.kind === 'connected') {
    const how = isSecure ? ', certificate verified' : '';
    const through = proxy === null ? '' : `through ${printable(proxyText(proxy))} at `;
    const address = through + printable(reach.address);
    return ok(subject, `${at} connected within ${length} (${address})${how}`);
  }
  if (reach.kind === 'prevented') {
    const text = `cannot connect to ${at}: ${reach.detail}`;
    return problem(subject, text, preventionAdvice(reach));
  }
  const { reason, detail } = reach;
  const wanted = isSecure ? 'TLS connection' : 'connection';
  const found = reason === 'timeout' ? `no ${wanted} within ${length}` : detail;
  return problem(subject, `${at} cannot be reached: ${found}`, adviceFor(reach, endpoint));
}
