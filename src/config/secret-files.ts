/** The secret files that a configuration names, and their allowed content. Pure. */
import { defectOf } from '../lib/text-defect.js';
import { LOGIN_SECTIONS, type LoginSection } from '../model/redis-login.js';
import { Secret } from '../model/secret.js';
import { isKeyOf, readCertificates, readPemKey, refusalOf } from './certificates.js';
import { type EndpointInFile, endpointFields } from './endpoint-schema.js';
import type { Complaint } from './mistakes.js';
import { asList, asMapping, type Path, pathKey, valueAt } from './path.js';
import { parseIfValid } from './sections.js';
import {
  EMPTY_SECRET,
  FILE_PATH_PATTERN,
  NO_SECRET,
  readBasicPassword,
  readHeaderValue,
  readListedSecret,
} from './strings.js';
import { accept, mismatch, type Reading, type Wording, withHint } from './wording.js';

/** The content of a secret file. */
type Content =
  | 'redis_password'
  | 'signing_secret'
  | 'header_value'
  | 'basic_password'
  | 'certificates'
  | 'private_key';

/** A place in the configuration that names a secret file. */
export interface SecretFile {
  readonly path: Path;
  /** One of `filePaths`, as a key of `SecretsFromFiles`. */
  readonly key: string;
  /** As written in the configuration. */
  readonly file: string;
  readonly content: Content;
}

/** The secrets read from files, by the `pathKey` of one of `filePaths`. */
export type SecretsFromFiles = ReadonlyMap<string, Secret>;

export type TlsKey = 'ca_file' | 'cert_file' | 'key_file';

const TLS_CONTENTS: Readonly<Record<TlsKey, Content>> = {
  ca_file: 'certificates',
  cert_file: 'certificates',
  key_file: 'private_key',
};

/** The path of a section. */
const pathOf = (section: LoginSection): Path => section.split('.');

/** The paths where the configuration may name a secret file; header names in lower case. */
export const filePaths = {
  password: (section: LoginSection): Path => [...pathOf(section), 'password_file'],
  loginTls: (section: LoginSection, key: TlsKey): Path => [...pathOf(section), 'tls', key],
  secret: (name: string, index: number): Path => ['endpoints', name, 'secrets', index, 'file'],
  header: (name: string, header: string): Path => ['endpoints', name, 'headers', header, 'file'],
  basic: (name: string): Path => ['endpoints', name, 'basic', 'password_file'],
  tls: (name: string, key: TlsKey): Path => ['endpoints', name, 'tls', key],
  page: ['admin', 'page', 'password_file'],
} as const;

/** The secret file named at `path`, if any. */
function secretFile(
  content: Content,
  path: Path,
  file: unknown,
  key = pathKey(path),
): SecretFile[] {
  if (typeof file !== 'string' || !FILE_PATH_PATTERN.test(file)) return [];
  return [{ path, key, file, content }];
}

/** The secret files of a section `tls`; `pathOf` gives the path of each key. */
function tlsFiles(pathOf: (key: TlsKey) => Path, value: unknown): SecretFile[] {
  const tls = asMapping(value) ?? {};
  return (Object.keys(TLS_CONTENTS) as TlsKey[]).flatMap((key) =>
    secretFile(TLS_CONTENTS[key], pathOf(key), tls[key]),
  );
}

/** The secret files of one login; `root`, the whole configuration, may be invalid elsewhere. */
export function secretFilesOfLogin(section: LoginSection, root: unknown): SecretFile[] {
  const { password_file, tls } = asMapping(valueAt(root, pathOf(section))) ?? {};
  return [
    ...secretFile('redis_password', filePaths.password(section), password_file),
    ...tlsFiles((key) => filePaths.loginTls(section, key), tls),
  ];
}

/** The secret files of one endpoint; `value` may be invalid elsewhere. */
export function secretFilesOfEndpoint(name: string, value: unknown): SecretFile[] {
  const endpoint = asMapping(value) ?? {};
  const fileIn = (holder: unknown) => asMapping(holder)?.file;
  const secrets = asList(endpoint.secrets).flatMap((secret, index) =>
    secretFile('signing_secret', filePaths.secret(name, index), fileIn(secret)),
  );
  const headers = Object.entries(asMapping(endpoint.headers) ?? {}).flatMap(([header, value]) => {
    const key = pathKey(filePaths.header(name, header.toLowerCase()));
    return secretFile('header_value', filePaths.header(name, header), fileIn(value), key);
  });
  const password = asMapping(endpoint.basic)?.password_file;
  return [
    ...secrets,
    ...headers,
    ...secretFile('basic_password', filePaths.basic(name), password),
    ...tlsFiles((key) => filePaths.tls(name, key), endpoint.tls),
  ];
}

/** All secret files; the value may be invalid elsewhere. */
export function secretFilesOf(root: unknown): SecretFile[] {
  const file = asMapping(root);
  const logins = LOGIN_SECTIONS.flatMap((section) => secretFilesOfLogin(section, root));
  const ofEndpoints = Object.entries(asMapping(file?.endpoints) ?? {}).flatMap(([name, endpoint]) =>
    secretFilesOfEndpoint(name, endpoint),
  );
  const ofPage = secretFile('basic_password', filePaths.page, valueAt(root, filePaths.page));
  return [...logins, ...ofEndpoints, ...ofPage];
}

const READERS: Readonly<Record<Content, (text: string) => Reading<Secret>>> = {
  redis_password: (text) => accept(new Secret(text)),
  signing_secret: readListedSecret,
  header_value: readHeaderValue,
  basic_password: readBasicPassword,
  certificates: readCertificates,
  private_key: readPemKey,
};

/** PEM content keeps its line breaks. */
const IS_PEM: Readonly<Record<Content, boolean>> = {
  redis_password: false,
  signing_secret: false,
  header_value: false,
  basic_password: false,
  certificates: true,
  private_key: true,
};

const EMPTY_FILE = mismatch('a file with a secret in it', { found: 'an empty file' });

/** Parses a secret file, without the newline that editors and `echo` append. */
export function readSecretFile({ content }: SecretFile, held: string): Reading<Secret> {
  const text = held.replace(/\r?\n$/, '');
  if (text === '' && content !== 'signing_secret') return { ok: false, wording: EMPTY_FILE };
  const reading = READERS[content](text);
  const defect = reading.ok || IS_PEM[content] ? null : defectOf(text);
  return reading.ok || defect === null
    ? reading
    : { ok: false, wording: withHint(reading.wording, `its content ${defect}`) };
}

/** An empty secret is ignored beside others; unreadable secrets are skipped. */
export function checkSecrets(
  name: string,
  secrets: EndpointInFile['secrets'],
  fromFiles: SecretsFromFiles,
): Complaint[] {
  if (secrets === 'none') return [];
  const held = secrets.map((secret, index) =>
    secret instanceof Secret ? secret : fromFiles.get(pathKey(filePaths.secret(name, index))),
  );
  if (!held.every((secret) => secret?.equals(NO_SECRET))) return [];
  return secrets.map((secret, index) =>
    secret instanceof Secret
      ? { path: ['endpoints', name, 'secrets', index], about: 'value', wording: EMPTY_SECRET }
      : { path: filePaths.secret(name, index), about: 'content', wording: EMPTY_FILE },
  );
}

/** Runs `checkSecrets` for every endpoint; the value may be invalid elsewhere. */
export function checkAllSecrets(root: unknown, fromFiles: SecretsFromFiles): Complaint[] {
  return Object.entries(asMapping(asMapping(root)?.endpoints) ?? {}).flatMap(([name, endpoint]) => {
    const secrets = parseIfValid(endpointFields.secrets, asMapping(endpoint)?.secrets);
    return secrets === undefined ? [] : checkSecrets(name, secrets, fromFiles);
  });
}

/**
 * Checks the certificates of one section `tls` against each other; `pathOf` gives the path of each key. Unreadable
 * certificates are skipped.
 */
export function checkCertificates(
  pathOf: (key: TlsKey) => Path,
  fromFiles: SecretsFromFiles,
): Complaint[] {
  const complain = (key: TlsKey, wording: Wording): Complaint[] => [
    { path: pathOf(key), about: 'value', wording },
  ];
  const at = (key: TlsKey) => fromFiles.get(pathKey(pathOf(key)));
  const [ca, cert, key] = [at('ca_file'), at('cert_file'), at('key_file')];
  if (cert !== undefined && key !== undefined && !isKeyOf(key, cert)) {
    const expected = "the key of cert_file's first certificate";
    return complain('key_file', mismatch(expected, { found: 'another key' }));
  }
  const refusal = refusalOf({ ca, cert, key });
  if (refusal === null) return [];
  const wording = mismatch('a certificate that OpenSSL accepts', {
    found: `one that it rejects (${refusal})`,
  });
  return complain(cert === undefined ? 'ca_file' : 'cert_file', wording);
}
