/** Parses the configuration's URLs and addresses. Pure; never quotes the value found. */
import { isIPv6 } from 'node:net';
import { defectOf } from '../lib/text-defect.js';
import type { ProxySettings } from '../model/endpoint.js';
import type { HostPort } from '../model/redis-login.js';
import { Secret } from '../model/secret.js';
import type { ListenAddress } from '../model/vocabulary.js';
import {
  adviceOnHttp,
  adviceOnRedis,
  CUT_SHORT,
  PORT_MAX,
  type UrlRules,
  urlProblem,
} from './url-problem.js';
import { accept, type Reading, reject } from './wording.js';

const REDIS_PORT = 6379;
const SENTINEL_PORT = 26379;
/** The maximum of `SELECT`: a signed 32-bit number. */
export const DATABASE_MAX = 2 ** 31 - 1;

/** The parts of a Redis URL. */
export interface RedisUrl {
  /** Empty for a Unix socket. */
  readonly host: string;
  readonly port: number;
  /** The path of a Unix socket; null for TCP. */
  readonly path: string | null;
  readonly tls: boolean;
  readonly username: string | null;
  readonly password: Secret | null;
  /** Null when the URL names none. */
  readonly database: number | null;
}

/** The longest Unix socket address on Linux, without the terminating zero byte. */
const SOCKET_PATH_BYTES_MAX = 107;

/** `unix://USER:PASSWORD@/PATH?db=N`; WHATWG URLs cannot have a user without a host. */
const UNIX_URL = /^unix:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\/[^?#]*)(?:\?db=(\d{1,10}))?$/i;

export const SENTINEL_NODE_EXPECTED = 'the address of a Sentinel such as 10.0.0.1:26379';
const REDIS_URL_EXPECTED = 'a Redis URL such as redis://127.0.0.1:6379';
const ENCODE = 'percent-encode special characters in a password, or use password_file';

const ENCODE_PROXY = 'percent-encode special characters in the user and the password';
const SOCKET = 'a Unix socket is unix:///run/redis.sock';

const REDIS_RULES: UrlRules = {
  schemes: ['redis', 'rediss', 'unix'],
  adviceOnScheme: adviceOnRedis,
  encode: ENCODE,
};
const HTTP_RULES = { schemes: ['http', 'https'], adviceOnScheme: adviceOnHttp };

/** Null when a `%` is not followed by two hex digits, or the bytes are not UTF-8. */
function decodePercent(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** The value of a Basic authentication header (RFC 7617). */
export function basicAuthorization(user: string, password: Secret): Secret {
  return password.derive((text) => `Basic ${Buffer.from(`${user}:${text}`).toString('base64')}`);
}

function readDatabase(pathname: string): Reading<number | null> {
  if (pathname === '' || pathname === '/') return accept(null);
  const database = /^\/\d{1,10}$/.test(pathname) ? Number(pathname.slice(1)) : Number.NaN;
  if (database <= DATABASE_MAX) return accept(database);
  return reject('a Redis URL', { found: 'one whose path is not the number of a database' });
}

function readUnixUrl(text: string): Reading<RedisUrl> {
  const fail = (found: string, hint: string | null = null) =>
    reject('a Unix socket such as unix:///run/redis.sock', { found, hint });
  const [, user = '', pass = '', encoded, digits] = UNIX_URL.exec(text) ?? [];
  if (encoded === undefined) {
    const hint = 'write unix:// and an absolute path; a database is ?db=2';
    return fail('an invalid one', hint);
  }
  const [username, password, path] = [user, pass, encoded].map(decodePercent);
  if (username == null || password == null || path == null) {
    const hint = text.includes('@') ? ENCODE : 'write %25 for a %';
    return fail('one whose user, password or path is not percent-encoded', hint);
  }
  const defect = defectOf(path);
  if (defect !== null) return fail(`one whose path ${defect}`);
  if (path.endsWith('/')) return fail('one whose path names no socket');
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    return fail(`one whose path is longer than ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  const database = readDatabase(digits === undefined ? '' : `/${digits}`);
  if (!database.ok) return database;
  return accept({
    host: '',
    port: 0,
    path,
    tls: false,
    username: username === '' ? null : username,
    password: password === '' ? null : new Secret(password),
    database: database.value,
  });
}

/** Advice for settings that other clients take from the query. */
function queryAdvice({ searchParams }: URL): string {
  const keys = [...searchParams.keys()].map((key) => key.toLowerCase());
  const has = (pattern: RegExp) => keys.some((key) => pattern.test(key));
  if (has(/^(db|database)$/)) return 'a database is redis://HOST:PORT/DATABASE';
  if (has(/ssl|tls|cert/)) return 'TLS is rediss://, and set certificates in tls, beside url';
  if (has(/user|pass|auth/)) return 'write username and password_file beside url';
  return 'remove it: the relay reads no settings from the query';
}

export function readRedisUrl(text: string): Reading<RedisUrl> {
  const fail = (found: string, hint: string | null = null) =>
    reject(REDIS_URL_EXPECTED, { found, hint });
  if (/^unix:/i.test(text)) return readUnixUrl(text);
  if (text.startsWith('/')) return fail('the path of a file', SOCKET);
  const problem = urlProblem(text, REDIS_RULES);
  if (problem !== null) return fail(problem.found, problem.hint);
  const url = new URL(text);
  const isCutShort = (url.pathname + url.search + url.hash).includes('@');
  if (isCutShort) return fail(CUT_SHORT, ENCODE);
  if (url.search !== '') return fail('one with a query (?…)', queryAdvice(url));
  if (url.hash !== '') return fail('one with a fragment (#…)');
  const username = decodePercent(url.username);
  const password = decodePercent(url.password);
  if (username === null || password === null) {
    return fail('one whose user or password is not percent-encoded', ENCODE);
  }
  if (url.hostname.includes('%')) return fail('one whose host has a %');
  const database = readDatabase(url.pathname);
  if (!database.ok) return database;
  return accept({
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? REDIS_PORT : Number(url.port),
    path: null,
    tls: url.protocol === 'rediss:',
    username: username === '' ? null : username,
    password: password === '' ? null : new Secret(password),
    database: database.value,
  });
}

/** Parses `host:port`. The default port is 26379. */
export function readSentinelNode(text: string): Reading<HostPort> {
  return readNode(text, SENTINEL_PORT, SENTINEL_NODE_EXPECTED);
}

export const CLUSTER_NODE_EXPECTED = 'a node as host:port, such as 10.0.0.1:6379';

/** host:port, as the nodes report it. */
export const CLUSTER_ADDRESS_PATTERN = /^\S+:\d{1,5}$/;

/** Parses `host:port`. The default port is 6379. */
export function readClusterNode(text: string): Reading<HostPort> {
  return readNode(text, REDIS_PORT, CLUSTER_NODE_EXPECTED);
}

function readNode(text: string, defaultPort: number, expected: string): Reading<HostPort> {
  const fail = (hint: string | null) => reject(expected, { hint });
  if (text.includes('://')) return fail('write only the host and port, without a scheme');
  const [, bracketed, plain, digits] =
    /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) return fail(isIPv6(text) ? 'put the IPv6 address in [ ]' : null);
  if (bracketed !== undefined && !isIPv6(bracketed)) return fail('write an IPv6 address in [ ]');
  const port = digits === undefined ? defaultPort : Number(digits);
  if (port < 1 || port > PORT_MAX) return fail(`a port is 1 to ${PORT_MAX}`);
  return accept({ host, port });
}

export function readEndpointUrl(text: string): Reading<URL> {
  const fail = (found: string, hint: string | null = null) =>
    reject('a URL such as http://shop:8080/hooks', { found, hint });
  const problem = urlProblem(text, { ...HTTP_RULES, encode: null });
  if (problem !== null) return fail(problem.found, problem.hint);
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    return fail('one with a user or password in it', 'use basic: {username: …, password: …}');
  }
  if (text.includes('#')) return fail('one with a fragment (#…), which never reaches HTTP');
  return accept(url);
}

export function readProxyUrl(text: string): Reading<ProxySettings> {
  const fail = (found: string, hint: string | null = null) =>
    reject('a URL such as http://user:password@proxy:3128', { found, hint });
  const problem = urlProblem(text, { ...HTTP_RULES, encode: ENCODE_PROXY });
  if (problem !== null) return fail(problem.found, problem.hint);
  const url = new URL(text);
  if (url.pathname !== '/' || url.search !== '' || text.includes('#')) {
    const isCutShort = (url.pathname + url.search + url.hash).includes('@');
    if (isCutShort) return fail(CUT_SHORT, ENCODE_PROXY);
    return fail('one with more than a user, a password, a host and a port');
  }
  const user = decodePercent(url.username);
  const password = decodePercent(url.password);
  if (user === null || password === null || user.includes(':')) {
    return fail('one whose user or password is not percent-encoded');
  }
  const hasLogin = user !== '' || password !== '';
  const authorization = hasLogin ? basicAuthorization(user, new Secret(password)) : null;
  url.username = '';
  url.password = '';
  return accept({ url, authorization });
}

function listenHint(text: string): string | null {
  if (isIPv6(text.replace(/:\d+$/, ''))) return 'put the IPv6 address in [ ]';
  if (text.includes('://')) return 'write only the host and port, without a scheme';
  if (text.includes(',')) return 'specify one address';
  if (/^\d+$/.test(text)) return 'a colon precedes the port';
  return /^[A-Za-z0-9._-]+:?$/.test(text) ? 'a port is missing' : null;
}

/** The canonical form of an IPv6 address: `::` for `0:0::0`. An address with a zone is left as it is. */
function shortest(address: string): string {
  if (address.includes('%')) return address;
  return new URL(`http://[${address}]`).hostname.slice(1, -1);
}

/** Without a host: all IPv4 addresses. */
export function readListenAddress(text: string): Reading<ListenAddress> {
  const expected = 'an address such as 127.0.0.1:9464, [::1]:9464 or :9464';
  const [, bracketed, plain, digits] =
    /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]*)):(\d{1,5})$/.exec(text) ?? [];
  if (digits === undefined) {
    return reject(expected, { hint: listenHint(text) });
  }
  const port = Number(digits);
  if (port > PORT_MAX) return reject(expected, { hint: `a port is at most ${PORT_MAX}` });
  if (bracketed !== undefined && !isIPv6(bracketed)) {
    return reject(expected, { hint: 'write an IPv6 address in [ ]' });
  }
  const host = bracketed === undefined ? plain : shortest(bracketed);
  return accept({ host: host || '0.0.0.0', port });
}
