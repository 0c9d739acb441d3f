/** Certificates and private keys in PEM. Pure; never quotes their content. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { Secret } from '../model/secret.js';
import { accept, type Reading, reject } from './wording.js';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

/** Parses one or more certificates. */
export function readCertificates(text: string): Reading<Secret> {
  const fail = (found: string) => reject('a file of certificates in PEM', { found });
  const certificates = text.match(CERTIFICATE) ?? [];
  if (certificates.length === 0) return fail('one without -----BEGIN CERTIFICATE-----');
  const broken = certificates.findIndex((pem) => !isCertificate(pem));
  if (broken === -1) return accept(new Secret(text));
  return fail(`one whose certificate number ${broken + 1} cannot be read`);
}

export function readPemKey(text: string): Reading<Secret> {
  const fail = (found: string, hint: string | null = null) =>
    reject('a file with a private key in PEM', { found, hint });
  try {
    createPrivateKey(text);
    return accept(new Secret(text));
  } catch {
    if (!/^-----BEGIN .*PRIVATE KEY-----/m.test(text)) {
      return fail('one without -----BEGIN PRIVATE KEY-----');
    }
    if (/ENCRYPTED/.test(text)) {
      return fail('one with a passphrase', 'take it away with: openssl pkey -in FILE -out FILE');
    }
    return fail('one that cannot be read');
  }
}

/** Whether the key belongs to the first certificate. Both must have been parsed. */
export function isKeyOf(key: Secret, certificates: Secret): boolean {
  const certificate = new X509Certificate(certificates.reveal());
  return certificate.checkPrivateKey(createPrivateKey(key.reveal()));
}

interface Pems {
  readonly ca: Secret | undefined;
  readonly cert: Secret | undefined;
  readonly key: Secret | undefined;
}

/** The code of OpenSSL's error for readable but unacceptable PEM, such as a short key; else null. */
export function refusalOf({ ca, cert, key }: Pems): string | null {
  try {
    createSecureContext({ ca: ca?.reveal(), cert: cert?.reveal(), key: key?.reveal() });
    return null;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code ?? 'unknown';
  }
}
