/** The parsed configuration → the relay's settings. Pure. */
import { type BodyFormat, NO_BODY } from '../model/body-format.js';
import type {
  ClusterSettings,
  LoginSection,
  RedisCredentials,
  RedisTls,
  SentinelSettings,
} from '../model/redis-login.js';
import { Secret } from '../model/secret.js';
import type {
  PageSettings,
  RedisSettings,
  Route,
  Settings,
  StateSettings,
} from '../model/vocabulary.js';
import { compileTemplate } from '../payload/body-template.js';
import { basicAuthorization } from './addresses.js';
import { toEndpoint } from './endpoint-settings.js';
import { pathKey } from './path.js';
import type { RelayFile } from './schema.js';
import { filePaths, type SecretsFromFiles, type TlsKey } from './secret-files.js';

/** The keys of a login, and the URL beside it. */
type LoginInFile = Pick<RelayFile['redis'], 'username' | 'password' | 'tls'> & {
  readonly url?: RelayFile['redis']['url'] | undefined;
};

/** For a section that is absent. */
const NO_LOGIN: LoginInFile = {};

function loginOf(file: RelayFile, section: LoginSection): LoginInFile {
  switch (section) {
    case 'redis':
      return hasDefaultUrl(file) ? { ...file.redis, url: undefined } : file.redis;
    case 'state':
      return file.state;
    case 'redis.sentinel':
      return file.redis.sentinel ?? NO_LOGIN;
    case 'state.sentinel':
      return file.state.sentinel ?? NO_LOGIN;
  }
}

/** Whether sentinels or a cluster name the watched Redis. Its URL then has only the default. */
function hasDefaultUrl({ redis }: RelayFile): boolean {
  return redis.sentinel !== undefined || redis.cluster !== undefined;
}

/** Whether the section `state` names a server, which is then not the one of `redis`. */
export function namesStateServer({ state }: RelayFile): boolean {
  return state.url !== undefined || state.sentinel !== undefined || state.cluster !== undefined;
}

/** The password in the section itself; null when there is none. */
function passwordOf(
  file: RelayFile,
  name: LoginSection,
  fromFiles: SecretsFromFiles,
): Secret | null {
  const { password, url } = loginOf(file, name);
  const fromFile = fromFiles.get(pathKey(filePaths.password(name))) ?? null;
  return password === undefined ? (fromFile ?? url?.password ?? null) : new Secret(password);
}

/** The user in the section itself; null when there is none. */
function usernameOf(file: RelayFile, name: LoginSection): string | null {
  const { username, url } = loginOf(file, name);
  return username ?? url?.username ?? null;
}

/** Without a URL, the section `tls` turns TLS on. */
function isTls(file: RelayFile, name: LoginSection): boolean {
  const { url, tls } = loginOf(file, name);
  return url === undefined ? tls !== undefined : url.tls;
}

/** TLS settings, with the section's certificates. */
function tlsOf(
  file: RelayFile,
  name: LoginSection,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): RedisTls {
  const at = (key: TlsKey) => fromFiles.get(pathKey(filePaths.loginTls(name, key))) ?? null;
  const [cert, key] = [at('cert_file'), at('key_file')];
  const { tls } = loginOf(file, name);
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

/** `fromFiles` holds a secret for each file that the section names. */
export function credentialsOfSection(
  file: RelayFile,
  section: LoginSection,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): RedisCredentials {
  return {
    password: passwordOf(file, section, fromFiles),
    tls: isTls(file, section) ? tlsOf(file, section, fromFiles, extraCaProblem) : null,
  };
}

/** Whether the state uses the login of `redis`: that password is never sent to another server. */
export function hasLoginOfRedis(file: RelayFile, fromFiles: SecretsFromFiles): boolean {
  return !namesStateServer(file) && passwordOf(file, 'state', fromFiles) === null;
}

/** `fromFiles` holds a secret for each file that `redis` and `state` name. */
export function stateCredentials(
  file: RelayFile,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): RedisCredentials {
  const login = hasLoginOfRedis(file, fromFiles) ? 'redis' : 'state';
  const server = namesStateServer(file) ? 'state' : 'redis';
  return {
    password: passwordOf(file, login, fromFiles),
    tls: isTls(file, server) ? tlsOf(file, server, fromFiles, extraCaProblem) : null,
  };
}

/** Null: the section names no sentinels. */
function sentinelSettings(
  file: RelayFile,
  section: 'redis' | 'state',
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): SentinelSettings | null {
  const { sentinel } = file[section];
  if (sentinel === undefined) return null;
  const login = `${section}.sentinel` as const;
  return {
    master: sentinel.master,
    nodes: sentinel.nodes,
    username: usernameOf(file, login),
    ...credentialsOfSection(file, login, fromFiles, extraCaProblem),
    files: null,
  };
}

/** Null: the section names no cluster. */
function clusterSettings(file: RelayFile, section: 'redis' | 'state'): ClusterSettings | null {
  const { cluster } = file[section];
  if (cluster === undefined) return null;
  const addressMap = new Map(Object.entries(cluster.address_map ?? {}));
  return { nodes: cluster.nodes, addressMap };
}

/** The address before the sentinels or the cluster have named it. */
const NOT_NAMED_YET = { host: '', port: 0, path: null, database: null } as const;

function redisSettings(
  file: RelayFile,
  fromFiles: SecretsFromFiles,
  extraCaProblem: string | null,
): RedisSettings {
  const { url, databases, notifications } = file.redis;
  const { host, port, path, database } = hasDefaultUrl(file) ? NOT_NAMED_YET : url;
  return {
    host,
    port,
    path,
    sentinel: sentinelSettings(file, 'redis', fromFiles, extraCaProblem),
    cluster: clusterSettings(file, 'redis'),
    username: usernameOf(file, 'redis'),
    ...credentialsOfSection(file, 'redis', fromFiles, extraCaProblem),
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
  const isElsewhere = namesStateServer(file);
  const own = file.state.url ?? NOT_NAMED_YET;
  const { host, port, path } = isElsewhere ? own : redis;
  const sentinel = isElsewhere
    ? sentinelSettings(file, 'state', fromFiles, extraCaProblem)
    : redis.sentinel;
  const cluster = isElsewhere ? clusterSettings(file, 'state') : redis.cluster;
  const section = hasLoginOfRedis(file, fromFiles) ? 'redis' : 'state';
  const username = usernameOf(file, section);
  const credentials = stateCredentials(file, fromFiles, extraCaProblem);
  const database = (isElsewhere ? own.database : redis.databases[0]) ?? 0;
  return {
    redis: { host, port, path, sentinel, cluster, username, ...credentials, files: null },
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

function pageSettings({ admin }: RelayFile, fromFiles: SecretsFromFiles): PageSettings {
  const { enabled, read_only: readOnly, username, allowed_hosts: allowedHosts } = admin.page;
  const password = fromFiles.get(pathKey(filePaths.page));
  const hasLogin = username !== undefined && password !== undefined;
  return {
    enabled,
    readOnly,
    authorization: hasLogin ? basicAuthorization(username, password) : null,
    allowedHosts: allowedHosts.map((host) => host.toLowerCase()),
  };
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
        maxAgeMs: route.max_age ?? null,
        onAmbiguous: route.on_ambiguous,
        includesValue: route.include !== undefined,
        lookup: route.lookup ?? null,
        valueBytesMax: route.value_max,
      }),
    ),
    admin: { listen: file.admin.listen, page: pageSettings(file, fromFiles) },
    log: file.log,
    shutdown: { graceMs: file.shutdown.grace },
  };
}
