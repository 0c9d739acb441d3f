/** The parsed configuration → the relay's settings. Pure. */
import { type BodyFormat, NO_BODY } from '../model/body-format.js';
import type { RedisCredentials, RedisTls } from '../model/redis-login.js';
import { Secret } from '../model/secret.js';
import type { RedisSettings, Route, Settings, StateSettings } from '../model/vocabulary.js';
import { compileTemplate } from '../payload/body-template.js';
import { toEndpoint } from './endpoint-settings.js';
import { pathKey } from './path.js';
import type { RelayFile } from './schema.js';
import {
  filePaths,
  type LoginSection,
  type SecretsFromFiles,
  type TlsKey,
} from './secret-files.js';

/** The password in the section itself; null when there is none. */
function passwordOf(
  file: RelayFile,
  name: LoginSection,
  fromFiles: SecretsFromFiles,
): Secret | null {
  const { password, url } = file[name];
  const fromFile = fromFiles.get(pathKey(filePaths.password(name))) ?? null;
  return password === undefined ? (fromFile ?? url?.password ?? null) : new Secret(password);
}

/** The user in the section itself; null when there is none. */
function usernameOf(file: RelayFile, name: LoginSection): string | null {
  return file[name].username ?? file[name].url?.username ?? null;
}

/** TLS settings of a rediss:// URL, with the section's certificates. */
function tlsOf(
  file: RelayFile,
  name: LoginSection,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): RedisTls {
  const at = (key: TlsKey) => fromFiles.get(pathKey(filePaths.loginTls(name, key))) ?? null;
  const [cert, key] = [at('cert_file'), at('key_file')];
  const { tls } = file[name];
  return {
    ca: at('ca_file'),
    client: cert === null || key === null ? null : { cert, key },
    serverName: tls?.server_name ?? null,
    caFile: tls?.ca_file ?? null,
    certFile: tls?.cert_file ?? null,
    keyFile: tls?.key_file ?? null,
    extraCaProblem,
  };
}

/** `fromFiles` holds a secret for each file that `redis` names. */
export function redisCredentials(
  file: RelayFile,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): RedisCredentials {
  return {
    password: passwordOf(file, 'redis', fromFiles),
    tls: file.redis.url.tls ? tlsOf(file, 'redis', fromFiles, extraCaProblem) : null,
  };
}

/** Whether the state uses the login of `redis`: that password is never sent to another server. */
export function hasLoginOfRedis(file: RelayFile, fromFiles: SecretsFromFiles): boolean {
  return file.state.url === undefined && passwordOf(file, 'state', fromFiles) === null;
}

/** `fromFiles` holds a secret for each file that `redis` and `state` name. */
export function stateCredentials(
  file: RelayFile,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): RedisCredentials {
  const { url } = file.state;
  const login = hasLoginOfRedis(file, fromFiles) ? 'redis' : 'state';
  const certificates = url === undefined ? 'redis' : 'state';
  const isTls = (url ?? file.redis.url).tls;
  return {
    password: passwordOf(file, login, fromFiles),
    tls: isTls ? tlsOf(file, certificates, fromFiles, extraCaProblem) : null,
  };
}

function redisSettings(
  file: RelayFile,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): RedisSettings {
  const { url, databases, notifications } = file.redis;
  const { host, port, path, database } = url;
  return {
    host,
    port,
    path,
    username: usernameOf(file, 'redis'),
    ...redisCredentials(file, fromFiles, extraCaProblem),
    files: null,
    databases: databases ?? [database ?? 0],
    notifications,
  };
}

/** The Redis that holds the state. */
function stateRedis(
  file: RelayFile,
  redis: RedisSettings,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
) {
  const { url } = file.state;
  const { host, port, path } = url ?? redis;
  const section = hasLoginOfRedis(file, fromFiles) ? 'redis' : 'state';
  const username = usernameOf(file, section);
  const credentials = stateCredentials(file, fromFiles, extraCaProblem);
  const database = url === undefined ? (redis.databases[0] ?? 0) : (url.database ?? 0);
  return {
    redis: { host, port, path, username, ...credentials, files: null },
    database,
    section,
  } as const;
}

function stateSettings(
  file: RelayFile,
  redis: RedisSettings,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): StateSettings {
  const { kind, prefix, dead_letters: deadLetters, unknown_endpoint_grace } = file.state;
  switch (kind) {
    case 'memory':
      return { kind, prefix };
    case 'redis':
      return {
        kind,
        ...stateRedis(file, redis, fromFiles, extraCaProblem),
        prefix,
        deadLetters: { keepMs: deadLetters.keep, countMax: deadLetters.max },
        unknownEndpointGraceMs: unknown_endpoint_grace,
      };
  }
}

function bodyFormat(
  { body, content_type: contentType, format }: RelayFile['routes'][number],
  statePrefix: string,
): BodyFormat {
  if (body === NO_BODY) return { kind: 'none' };
  if (body !== undefined) {
    return { kind: 'template', contentType, pieces: compileTemplate(body, contentType) };
  }
  switch (format) {
    case 'standard':
      return { kind: 'standard' };
    case 'cloudevents':
      // Equal for all replicas, and different from other relays on the same Redis.
      return { kind: 'cloudevents', source: `/expiry-relay/${statePrefix}` };
  }
}

/**
 * `fromFiles` holds a secret for each of `secretFilesOf`. `extraCaProblem`: why Node ignores NODE_EXTRA_CA_CERTS;
 * null when it loaded the file.
 */
export function toSettings(
  file: RelayFile,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): Settings {
  const redis = redisSettings(file, fromFiles, extraCaProblem);
  return {
    redis,
    state: stateSettings(file, redis, fromFiles, extraCaProblem),
    endpoints: new Map(
      Object.entries(file.endpoints).map(([name, endpoint]) => [
        name,
        toEndpoint(name, endpoint, fromFiles),
      ]),
    ),
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
