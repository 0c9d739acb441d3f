/** Explains why a string is not a usable URL, without showing it. Pure. */
import { isIPv6 } from 'node:net';
import { hasHidden } from '../lib/text-defect.js';

export const PORT_MAX = 65_535;

export interface UrlProblem {
  readonly found: string;
  /** Advice; null when the message is enough. */
  readonly hint: string | null;
}

export interface UrlRules {
  /** Without `://`, in lower case; the preferred scheme first. */
  readonly schemes: readonly string[];
  /** Advice for schemes of other tools; undefined for unknown schemes. */
  readonly adviceOnScheme: (scheme: string) => string | undefined;
  /** Advice for a user or password with a character that ends it; null where a login is not allowed. */
  readonly encode: string | null;
}

const SENTINEL = 'instead of url, set sentinel: {master: NAME, nodes: [HOST:26379, …]}';
const CLUSTER = 'instead of url, set cluster: {nodes: [HOST:6379, …]}';
const SOCKET = 'a Unix socket is unix:///run/redis.sock';
const PLAIN = 'write redis://';
const TLS = 'write rediss://';
const NOT_REST = 'use the address for Redis clients, not for HTTP';
const OTHER_SERVER = 'only servers that speak the Redis protocol are supported';
const ONLY_HTTP = 'webhooks are sent only over HTTP';
const NO_SOCKS = 'SOCKS is not supported: use an HTTP proxy';

const each = (words: string, advice: string) => words.split(' ').map((word) => [word, advice]);

const OTHER_SERVERS =
  'amqp amqps memcache memcached mongodb mongodb+srv mysql mariadb postgres postgresql kafka nats ' +
  'mqtt mqtts etcd sqs elasticsearch cassandra jdbc sqlite zookeeper';

/** Advice for Redis URLs, by scheme. */
const REDIS_ADVICE: ReadonlyMap<string, string> = new Map([
  ...each('redis+sentinel rediss+sentinel redis-sentinel rediss-sentinel sentinel', SENTINEL),
  ...each('redis+cluster rediss+cluster redis-cluster rediss-cluster', CLUSTER),
  ...each('redis+unix rediss+unix unix+redis redis-unix redis+socket redis-socket socket', SOCKET),
  ...each('file unix+tls', SOCKET),
  ...each('valkey keydb dragonfly redis+tcp redis+plain tcp', PLAIN),
  ...each('valkeys redis+tls redis+ssl redis-tls redis-ssl tls ssl', TLS),
  ...each('http https', NOT_REST),
  ...each(OTHER_SERVERS, OTHER_SERVER),
] as [string, string][]);

/** Advice for endpoint URLs, by scheme. */
const HTTP_ADVICE: ReadonlyMap<string, string> = new Map([
  ...each('ws wss grpc grpcs ftp ftps sftp smtp tcp udp unix http+unix redis rediss', ONLY_HTTP),
  ...each('socks socks4 socks4a socks5 socks5h', NO_SOCKS),
  ...each(OTHER_SERVERS, ONLY_HTTP),
] as [string, string][]);

export const adviceOnRedis = (scheme: string) => REDIS_ADVICE.get(scheme);
export const adviceOnHttp = (scheme: string) => HTTP_ADVICE.get(scheme);

/** The parts of a URL, split at delimiters without validation. */
interface Parts {
  readonly scheme: string;
  /** Without user and password. */
  readonly place: string;
  /** Path, query and fragment. */
  readonly rest: string;
}

function partsOf(text: string): Parts | null {
  const [, scheme, authority, rest] =
    /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([\s\S]*)$/i.exec(text) ?? [];
  if (scheme === undefined || authority === undefined || rest === undefined) return null;
  const place = authority.slice(authority.lastIndexOf('@') + 1);
  return { scheme: scheme.toLowerCase(), place, rest };
}

/** `neither http:// nor https://`, or `none of redis://, rediss:// and unix://` */
function noneOf(schemes: readonly string[]): string {
  const written = schemes.map((scheme) => `${scheme}://`);
  if (written.length === 2) return `neither ${written.join(' nor ')}`;
  return `none of ${written.slice(0, -1).join(', ')} and ${written.at(-1)}`;
}

function placeProblem(place: string): UrlProblem | null {
  const only = (found: string, hint: string | null = null) => ({ found, hint });
  if (/[,;]|\S\s+\S/.test(place)) return only('one with more than one host', 'name one host');
  if (isIPv6(place.replace(/(?<=:.*:.*):\d+$/, '')) || isIPv6(place)) {
    return only('one with an IPv6 address without brackets', 'put the IPv6 address in [ ]');
  }
  const [, host = '', port = ''] = /^(\[[^\]]*\]|[^:]*)(?::([\s\S]*))?$/.exec(place) ?? [];
  if (host === '' || host === '[]') return only('one without a host');
  if (port === '') return null;
  if (!/^\d+$/.test(port)) return only('one whose port is not a number');
  if (Number(port) > PORT_MAX) return only(`one whose port is greater than ${PORT_MAX}`);
  return Number(port) === 0 ? only('one with port 0') : null;
}

/** The character ends the host before the @ that should end the password. */
export const CUT_SHORT = 'one with a /, ? or # before its @';

/** Null for a valid URL with an allowed scheme. */
export function urlProblem(text: string, rules: UrlRules): UrlProblem | null {
  const { schemes, adviceOnScheme, encode } = rules;
  const parts = partsOf(text);
  if (parts === null || !schemes.includes(parts.scheme)) {
    const advice = parts === null ? undefined : adviceOnScheme(parts.scheme);
    // Only a known scheme is certainly not a secret.
    if (advice !== undefined) return { found: `${parts?.scheme}://`, hint: advice };
    const isBare = /^[\w.-]+(?::\d+)?(?:\/|$)/.test(text);
    const hint = isBare ? `write ${schemes[0]}:// before the host` : null;
    return { found: `one that begins with ${noneOf(schemes)}`, hint };
  }
  const problem = placeProblem(parts.place);
  if (problem !== null) {
    const isCutShort = encode !== null && parts.rest.includes('@');
    return isCutShort ? { found: CUT_SHORT, hint: encode } : problem;
  }
  if (/[ \\]/.test(text) || hasHidden(text) || !URL.canParse(text)) {
    return { found: 'an invalid URL', hint: text.includes('@') ? encode : null };
  }
  return null;
}
