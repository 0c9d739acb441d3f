/** Explains a TLS error of a connection to Redis by OpenSSL's code, with its remedy. Pure. */
import { X509Certificate } from 'node:crypto';
import { capitalize } from '../lib/capitalize.js';
import { printable } from '../lib/printable.js';
import type { LoginSection, RedisTls } from '../model/redis-login.js';
import type { SettingNames } from './setting-names.js';

export interface TlsFailure {
  readonly code: string;
  readonly error: Error;
  /** The server's name in messages: host:port. */
  readonly address: string;
  readonly host: string;
  readonly section: LoginSection;
  readonly names: SettingNames;
  readonly tls: RedisTls;
}

/** Kinds of errors with different remedies. */
type Kind =
  | 'name'
  | 'authority'
  | 'expired'
  | 'early'
  | 'client_missing'
  | 'client_rejected'
  | 'no_common'
  | 'plaintext'
  | 'other';

const KINDS: readonly (readonly [RegExp, Kind])[] = [
  [/^ERR_TLS_CERT_ALTNAME_INVALID$|UNRECOGNIZED_NAME/, 'name'],
  [/^CERT_HAS_EXPIRED$/, 'expired'],
  [/^CERT_NOT_YET_VALID$/, 'early'],
  [
    /^UNABLE_TO_(GET_ISSUER|VERIFY_LEAF)|SELF_SIGNED|^CERT_(UNTRUSTED|REJECTED)|^INVALID_CA$/,
    'authority',
  ],
  [
    /^CERT_(SIGNATURE_FAILURE|CHAIN_TOO_LONG)|^PATH_LENGTH_EXCEEDED$|^INVALID_PURPOSE$/,
    'authority',
  ],
  [/ALERT_CERTIFICATE_REQUIRED/, 'client_missing'],
  [
    /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED|DECRYPT)/,
    'client_rejected',
  ],
  // Before TLS 1.3 there was no separate alert for a missing certificate.
  [/ALERT_HANDSHAKE_FAILURE/, 'client_missing'],
  [
    /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_SHARED|NO_PROTOCOLS|INSUFFICIENT_SECURITY|TOO_SMALL/,
    'no_common',
  ],
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNEXPECTED_MESSAGE|BAD_RECORD_TYPE/,
    'plaintext',
  ],
  [/^(ERR_SSL|ERR_TLS|CERT_|CRL_|HOSTNAME_MISMATCH|ERROR_IN_|UNABLE_TO_)|^EPROTO$/, 'other'],
];

/** Null: the code is not about TLS. */
export function tlsProblem(failure: TlsFailure): string | null {
  const { code, address } = failure;
  const kind = KINDS.find(([pattern]) => pattern.test(code))?.[1];
  if (kind === undefined) return null;
  return `no TLS connection to Redis at ${address}: ${reasonOf(kind, failure)}`;
}

function reasonOf(kind: Kind, failure: TlsFailure): string {
  const { code, error, names } = failure;
  switch (kind) {
    case 'name':
      return nameReason(failure);
    case 'authority':
      return authorityReason(failure);
    case 'expired':
      return `its certificate has expired (${code}). Renew it, or correct the clock of this machine`;
    case 'early':
      return `its certificate is not valid yet (${code}). Correct the clock of this machine`;
    case 'client_missing':
      return clientReason(failure) + orNoCommon(code);
    case 'client_rejected':
      return clientReason(failure);
    case 'no_common':
      return (
        `client and server share no TLS version or cipher (${code}). Node supports TLS 1.2 and 1.3; check ` +
        'tls-protocols and tls-ciphers in its redis.conf'
      );
    case 'plaintext':
      return (
        `this port is without TLS (${code}). ${capitalize(names.turnTlsOff)}, or use the port of tls-port ` +
        'in its redis.conf'
      );
    case 'other':
      return `${code}: ${printable(error.message)}`;
  }
}

/** Before TLS 1.3, one alert means either. */
function orNoCommon(code: string): string {
  return code.includes('HANDSHAKE_FAILURE') ? '. Or client and server share no TLS cipher' : '';
}

function nameReason({ code, error, host, section, names, tls }: TlsFailure): string {
  const expected = tls.serverName ?? host;
  const from =
    tls.serverName === null ? `the host of ${names.server}` : `${section}.tls.server_name`;
  const { cert } = error as Error & {
    cert?: { subjectaltname?: string; subject?: { CN?: string } };
  };
  const valid = cert?.subjectaltname ?? (cert?.subject?.CN ? `CN ${cert.subject.CN}` : null);
  const shown = valid === null ? '' : `, only for ${printable(valid)}`;
  return (
    `its certificate is not valid for ${printable(expected)} (${from})${shown} (${code}). Connect by a ` +
    `name in the certificate, or set ${section}.tls.server_name to one`
  );
}

function authorityReason({ code, section, tls }: TlsFailure): string {
  if (tls.ca !== null) {
    return (
      `its certificate is not signed by a CA in ${section}.tls.ca_file (${code}). Add the certificate ` +
      "of the server's CA to that file"
    );
  }
  const ignored = tls.extraCaProblem === null ? '' : `. ${tls.extraCaProblem}`;
  return (
    `its certificate is not signed by a CA that Node trusts (${code}). Set ` +
    `${section}.tls.ca_file or NODE_EXTRA_CA_CERTS to the certificate of its CA${ignored}`
  );
}

/** The server requires a client certificate, or rejects the one that it received. */
function clientReason({ code, section, tls }: TlsFailure): string {
  const file = `${section}.tls.cert_file`;
  if (tls.client === null) {
    return (
      `it requires a client certificate (${code}). Set ${file} and ${section}.tls.key_file, or ` +
      'tls-auth-clients no in its redis.conf'
    );
  }
  const { issuer, validFrom, validTo } = new X509Certificate(tls.client.cert.reveal());
  const by = printable(issuer.replaceAll('\n', ', '));
  const rejected = `it rejects the certificate of ${file} (${code})`;
  if (code.includes('CERTIFICATE_EXPIRED')) {
    return (
      `${rejected}. The certificate is valid from ${validFrom} to ${validTo}. Renew it, or correct ` +
      "the server's clock"
    );
  }
  return (
    `${rejected}, which was issued by ${by} and is valid from ${validFrom} to ${validTo}. Add the ` +
    "certificate of that CA to the server's tls-ca-cert-file, and check the server's clock"
  );
}
