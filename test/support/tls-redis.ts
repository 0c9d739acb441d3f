/** A real Redis with TLS that requires a client certificate, the default of Redis. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import type { Certificate } from './certificate.js';
import { tempFolder } from './cli.js';

export interface TlsRedis extends AsyncDisposable {
  /** The same server without TLS. */
  readonly plain: RunningRedis;
  readonly port: number;
}

export interface TlsRedisOptions {
  /** The clients whose certificates are accepted; null: none is required. */
  readonly clients: readonly Certificate[] | null;
  readonly args?: readonly string[];
}

export async function startTlsRedis(
  certificate: Certificate,
  { clients, args = [] }: TlsRedisOptions,
): Promise<TlsRedis> {
  const folder = await tempFolder({});
  const authorities = join(folder.path, 'clients.pem');
  await writeFile(
    authorities,
    [certificate, ...(clients ?? [])].map(({ cert }) => cert).join('\n'),
  );
  const port = await freePort();
  const files = ['--tls-cert-file', certificate.certFile, '--tls-key-file', certificate.keyFile];
  const wanted = ['--tls-ca-cert-file', authorities, '--tls-auth-clients', clients ? 'yes' : 'no'];
  const plain = await startRedis({
    args: ['--tls-port', String(port), ...files, ...wanted, ...args],
  });
  return {
    plain,
    port,
    [Symbol.asyncDispose]: async () => {
      await plain.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}
