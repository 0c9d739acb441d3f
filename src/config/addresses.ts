/** URLs and addresses as the file writes them. Pure; no found text is ever quoted. */
import { isIPv6 } from 'node:net';
import type { ProxySettings } from '../endpoint.js';
import { Secret } from '../secret.js';
import type { ListenAddress } from '../vocabulary.js';
import { type Reading, refused, understood } from './wording.js';

const REDIS_PORT = 6379;
const PORT_MAX = 65_535;
/** `SELECT` takes a signed 32-bit number. */
export const DATABASE_MAX = 2 ** 31 - 1;

/** What a Redis URL says. */
export interface RedisUrl {
  /** Empty for a Unix socket. */
  readonly host: string;
  readonly port: number;
  /** The path of a Unix socket; null for TCP. */
  readonly path: string | null;
  readonly tls: boolean;
  readonly username: string | null;
  readonly password: Secret | null;
  /** Null when it names none. */
  readonly database: number | null;
}

/** What fits into the address of a Unix socket on Linux, beside the byte that ends it. */
const SOCKET_PATH_BYTES_MAX = 107;

/** `unix://USER:PASSWORD@/PATH?db=N`; a WHATWG URL takes no user without a host. */
const UNIX_URL = /^unix:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\/[^?#]*)(?:\?db=(\d{1,10}))?$/i;

const REDIS_URL_EXPECTED = 'a Redis URL such as redis://127.0.0.1:6379';
const ENCODE = 'percent-encode special characters in a password, or use password_file';

/** Null when a `%` is not followed by two hex digits of UTF-8. */
function percentDecoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** What a header says of a user and a password (RFC 7617). */
export function basicAuthorization(user: string, password: Secret): Secret {
  return password.derive((text) => `Basic ${Buffer.from(`${user}:${text}`).toString('base64')}`);
}

function readDatabase(pathname: string): Reading<number | null> {
  if (pathname === '' || pathname === '/') return understood(null);
  const database = /^\/\d{1,10}$/.test(pathname) ? Number(pathname.slice(1)) : Number.NaN;
  if (database <= DATABASE_MAX) return understood(database);
  return refused('a Redis URL', { found: 'one whose path is not the number of a database' });
}

function readUnixUrl(text: string): Reading<RedisUrl> {
  const wrong = (found: string, hint: string | null = null) =>
    refused('a Unix socket such as unix:///run/redis.sock', { found, hint });
  const [, user = '', pass = '', encoded, digits] = UNIX_URL.exec(text) ?? [];
  if (encoded === undefined) {
    const hint = 'write unix:// and an absolute path; a database is ?db=2';
    return wrong('one that is no such URL', hint);
  }
  const [username, password, path] = [user, pass, encoded].map(percentDecoded);
  if (username == null || password == null || path == null) {
    return wrong('one whose user, password or path is not percent-encoded', ENCODE);
  }
  if (path.endsWith('/') || path.includes('\0')) return wrong('one whose path names no socket');
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    return wrong(`one whose path is longer than ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  const database = readDatabase(digits === undefined ? '' : `/${digits}`);
  if (!database.ok) return database;
  return understood({
    host: '',
    port: 0,
    path,
    tls: false,
    username: username === '' ? null : username,
    password: password === '' ? null : new Secret(password),
    database: database.value,
  });
}

export function readRedisUrl(text: string): Reading<RedisUrl> {
  const wrong = (found: string, hint: string | null = null) =>
    refused(REDIS_URL_EXPECTED, { found, hint });
  if (/^unix:/i.test(text)) return readUnixUrl(text);
  if (!/^rediss?:\/\//i.test(text)) {
    const isSocket = /^(redis)?\+?(unix|socket)\b|^\//i.test(text);
    const hint = isSocket ? 'a Unix socket is unix:///run/redis.sock' : null;
    return wrong('one that begins with none of redis://, rediss:// and unix://', hint);
  }
  if (/\s/.test(text) || !URL.canParse(text)) return wrong('one that is no valid URL', ENCODE);
  const url = new URL(text);
  if (url.hostname === '') return wrong('one without a host');
  if (url.search !== '' || url.hash !== '') return wrong('one with a query or fragment', ENCODE);
  if (url.port === '0') return wrong('one with port 0');
  const username = percentDecoded(url.username);
  const password = percentDecoded(url.password);
  if (username === null || password === null) {
    return wrong('one whose user or password is not percent-encoded', ENCODE);
  }
  const database = readDatabase(url.pathname);
  if (!database.ok) return database;
  return understood({
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? REDIS_PORT : Number(url.port),
    path: null,
    tls: url.protocol === 'rediss:',
    username: username === '' ? null : username,
    password: password === '' ? null : new Secret(password),
    database: database.value,
  });
}

export function readEndpointUrl(text: string): Reading<URL> {
  const wrong = (found: string, hint: string | null = null) =>
    refused('a URL such as http://shop:8080/hooks', { found, hint });
  if (!/^https?:\/\//i.test(text))
    return wrong('one that begins with neither http:// nor https://');
  if (/[\s\\]/.test(text) || !URL.canParse(text)) return wrong('one that is no valid URL');
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') {
    return wrong('one with a user or password in it', 'use basic: {username: …, password: …}');
  }
  if (text.includes('#')) return wrong('one with a fragment (#…), which never reaches HTTP');
  return understood(url);
}

export function readProxyUrl(text: string): Reading<ProxySettings> {
  const wrong = (found: string) =>
    refused('a URL such as http://user:password@proxy:3128', { found });
  if (!/^https?:\/\//i.test(text))
    return wrong('one that begins with neither http:// nor https://');
  if (/[\s\\]/.test(text) || !URL.canParse(text)) return wrong('one that is no valid URL');
  const url = new URL(text);
  if (url.pathname !== '/' || url.search !== '' || text.includes('#')) {
    return wrong('one with more than a user, a password, a host and a port');
  }
  const user = percentDecoded(url.username);
  const password = percentDecoded(url.password);
  if (user === null || password === null || user.includes(':')) {
    return wrong('one whose user or password is not percent-encoded');
  }
  const hasLogin = user !== '' || password !== '';
  const authorization = hasLogin ? basicAuthorization(user, new Secret(password)) : null;
  url.username = '';
  url.password = '';
  return understood({ url, authorization });
}

/** Without a host: all IPv4 addresses. */
export function readListenAddress(text: string): Reading<ListenAddress> {
  const expected = 'an address such as 127.0.0.1:9464, [::1]:9464 or :9464';
  const [, bracketed, plain, digits] =
    /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]*)):(\d{1,5})$/.exec(text) ?? [];
  if (digits === undefined) {
    const hint = isIPv6(text.replace(/:\d+$/, '')) ? 'put the IPv6 address in [ ]' : null;
    return refused(expected, { hint });
  }
  const port = Number(digits);
  if (port > PORT_MAX) return refused(expected, { hint: `a port is at most ${PORT_MAX}` });
  if (bracketed !== undefined && !isIPv6(bracketed)) {
    return refused(expected, { hint: 'no IPv6 address in the [ ]' });
  }
  const host = bracketed ?? plain ?? '';
  return understood({ host: host === '' ? '0.0.0.0' : host, port });
}
