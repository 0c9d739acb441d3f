/** Explains why a connection to Redis could not be opened, or ended, by its socket's history. */
import { capitalize } from '../lib/capitalize.js';
import {
  messageOf,
  NotRedisError,
  RedisTlsError,
  RedisUnreachableError,
  RedisUnresponsiveError,
  type RelayError,
} from '../model/errors.js';
import type { LoginSection } from '../model/redis-login.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { peerOf } from './peer.js';
import { isReply } from './refusal.js';
import { type SettingNames, settingNames } from './setting-names.js';
import type { Wire } from './socket.js';
import { tlsProblem } from './tls-problem.js';

/** The relay's first commands; a proxy that does not support one may close the connection. */
const FIRST_COMMANDS: ReadonlySet<string> = new Set(['client', 'role', 'select', 'subscribe']);

const SILENT = /Socket timeout|Command timed out|ETIMEDOUT|no response within/;
const CLOSED = /^(ECONNRESET|EPIPE)$/;

export interface ConnectionPlace {
  readonly address: Pick<RedisAddress, 'host' | 'path' | 'sentinel'>;
  /** The server's name in messages. */
  readonly at: string;
  /** The section of the configuration with this server's address. */
  readonly section: LoginSection;
}

/** Null: the server itself replied with an error, such as a wrong password. */
export function connectionProblem(
  thrown: unknown,
  wire: Wire,
  { address, at, section }: ConnectionPlace,
): RelayError | null {
  if (isReply(thrown)) return null;
  const names = settingNames(address, section);
  const peer = peerOf(wire.head);
  if (peer.kind === 'tls') {
    const found = names.url === null ? '' : `, but ${names.url} is redis://`;
    return new NotRedisError(
      `the server at ${at} requires TLS${found}. ${capitalize(names.turnTlsOn)}, or use a port without TLS`,
    );
  }
  if (peer.kind === 'other') {
    return new NotRedisError(
      `the server at ${at} is ${peer.name}, not Redis. Point ${names.server} at Redis`,
    );
  }
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  if (address.path !== null && wire.phase === 'opening') {
    return new RedisUnreachableError(socketText(address.path, at, code, messageOf(thrown)));
  }
  if (wire.tls !== null && thrown instanceof Error) {
    const { host } = address;
    const text = tlsProblem({
      code,
      error: thrown,
      address: at,
      host,
      section,
      names,
      tls: wire.tls,
    });
    if (text !== null) return new RedisTlsError(text);
  }
  if (wire.phase === 'opening') return null;
  const said = messageOf(thrown);
  if (SILENT.test(said)) return new RedisUnresponsiveError(silentText(wire, at, names));
  const isClosed = CLOSED.test(code) || /closed|aborted/i.test(said);
  return isClosed ? new RedisUnresponsiveError(closedText(wire, at, section, names)) : null;
}

/** Frequent mistakes with a Unix socket in a container. */
function socketText(path: string, at: string, code: string, said: string): string {
  const what = `Redis at ${at} cannot be reached`;
  switch (code) {
    case 'ENOENT':
      return (
        `${what}: there is no such socket (ENOENT). Set unixsocket ${path} in redis.conf and start ` +
        'Redis; in a container, mount the directory of the socket'
      );
    case 'EACCES':
    case 'EPERM':
      return (
        `${what}: user ${process.getuid?.() ?? 'of the relay'} has no access to the socket (${code}). Set ` +
        'unixsocketperm 770 in redis.conf, and run the relay in the group that owns the socket'
      );
    case 'ECONNREFUSED':
      return (
        `${what}: no server listens on this socket (ECONNREFUSED). Start Redis; a killed Redis leaves ` +
        'its socket file behind'
      );
    default:
      return `${what}: ${said}`;
  }
}

function silentText(wire: Wire, at: string, names: SettingNames): string {
  if (wire.tls !== null && wire.phase !== 'secured') {
    return (
      `the server at ${at} accepts connections but does not respond to the TLS handshake. If this ` +
      `port is without TLS, ${names.turnTlsOff}`
    );
  }
  if (wire.head.length > 0) return `Redis at ${at} no longer responds`;
  const orTls = wire.tls === null ? `, or to a TLS port (${names.turnTlsOn})` : '';
  return (
    `the server at ${at} accepts connections but does not respond. Redis may be stopped or blocked, ` +
    `or ${names.server} leads to another service${orTls}`
  );
}

function closedText(wire: Wire, at: string, section: LoginSection, names: SettingNames): string {
  const { server } = names;
  if (wire.tls !== null && wire.phase !== 'secured') {
    return (
      `the server at ${at} closes connections during the TLS handshake. If this port is without TLS, ` +
      `${names.turnTlsOff}; otherwise check that ${server} leads to Redis`
    );
  }
  if (wire.head.length > 0) {
    const { unanswered } = wire;
    if (unanswered === null || !FIRST_COMMANDS.has(unanswered)) {
      return `Redis at ${at} closed the connection`;
    }
    return (
      `Redis at ${at} closed the connection after ${unanswered.toUpperCase()}; it may be a proxy ` +
      `without this command. Point ${server} at Redis itself`
    );
  }
  if (wire.tls !== null) {
    const isAnonymous = wire.tls.client === null;
    const certificate = isAnonymous
      ? `It may require a client certificate (set ${section}.tls.cert_file and ${section}.tls.key_file), or be`
      : 'It may be';
    return (
      `the server at ${at} closes connections after the TLS handshake without a response. ` +
      `${certificate} a proxy whose Redis is down`
    );
  }
  return (
    `the server at ${at} accepts connections and closes them without a response. The port may require ` +
    `TLS (${names.turnTlsOn}), or ${server} leads to another service or to a proxy whose Redis is down`
  );
}
