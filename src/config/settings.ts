/** The file, understood → what the rest of the relay works with. Pure. */
import { Secret } from '../secret.js';
import type { Endpoint, RedisSettings, Route, Settings, StateSettings } from '../vocabulary.js';
import { asList, asMapping, type Path, pathKey } from './path.js';
import type { RelayFile } from './schema.js';
import { FILE_PATH_PATTERN, readSecret } from './texts.js';
import { mismatch, type Reading, understood } from './wording.js';

/** A place of the file that names a file with a secret in it. */
export interface SecretFile {
  readonly path: Path;
  /** As written. */
  readonly file: string;
}

/** The secrets that were read from files, by the `pathKey` of where the file names them. */
export type SecretsFromFiles = ReadonlyMap<string, Secret>;

const PASSWORD_FILE_PATH: Path = ['redis', 'password_file'];

function secretFilePath(endpoint: string, index: number): Path {
  return ['endpoints', endpoint, 'secrets', index, 'file'];
}

/** All places that name a file with a secret; the value need not be right elsewhere. */
export function secretFilesOf(root: unknown): SecretFile[] {
  const places: { path: Path; file: unknown }[] = [];
  const file = asMapping(root);
  places.push({ path: PASSWORD_FILE_PATH, file: asMapping(file?.redis)?.password_file });
  for (const [name, endpoint] of Object.entries(asMapping(file?.endpoints) ?? {})) {
    for (const [index, secret] of asList(asMapping(endpoint)?.secrets).entries()) {
      places.push({ path: secretFilePath(name, index), file: asMapping(secret)?.file });
    }
  }
  return places.filter(
    (place): place is SecretFile =>
      typeof place.file === 'string' && FILE_PATH_PATTERN.test(place.file),
  );
}

/** What a file with a secret holds. The newline that editors and `echo` add is not part of it. */
export function readSecretFile({ path }: SecretFile, content: string): Reading<Secret> {
  const text = content.replace(/\r?\n$/, '');
  if (text === '') {
    return { ok: false, wording: mismatch('a file with a secret in it', { found: 'it empty' }) };
  }
  return pathKey(path) === pathKey(PASSWORD_FILE_PATH)
    ? understood(new Secret(text))
    : readSecret(text);
}

function redisSettings({ redis }: RelayFile, fromFiles: SecretsFromFiles): RedisSettings {
  const { host, port, tls, username, password, database } = redis.url;
  const fromFile = fromFiles.get(pathKey(PASSWORD_FILE_PATH)) ?? null;
  return {
    host,
    port,
    tls,
    // Empty counts as absent, so that `${REDIS_PASSWORD:-}` means: a password if there is one.
    username: redis.username || username,
    password: redis.password ? new Secret(redis.password) : (fromFile ?? password),
    databases: redis.databases ?? [database ?? 0],
    notifications: redis.notifications,
  };
}

function stateSettings({ state }: RelayFile, redis: RedisSettings): StateSettings {
  const { kind, prefix, url } = state;
  switch (kind) {
    case 'memory':
      return { kind, prefix };
    case 'redis':
      return {
        kind,
        prefix,
        redis: url ?? redis,
        database: url?.database ?? redis.databases[0] ?? 0,
        deadLetters: { keepMs: 30 * 86_400_000, countMax: 10_000 },
        unknownEndpointGraceMs: 3_600_000,
      };
  }
}

function endpointSecrets(
  name: string,
  secrets: RelayFile['endpoints'][string]['secrets'],
  fromFiles: SecretsFromFiles,
): Secret[] {
  if (secrets === 'none') return [];
  return secrets.map((secret, index) => {
    if (secret instanceof Secret) return secret;
    const fromFile = fromFiles.get(pathKey(secretFilePath(name, index)));
    if (fromFile === undefined) throw new Error(`the secret file of endpoint ${name} was not read`);
    return fromFile;
  });
}

function endpointsByName(file: RelayFile, fromFiles: SecretsFromFiles): Map<string, Endpoint> {
  const endpoints = Object.entries(file.endpoints).map(([name, endpoint]): Endpoint => {
    return {
      name,
      url: endpoint.url,
      secrets: endpointSecrets(name, endpoint.secrets, fromFiles),
      headers: endpoint.headers,
      timeoutMs: endpoint.timeout,
      concurrency: endpoint.concurrency,
      rateLimit: endpoint.rate_limit ?? null,
      retry: { scheduleMs: endpoint.retry.schedule, jitter: endpoint.retry.jitter },
    };
  });
  return new Map(endpoints.map((endpoint) => [endpoint.name, endpoint]));
}

/** `fromFiles` holds a secret for each of `secretFilesOf`. */
export function toSettings(file: RelayFile, fromFiles: SecretsFromFiles): Settings {
  const redis = redisSettings(file, fromFiles);
  return {
    redis,
    state: stateSettings(file, redis),
    endpoints: endpointsByName(file, fromFiles),
    routes: file.routes.map(
      (route): Route => ({
        name: route.name,
        patterns: route.match,
        to: route.to,
        type: route.type,
        path: route.path ?? '',
        onAmbiguous: route.on_ambiguous,
      }),
    ),
    admin: file.admin,
    log: file.log,
    shutdown: { graceMs: file.shutdown.grace },
  };
}
