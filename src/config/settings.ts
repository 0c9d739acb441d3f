/** The file, understood → what the rest of the relay works with. Pure. */
import type { BodyFormat } from '../body-format.js';
import { compileTemplate } from '../body-template.js';
import { Secret } from '../secret.js';
import type { RedisAddress, RedisSettings, Route, Settings, StateSettings } from '../vocabulary.js';
import { toEndpoint } from './endpoint-settings.js';
import { pathKey } from './path.js';
import type { RelayFile } from './schema.js';
import { filePaths, type LoginSection, type SecretsFromFiles } from './secret-files.js';

type Login = Pick<RedisAddress, 'username' | 'password'>;

/** What a section says by itself. Both are null when it says nothing. */
function loginOf(file: RelayFile, name: LoginSection, fromFiles: SecretsFromFiles): Login {
  const { username, password, url } = file[name];
  const fromFile = fromFiles.get(pathKey(filePaths.password(name))) ?? null;
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
