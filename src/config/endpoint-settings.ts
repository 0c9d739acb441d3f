/** A parsed endpoint of the configuration → the settings for delivery. Pure. */

import type { Endpoint, TlsSettings } from '../model/endpoint.js';
import { Secret } from '../model/secret.js';
import { basicAuthorization } from './addresses.js';
import type { EndpointInFile } from './endpoint-schema.js';
import { type Path, pathKey } from './path.js';
import { filePaths, type SecretsFromFiles } from './secret-files.js';
import { NO_SECRET } from './strings.js';

/** Returns the content of the file that is named at `path`. */
type FromFile = (path: Path) => Secret;

function secretsOf(name: string, { secrets }: EndpointInFile, fromFile: FromFile): Secret[] {
  if (secrets === 'none') return [];
  return secrets
    .map((secret, index) =>
      secret instanceof Secret ? secret : fromFile(filePaths.secret(name, index)),
    )
    .filter((secret) => !secret.equals(NO_SECRET));
}

/** Header names are in lower case; `basic` is included. */
function headersOf(
  name: string,
  { headers, basic }: EndpointInFile,
  fromFile: FromFile,
): Record<string, Secret> {
  const own = Object.entries(headers).map(([header, held]) => {
    const value = held instanceof Secret ? held : fromFile(filePaths.header(name, header));
    return [header, value] as const;
  });
  const all = Object.fromEntries(own);
  if (basic === undefined) return all;
  const password = basic.password ?? fromFile(filePaths.basic(name));
  return { ...all, authorization: basicAuthorization(basic.username, password) };
}

function tlsOf(name: string, { tls }: EndpointInFile, fromFile: FromFile): TlsSettings | null {
  if (tls === undefined) return null;
  const ca = tls.ca_file === undefined ? null : fromFile(filePaths.tls(name, 'ca_file'));
  if (tls.cert_file === undefined) return { ca, client: null };
  const cert = fromFile(filePaths.tls(name, 'cert_file'));
  const key = fromFile(filePaths.tls(name, 'key_file'));
  return { ca, client: { cert, key } };
}

/** `fromFiles` holds a secret for each of `secretFilesOfEndpoint`. */
export function toEndpoint(
  name: string,
  inFile: EndpointInFile,
  fromFiles: SecretsFromFiles,
): Endpoint {
  const fromFile = (path: Path): Secret => {
    const secret = fromFiles.get(pathKey(path));
    if (secret === undefined) throw new Error(`a file of endpoint ${name} was not read`);
    return secret;
  };
  return {
    name,
    url: inFile.url,
    secrets: secretsOf(name, inFile, fromFile),
    headers: headersOf(name, inFile, fromFile),
    accept: new Set(inFile.accept),
    timeoutMs: inFile.timeout,
    concurrency: inFile.concurrency,
    rateLimit: inFile.rate_limit ?? null,
    retry: { scheduleMs: inFile.retry.schedule, jitter: inFile.retry.jitter },
    tls: tlsOf(name, inFile, fromFile),
    proxy: inFile.proxy ?? null,
    allowLinkLocal: inFile.allow_link_local,
  };
}
