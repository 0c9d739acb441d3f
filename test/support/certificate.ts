/** Certificates for servers in tests. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate, type SubjectAltNameEntry } from 'selfsigned';

export interface Certificate extends AsyncDisposable {
  readonly key: string;
  readonly cert: string;
  /** The files that hold them; removed when this is disposed. */
  readonly keyFile: string;
  readonly certFile: string;
}

const DAY_MS = 24 * 60 * 60 * 1_000;

/**
 * Self-signed, for one name: `IP:127.0.0.1` or `DNS:shop.example`; valid for a year that began
 * `daysAgo`.
 */
export async function selfSigned(
  subjectAltName: `${'IP' | 'DNS'}:${string}`,
  daysAgo = 0,
): Promise<Certificate> {
  const [type, name = ''] = subjectAltName.split(':', 2);
  const altName: SubjectAltNameEntry =
    type === 'IP' ? { type: 7, ip: name } : { type: 2, value: name };
  const { private: key, cert } = await generate(
    // A unique one: a client with several authorities finds the issuer by this name.
    [{ name: 'commonName', value: `expiry-relay-test ${name}` }],
    {
      keyType: 'ec',
      notBeforeDate: new Date(Date.now() - daysAgo * DAY_MS),
      extensions: [
        { name: 'basicConstraints', cA: true },
        { name: 'subjectAltName', altNames: [altName] },
      ],
    },
  );
  const dir = await mkdtemp(join(tmpdir(), 'expiry-relay-cert-'));
  const [keyFile, certFile] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  await writeFile(keyFile, key);
  await writeFile(certFile, cert);
  return {
    key,
    cert,
    keyFile,
    certFile,
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
