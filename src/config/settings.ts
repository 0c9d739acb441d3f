/** The file, understood → what the rest of the relay works with. Pure. */
import type { BodyFormat } from '../body-format.js';
import { compileTemplate } from '../body-template.js';
import { Secret } from '../secret.js';
import type {
  Endpoint,
  RedisAddress,
  RedisSettings,
  Route,
  Settings,
  StateSettings,
} from '../vocabulary.js';
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

/** The sections that say how to log in to a Redis. */
const LOGIN_SECTIONS = ['redis', 'state'] as const;
type LoginSection = (typeof LOGIN_SECTIONS)[number];

function passwordFilePath(section: LoginSection): Path {
  return [section, 'password_file'];
}

function secretFilePath(endpoint: string, index: number): Path {
  return ['endpoints', endpoint, 'secrets', index, 'file'];
}

/** All places that name a file with a secret; the value need not be right elsewhere. */
export function secretFilesOf(root: unknown): SecretFile[] {
  const places: { path: Path; file: unknown }[] = [];
  const file = asMapping(root);
  for (const section of LOGIN_SECTIONS) {
    const { password_file } = asMapping(file?.[section]) ?? {};
    places.push({ path: passwordFilePath(section), file: password_file });
  }
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
  const isPassword = LOGIN_SECTIONS.some(
    (name) => pathKey(path) === pathKey(passwordFilePath(name)),
  );
  return isPassword ? understood(new Secret(text)) : readSecret(text);
}

type Login = Pick<RedisAddress, 'username' | 'password'>;

/** What a section says by itself. Both are null when it says nothing. */
function loginOf(file: RelayFile, name: LoginSection, fromFiles: SecretsFromFiles): Login {
  const { username, password, url } = file[name];
  const fromFile = fromFiles.get(pathKey(passwordFilePath(name))) ?? null;
  return {
    // Empty counts as absent, so that `${REDIS_PASSWORD:-}` means: a password if there is one.
    username: username || (url?.username ?? null),
    password: password ? new Secret(password) : (fromFile ?? url?.password ?? null),
  };
}

function redisSettings(file: RelayFile, fromFiles: SecretsFromFiles): RedisSettings {
  const { url, databases, notifications } = file.redis;
  const { host, port, tls, database } = url;
  return {
    host,
    port,
    tls,
    ...loginOf(file, 'redis', fromFiles),
    databases: databases ?? [database ?? 0],
    notifications,
  };
}

/** Where the state is: another server never learns the password of `redis`. */
function stateRedis(file: RelayFile, redis: RedisSettings, fromFiles: SecretsFromFiles) {
  const { url } = file.state;
  const own = loginOf(file, 'state', fromFiles);
  const { host, port, tls } = url ?? redis;
  const section = url === undefined && own.password === null ? 'redis' : 'state';
  const { username, password } = section === 'redis' ? redis : own;
  const database = url === undefined ? (redis.databases[0] ?? 0) : (url.database ?? 0);
  return { redis: { host, port, tls, username, password }, database, section } as const;
}

function stateSettings(
  file: RelayFile,
  redis: RedisSettings,
  fromFiles: SecretsFromFiles,
): StateSettings {
  const { kind, prefix, dead_letters: deadLetters, unknown_endpoint_grace } = file.state;
  switch (kind) {
    case 'memory':
      return { kind, prefix };
    case 'redis':
      return {
        kind,
        ...stateRedis(file, redis, fromFiles),
        prefix,
        deadLetters: { keepMs: deadLetters.keep, countMax: deadLetters.max },
        unknownEndpointGraceMs: unknown_endpoint_grace,
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

function bodyFormat(
  { body, content_type: contentType, format }: RelayFile['routes'][number],
  statePrefix: string,
): BodyFormat {
  if (body !== undefined) {
    return { kind: 'template', contentType, pieces: compileTemplate(body, contentType) };
  }
  switch (format) {
    case 'standard':
      return { kind: 'standard' };
    case 'cloudevents':
      // The same for all replicas, and for no other relay of the same Redis.
      return { kind: 'cloudevents', source: `/expiry-relay/${statePrefix}` };
  }
}

/** `fromFiles` holds a secret for each of `secretFilesOf`. */
export function toSettings(file: RelayFile, fromFiles: SecretsFromFiles): Settings {
  const redis = redisSettings(file, fromFiles);
  return {
    redis,
    state: stateSettings(file, redis, fromFiles),
    endpoints: endpointsByName(file, fromFiles),
    routes: file.routes.map(
      (route): Route => ({
        name: route.name,
        patterns: route.match,
        to: route.to,
        type: route.type,
        path: route.path ?? '',
        method: route.method,
        format: bodyFormat(route, file.state.prefix),
        onAmbiguous: route.on_ambiguous,
        includesValue: route.include !== undefined,
        lookup: route.lookup ?? null,
        valueBytesMax: route.value_max,
      }),
    ),
    admin: file.admin,
    log: file.log,
    shutdown: { graceMs: file.shutdown.grace },
  };
}
