/**
 * Connections to Redis, of two kinds. `connect` opens one that never comes back by itself: whoever
 * opened it learns why it ended and opens the next one, so that each begins with the same checks
 * and the same subscriptions. `openLasting` opens one that does, for the state.
 */
import { Redis } from 'ioredis';
import {
  messageOf,
  NotRedisError,
  RedisAuthError,
  RedisIsReplicaError,
  RedisNotReadyError,
  RedisPermissionError,
  RedisSlotError,
  RedisTlsError,
  RedisUnreachableError,
  RelayError,
  StateUnavailableError,
} from './errors.js';
import { printable } from './printable.js';
import { isUnknownCommand } from './refusal.js';
import type { RedisAddress, RedisSettings } from './vocabulary.js';

const CONNECT_MS_MAX = 5_000;

/** The first wait before a lasting connection is made anew; each next one is twice as long. */
const RECONNECT_FIRST_MS = 50;
const RECONNECT_MS_MAX = 2_000;

/** How long a peer may take to close its side, before ours is cut. */
const DISCONNECT_MS_MAX = 200;

/**
 * A connection with an unanswered command that hears nothing for so long is dead. Longer than a
 * slow command of somebody else's usually blocks the server.
 */
const SILENCE_MS_MAX = 10_000;

/** How often a connection asks for a sign of life, so that the silence is noticed. */
export const PING_EVERY_MS = 3_000;

export interface RedisConnection {
  readonly redis: Redis;
  /** Resolves, once, with why the connection ended. Never rejects. */
  readonly ended: Promise<RelayError>;
}

/** The codes of OpenSSL, as Node names them. */
const TLS_ERRNO = /CERT|SSL|TLS|ISSUER|SIGNATURE/;

/** host:port, as messages and logs show it: no name, no password. */
export function addressOf({ host, port }: Pick<RedisSettings, 'host' | 'port'>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What both kinds have in common. */
function optionsFor({ host, port, tls }: RedisAddress) {
  return {
    host,
    port,
    ...(tls ? { tls: {} } : {}),
    protocol: 2 as const,
    enableOfflineQueue: false,
    disableClientInfo: true,
    connectTimeout: CONNECT_MS_MAX,
    socketTimeout: SILENCE_MS_MAX,
    disconnectTimeout: DISCONNECT_MS_MAX,
  };
}

/**
 * Connects and authenticates; rejects with a RelayError that says what is wrong, and which
 * `section` of the file to look at. The connection ends when `closing` aborts, whatever it then
 * waits for.
 */
export async function connect(
  settings: RedisAddress,
  role: string,
  closing: AbortSignal,
  section: 'redis' | 'state' = 'redis',
): Promise<RedisConnection> {
  const redis = new Redis({
    ...optionsFor(settings),
    lazyConnect: true,
    retryStrategy: null,
    autoResubscribe: false,
    enableReadyCheck: false,
  });
  let cause: unknown = null;
  redis.on('error', (error) => {
    cause ??= error;
  });
  const ended = new Promise<RelayError>((resolve) => {
    redis.once('end', () =>
      resolve(redisError(cause ?? 'the connection was closed', settings, section)),
    );
  });
  const close = () => disconnect(redis);
  closing.addEventListener('abort', close, { once: true });
  try {
    closing.throwIfAborted();
    await redis.connect();
    await authenticate(redis, settings);
    await redis.ping();
    // For whoever reads CLIENT LIST; not everybody may.
    await redis.client('SETNAME', `expiry-relay:${role}`).catch(() => undefined);
    closing.throwIfAborted();
  } catch (error) {
    close();
    throw redisError(cause ?? error, settings, section);
  }
  return { redis, ended };
}

/**
 * A connection that comes back by itself, for the state. While it is away, commands reject at
 * once and are not repeated: whoever gave them knows whether to. `onTrouble` is told why each try
 * to connect has failed.
 */
export function openLasting(
  address: RedisAddress,
  database: number,
  onTrouble: (error: Error) => void,
): Redis {
  const redis = new Redis({
    ...optionsFor(address),
    db: database,
    ...(address.username === null ? {} : { username: address.username }),
    ...(address.password === null ? {} : { password: address.password.reveal() }),
    retryStrategy: (times) => Math.min(RECONNECT_FIRST_MS * 2 ** times, RECONNECT_MS_MAX),
    autoResendUnfulfilledCommands: false,
    // It would wait in silence for a server that loads its data; the state looks and says so.
    enableReadyCheck: false,
    // Without it, what was under way when the connection broke would never be answered.
    maxRetriesPerRequest: 0,
    connectionName: 'expiry-relay:state',
    // What was the primary is none any more: its name may lead to the new one by now.
    reconnectOnError: ({ message }) => message.includes('READONLY'),
  });
  redis.on('error', onTrouble);
  return redis;
}

/** A password that the server does not want is no reason to stop: it may want it tomorrow. */
async function authenticate(redis: Redis, { username, password }: RedisAddress): Promise<void> {
  if (password === null) return;
  try {
    if (username === null) await redis.auth(password.reveal());
    else await redis.auth(username, password.reveal());
  } catch (error) {
    if (!/without any password configured/.test(messageOf(error))) throw error;
  }
}

/** Ends a connection; one that has ended already would keep a timer of ioredis's running. */
export function disconnect(redis: Redis): void {
  if (redis.status !== 'end') redis.disconnect();
}

/** What is wrong with the Redis that holds the state: a reply to a script may begin with its place. */
export function stateError(
  thrown: unknown,
  address: Pick<RedisAddress, 'host' | 'port' | 'tls'>,
  section: 'redis' | 'state',
): RelayError {
  if (thrown instanceof RelayError) return thrown;
  const at = `the state Redis at ${addressOf(address)}`;
  const said = printable(messageOf(thrown));
  const [code] = /\b(OOM|MISCONF|READONLY|NOREPLICAS|WRONGTYPE)\b/.exec(said) ?? [];
  switch (code) {
    case 'OOM':
      return new StateUnavailableError(
        `${at} has reached its maxmemory and stores nothing new: give it more memory`,
      );
    case 'MISCONF':
      return new StateUnavailableError(
        `${at} refuses writes because it cannot save to its disk (MISCONF): see its log`,
      );
    case 'READONLY':
      return new StateUnavailableError(`${at} is a replica now, and takes no writes`);
    case 'WRONGTYPE':
      return new StateUnavailableError(
        `${at} holds a value that is not the relay's under one of its keys (WRONGTYPE): delete ` +
          'that key, or choose another state.prefix',
      );
    case 'NOREPLICAS':
      return new StateUnavailableError(`${at} refuses writes for want of replicas (NOREPLICAS)`);
  }
  const elsewhere = slotElsewhere(said);
  if (elsewhere !== null) {
    return new RedisSlotError(
      `${at} is a node of a Redis Cluster, and ${elsewhere}: point ${section}.url at that node, ` +
        `or ${PREFIX_ADVICE}`,
    );
  }
  if (/^Connection is closed|isn't writeable|maxRetriesPerRequest/.test(said)) {
    return new RedisUnreachableError(`${at} cannot be reached`);
  }
  if (isUnknownCommand(thrown)) {
    return new RedisPermissionError(
      `${at} does not have a command that the relay needs (${said}): expiry-relay doctor names it`,
    );
  }
  if (said.includes('UNWATCHED')) {
    return new StateUnavailableError(
      `${at} has lost the lease of the watch; it is being taken again`,
    );
  }
  if (said.includes('The user executing the script')) {
    return new RedisPermissionError(
      `${at} forbids a command that the relay needs (its ACL LOG names it): ${said}`,
    );
  }
  const error = redisError(thrown, address, section);
  const isAnswer = thrown instanceof Error && thrown.name === 'ReplyError';
  const isUnknown = isAnswer && error instanceof RedisUnreachableError;
  return isUnknown ? new StateUnavailableError(`${at} answered: ${said}`) : error;
}

/** What Redis or the network said, as one of our errors; `section` of the file is about it. */
export function redisError(
  thrown: unknown,
  settings: Pick<RedisSettings, 'host' | 'port' | 'tls'>,
  section: 'redis' | 'state' = 'redis',
): RelayError {
  const address = addressOf(settings);
  const errno = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  if (TLS_ERRNO.test(errno)) {
    return new RedisTlsError(
      `no secure connection to Redis at ${address} (${printable(messageOf(thrown))}): if its ` +
        'certificate is signed by an authority of your own, name that in NODE_EXTRA_CA_CERTS',
    );
  }
  const said = printable(messageOf(thrown));
  const code = /^-?([A-Z]+)/.exec(said)?.[1] ?? '';
  switch (code) {
    case 'NOAUTH':
      return new RedisAuthError(
        `Redis at ${address} wants a password: set ${section}.password_file (or ${section}.password)`,
      );
    case 'WRONGPASS':
      return new RedisAuthError(
        `Redis at ${address} refuses the user name or password (${said}): check those of ` +
          `${section}.url, or ${section}.username and ${section}.password_file`,
      );
    case 'NOPERM':
      return new RedisPermissionError(`Redis at ${address} forbids what the relay needs: ${said}`);
    case 'READONLY':
      return new RedisIsReplicaError(replicaAdvice(address, 'another server'));
    case 'LOADING':
    case 'BUSY':
    case 'MASTERDOWN':
      return new RedisNotReadyError(`Redis at ${address} is not ready: ${said}`);
    case 'CLUSTERDOWN':
      return new RedisNotReadyError(
        `Redis at ${address} is a node of a Redis Cluster in which no node takes the relay's own ` +
          `keys now (${said}): see redis-cli CLUSTER INFO, and whether each slot has a node`,
      );
  }
  if (isUnknownCommand(thrown)) {
    return new RedisPermissionError(`Redis at ${address} lacks what the relay needs: ${said}`);
  }
  if (/protocol error|invalid resp|unexpected (byte|token|type)|please report this/i.test(said)) {
    const found = said.replace('. Please report this.', '');
    return new NotRedisError(
      `what answers at ${address} is no Redis (expected its protocol, found: ${found}): ` +
        `check ${section}.url`,
    );
  }
  const hint = settings.tls ? ` (${section}.url says rediss://: does this port speak TLS?)` : '';
  return new RedisUnreachableError(`Redis at ${address} cannot be reached: ${said}${hint}`);
}

/** What to do where a node of a cluster is to keep its place. */
const PREFIX_ADVICE =
  "choose a state.prefix whose slot is on this one (redis-cli CLUSTER KEYSLOT '{prefix}' tells it)";

/** Who has the slot of a key, when a node of a Redis Cluster has said so; null when it has not. */
function slotElsewhere(said: string): string | null {
  const [, slot, node] = /^(?:MOVED|ASK) (\d+) (\S+)/.exec(said) ?? [];
  return node === undefined ? null : `slot ${slot}, that of the relay's own keys, is on ${node}`;
}

/** Why a key of the relay's own was refused, and what to do where that is known. */
export function refusalText(said: string): string {
  const elsewhere = slotElsewhere(said);
  return elsewhere === null
    ? printable(said)
    : `this is a node of a Redis Cluster, and ${elsewhere}: ${PREFIX_ADVICE}`;
}

export function replicaAdvice(address: string, primary: string): string {
  return (
    `Redis at ${address} is a replica of ${primary}; replicas never publish expirations: ` +
    'point redis.url at the primary'
  );
}
