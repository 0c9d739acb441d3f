/** Certificates for HTTPS servers in tests, made by the machine's openssl. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Certificate extends AsyncDisposable {
  readonly key: string;
  readonly cert: string;
  /** The file that holds `cert`; removed when this is disposed. */
  readonly certFile: string;
}

/** Self-signed, for one name: `IP:127.0.0.1` or `DNS:shop.example`. */
export async function selfSigned(subjectAltName: string): Promise<Certificate> {
  const dir = await mkdtemp(join(tmpdir(), 'expiry-relay-cert-'));
  const [keyFile, certFile] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const words = ['req', '-x509', '-nodes', '-days', '2', '-subj', '/CN=expiry-relay-test']
    .concat(['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'])
    .concat(['-addext', `subjectAltName=${subjectAltName}`, '-keyout', keyFile, '-out', certFile]);
  await promisify(execFile)('openssl', words).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new Error('expected openssl on the PATH to make a certificate, found none; install it');
  });
  return {
    key: await readFile(keyFile, 'utf8'),
    cert: await readFile(certFile, 'utf8'),
    certFile,
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
