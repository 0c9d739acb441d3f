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
      'it refused us: it may want a certificate of the relay, signed by whom it trusts: ' +
      'tls.cert_file and tls.key_file of this endpoint',
  ],
  [/EXPIRED/, () => 'renew its certificate'],
  [/NOT_YET_VALID/, () => "see this machine's clock, and its certificate"],
  [/ALTNAME/, (host) => `give it a certificate for ${host}, or correct the URL`],
  [
    /SELF_SIGNED|ISSUER|VERIFY_LEAF|UNTRUSTED|CA/,
    () =>
      'if its authority is your own, name that in tls.ca_file of this endpoint, or in ' +
      'NODE_EXTRA_CA_CERTS, for the relay as well',
  ],
  [/WRONG_VERSION|PROTOCOL|EPROTO|PACKET/, () => 'does this port speak TLS? Else write http://'],
];

const ADVICE: Readonly<Record<UnreachableReason, (host: string) => string>> = {
  timeout: (host) =>
    `see whether ${host} is busy, and whether a firewall keeps this machine from it`,
  dns: (host) => `correct the name ${host}, or let this machine's DNS know it`,
  connection_refused: () => 'start it, or correct the port of its URL',
  connection_reset: () => 'see its own log, and whether the port of its URL is meant for webhooks',
  tls: () => 'see its certificate',
  protocol: () => 'see whether the port of its URL is meant for webhooks',
  proxy: (host) => `see the endpoint's proxy, and whether that may and can connect to ${host}`,
  forbidden_address: (host) =>
    `correct ${host}, or say allow_link_local: true at this endpoint if it is meant`,
  network: (host) => `see whether this machine has a way to ${host}`,
  stopped: () => 'look again',
};

/** Some servers close a connection without a client certificate and give no reason. */
const PERHAPS_CERTIFICATE =
  '; it may want a certificate of the relay (tls.cert_file and tls.key_file of this endpoint)';

/** A plain-text server keeps waiting for a request and never answers a TLS handshake. */
const PERHAPS_PLAIN = '. Does this port speak TLS? Else write http://';

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
    const how = isSecure ? ', its certificate verified' : '';
    const through = proxy === null ? '' : `through ${printable(proxyText(proxy))} at `;
    const address = through + printable(reach.address);
    return ok(subject, `${at} connected within ${length} (${address})${how}`);
  }
  if (reach.kind === 'prevented') {
    const text = `${at} was not connected to: ${reach.detail}`;
    return problem(subject, text, preventionAdvice(reach));
  }
  const { reason, detail } = reach;
  const wanted = isSecure ? 'TLS connection' : 'connection';
  const found = reason === 'timeout' ? `no ${wanted} within ${length}` : detail;
  return problem(subject, `${at} cannot be reached: ${found}`, adviceFor(reach, endpoint));
}
