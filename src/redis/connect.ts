/**
 * Connections to Redis that do not reconnect: the caller receives the reason when one ends, and opens the next one,
 * with the same checks and subscriptions. `lasting.ts` has the reconnecting ones, for the state.
 */
import { Redis } from 'ioredis';
import { printable } from '../lib/printable.js';
import { defectOf } from '../lib/text-defect.js';
import { messageOf, RedisAuthError, RedisLoginPendingError, RelayError } from '../model/errors.js';
import type { LoginSection, RedisCredentials } from '../model/redis-login.js';
import type { Secret } from '../model/secret.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf, notRedis, redisError } from './client.js';
import { connectionProblem } from './connection-problem.js';
import { Wire } from './socket.js';

/** The timeout for all addresses of a name together, including TLS handshake and login. */
export const CONNECT_MS_MAX = 5_000;

/** How long a peer may take to close its side of the connection. */
const DISCONNECT_MS_MAX = 200;

/**
 * The timeout of a connection that has an unanswered command and receives nothing. Longer than a slow command of
 * another client usually blocks the server.
 */
export const SILENCE_MS_MAX = 10_000;

/** How often each connection sends a PING, so that a silent server is noticed. */
export const PING_EVERY_MS = 3_000;

export interface RedisConnection {
  readonly redis: Redis;
  /** Whether the configuration has a password that the server does not require. */
  readonly isPasswordUnused: boolean;
  /** Resolves once, with the reason why the connection ended. Never rejects. */
  readonly ended: Promise<RelayError>;
}

/** The options of both kinds of connections. */
export function optionsFor({ tls }: RedisAddress, wire: Wire) {
  return {
    Connector: wire.connector(DISCONNECT_MS_MAX),
    // Makes ioredis wait for the right event.
    ...(tls === null ? {} : { tls: {} }),
    protocol: 2 as const,
    enableOfflineQueue: false,
    disableClientInfo: true,
    connectTimeout: CONNECT_MS_MAX,
    socketTimeout: SILENCE_MS_MAX,
    disconnectTimeout: DISCONNECT_MS_MAX,
  };
}

/**
 * Connects and authenticates; rejects with a RelayError that names the problem and the `section` of the configuration.
 * The connection ends when `closing` aborts. `onStale` is called when the files of the login are not valid any more. A
 * command fails without a reply within `answerMsMax`.
 */
export async function connect(
  settings: RedisAddress,
  role: string,
  closing: AbortSignal,
  section: LoginSection = 'redis',
  onStale: (problem: string) => void = () => undefined,
  answerMsMax: number | undefined = undefined,
): Promise<RedisConnection> {
  const { password, tls } = await credentialsOf(settings, onStale);
  const wire = new Wire(settings);
  wire.tls = tls;
  wire.password = password;
  const redis = new Redis({
    ...optionsFor(settings, wire),
    lazyConnect: true,
    retryStrategy: null,
    autoResubscribe: false,
    enableReadyCheck: false,
    ...(answerMsMax === undefined ? {} : { commandTimeout: answerMsMax }),
  });
  let cause: unknown = null;
  redis.on('error', (error) => {
    // An aborted TLS handshake fails as if the server had closed the connection.
    cause ??= closing.aborted ? ABORTED : error;
  });
  wire.watch(redis);
  const whyEnded = (otherwise: unknown) =>
    connectError(cause ?? (closing.aborted ? ABORTED : otherwise), wire, settings, section);
  const ended = new Promise<RelayError>((resolve) => {
    redis.once('end', () => resolve(whyEnded(CLOSED)));
  });
  const close = () => disconnect(redis);
  closing.addEventListener('abort', close, { once: true });
  void ended.then(() => closing.removeEventListener('abort', close));
  let isPasswordUnused = false;
  try {
    closing.throwIfAborted();
    await redis.connect();
    isPasswordUnused = !(await authenticate(redis, settings.username, password));
    const pong: string = await redis.ping();
    if (pong !== 'PONG') throw wrongAnswer(pong, wire, settings, section);
    settings.files?.onAccepted();
    // Shown by CLIENT LIST. An ACL may forbid SETNAME.
    await redis.client('SETNAME', `expiry-relay:${role}`).catch(() => undefined);
    closing.throwIfAborted();
    if (redis.status !== 'ready') throw await ended;
  } catch (error) {
    const failure = error instanceof RelayError ? error : whyEnded(error);
    close();
    throw failure;
  }
  return { redis, isPasswordUnused, ended };
}

/** The error that Redis sends to a client that it rejects before its first command; null: none. */
function refusalIn(head: Buffer): string | null {
  return /^-(DENIED .*|ERR max number of clients .*)/.exec(head.toString('latin1'))?.[1] ?? null;
}

function wrongAnswer(
  pong: string,
  wire: Wire,
  address: RedisAddress,
  section: LoginSection,
): RelayError {
  const place = { address, at: addressOf(address), section };
  const found = `"PONG", found: "${printable(pong)}"`;
  return connectionProblem(pong, wire, place) ?? notRedis(found, address, section);
}

/** Why a login may be rejected; null: neither user name nor password looks wrong. */
function loginDefect(username: string | null, password: Secret | null): string | null {
  const ofUser = defectOf(username ?? '');
  const ofPassword = defectOf(password?.reveal() ?? '');
  const found = [
    ...(ofUser === null ? [] : [`the user name ${ofUser}`]),
    ...(ofPassword === null ? [] : [`the password ${ofPassword}`]),
  ];
  return found.length === 0 ? null : found.join(', ');
}

/** Texts for ends of a connection that ioredis does not explain. */
export const CLOSED = 'the connection was closed';
const ABORTED = 'no response within the time limit';

/** The current password and certificates. */
export async function credentialsOf(
  address: RedisAddress,
  onStale: (problem: string) => void,
): Promise<RedisCredentials> {
  if (address.files === null) return address;
  const { credentials, problem } = await address.files.read();
  if (problem !== null) onStale(problem);
  return credentials;
}

/** Why a connection could not be opened, or ended. */
export function connectError(
  thrown: unknown,
  wire: Wire,
  address: RedisAddress,
  section: LoginSection,
): RelayError {
  const place = { address, at: addressOf(address), section };
  const said = refusalIn(wire.head) ?? thrown;
  const error =
    connectionProblem(said, wire, place) ??
    redisError(said, address, section, loginDefect(address.username, wire.password));
  if (!(error instanceof RedisAuthError) || !address.files?.wasAccepted) return error;
  return new RedisLoginPendingError(
    `${error.message}. An earlier login was accepted; the relay waits for the new password in the file`,
  );
}

/**
 * A server without a password accepts the login: it may require one later. Resolves with false if the server does not
 * require the given password.
 */
async function authenticate(
  redis: Redis,
  username: string | null,
  password: RedisAddress['password'],
): Promise<boolean> {
  if (password === null) return true;
  try {
    if (username === null) await redis.auth(password.reveal());
    else await redis.auth(username, password.reveal());
  } catch (error) {
    if (!/without any password configured/.test(messageOf(error))) throw error;
    return false;
  }
  return true;
}

/** Ends a connection; calling ioredis for one that has ended would leave a timer running. */
export function disconnect(redis: Redis): void {
  if (redis.status !== 'end') redis.disconnect();
}
