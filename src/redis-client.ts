/**
 * Connections to Redis that never come back by themselves: whoever opened one learns why it ended
 * and opens the next one, so that each begins with the same checks and the same subscriptions.
 * `redis/lasting.ts` has those that do come back, for the state.
 */
import { Redis } from 'ioredis';
import {
  messageOf,
  NotRedisError,
  RedisAuthError,
  RedisIsReplicaError,
  RedisLoginPendingError,
  RedisNotReadyError,
  RedisPermissionError,
  RedisReplyError,
  RedisSlotError,
  RedisUnreachableError,
  RelayError,
  StateUnavailableError,
} from './errors.js';
import { printable } from './printable.js';
import { connectionProblem } from './redis/connection-problem.js';
import { Wire } from './redis/socket.js';
import type { RedisAddress, RedisCredentials } from './vocabulary.js';

const CONNECT_MS_MAX = 5_000;

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

/** Where a Redis is. */
interface Place {
  readonly host: string;
  readonly port: number;
  /** Of a Unix socket. */
  readonly path?: string | null;
}

/** host:port or unix:///path, as messages and logs show it: no name, no password. */
export function addressOf({ host, port, path = null }: Place): string {
  if (path !== null) return `unix://${printable(path)}`;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What both kinds of connection have in common. */
export function optionsFor({ host, port, tls }: RedisAddress, wire: Wire) {
  return {
    host,
    port,
    Connector: wire.connector(DISCONNECT_MS_MAX),
    // Tells ioredis which event to wait for.
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
 * Connects and authenticates; rejects with a RelayError that says what is wrong, and which
 * `section` of the file to look at. The connection ends when `closing` aborts, whatever it then
 * waits for. `onStale` is called when the files of the login cannot be used any more.
 */
export async function connect(
  settings: RedisAddress,
  role: string,
  closing: AbortSignal,
  section: 'redis' | 'state' = 'redis',
  onStale: (problem: string) => void = () => undefined,
): Promise<RedisConnection> {
  const { password, tls } = await credentialsOf(settings, onStale);
  const wire = new Wire(settings);
  wire.tls = tls;
  const redis = new Redis({
    ...optionsFor(settings, wire),
    lazyConnect: true,
    retryStrategy: null,
    autoResubscribe: false,
    enableReadyCheck: false,
  });
  let cause: unknown = null;
  redis.on('error', (error) => {
    cause ??= error;
  });
  wire.watch(redis);
  const whyEnded = (otherwise: unknown) =>
    connectError(cause ?? (closing.aborted ? ABORTED : otherwise), wire, settings, section);
  const ended = new Promise<RelayError>((resolve) => {
    redis.once('end', () => resolve(whyEnded(CLOSED)));
  });
  const close = () => disconnect(redis);
  closing.addEventListener('abort', close, { once: true });
  try {
    closing.throwIfAborted();
    await redis.connect();
    await authenticate(redis, settings.username, password);
    const pong: string = await redis.ping();
    if (pong !== 'PONG') throw notRedis(`"PONG", found: "${pong}"`, settings, section);
    settings.files?.accepted();
    // For whoever reads CLIENT LIST; not everybody may.
    await redis.client('SETNAME', `expiry-relay:${role}`).catch(() => undefined);
    closing.throwIfAborted();
    if (redis.status !== 'ready') throw await ended;
  } catch (error) {
    const failure = error instanceof RelayError ? error : whyEnded(error);
    close();
    throw failure;
  }
  return { redis, ended };
}

/** What ioredis does not say when the server closes a connection, or we do. */
const CLOSED = 'the connection was closed';
const ABORTED = 'no answer within the time that was given';

/** The password and the certificates to log in with now. */
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
  section: 'redis' | 'state',
): RelayError {
  const place = { address, at: addressOf(address), section };
  const error = connectionProblem(thrown, wire, place) ?? redisError(thrown, address, section);
  if (!(error instanceof RedisAuthError) || !address.files?.wasAccepted) return error;
  return new RedisLoginPendingError(
    `${error.message}. A login was accepted before: the relay waits for a file with the new password`,
  );
}

/** A password that the server does not want is no reason to stop: it may want it tomorrow. */
async function authenticate(
  redis: Redis,
  username: string | null,
  password: RedisAddress['password'],
): Promise<void> {
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
  address: Place,
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
  return error instanceof RedisReplyError
    ? new StateUnavailableError(`${at} answered: ${said}`)
    : error;
}

/** What Redis or the network said, as one of our errors; `section` of the file is about it. */
export function redisError(
  thrown: unknown,
  settings: Place,
  section: 'redis' | 'state' = 'redis',
): RelayError {
  const address = addressOf(settings);
  const said = saidBy(thrown);
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
  if (said.startsWith('DENIED')) {
    return new RedisAuthError(
      `Redis at ${address} is in protected mode and answers only its own machine: set a password ` +
        `there and in ${section}.password_file`,
    );
  }
  if (/max number of clients/i.test(said)) {
    return new RedisNotReadyError(
      `Redis at ${address} has as many clients as its maxclients allows: raise that, or end some`,
    );
  }
  if (/please report this/i.test(said)) {
    return notRedis(
      `its protocol, found: ${said.replace('. Please report this.', '')}`,
      settings,
      section,
    );
  }
  if (isUnknownCommand(said)) {
    return new NotRedisError(
      `the server at ${address} lacks a command that the relay needs (${said}), as a proxy does: ` +
        `point ${section}.url at Redis itself`,
    );
  }
  const isReply = thrown instanceof Error && thrown.name === 'ReplyError';
  if (isReply) return new RedisReplyError(`Redis at ${address} answered: ${said}`);
  return new RedisUnreachableError(`Redis at ${address} cannot be reached: ${said}`);
}

/** An error that came before anything was asked is in what ioredis says about it. */
function saidBy(thrown: unknown): string {
  const message = messageOf(thrown);
  const [, reply] = /Last reply: (?:\w*Error: )?(.+)/.exec(message) ?? [];
  return printable(reply ?? message);
}

/** In the words of Redis, of Envoy, and of other proxies. */
function isUnknownCommand(said: string): boolean {
  return /\b(unknown|unsupported|disallowed) command\b|command .*not (supported|allowed)/i.test(
    said,
  );
}

function notRedis(expected: string, place: Place, section: 'redis' | 'state'): NotRedisError {
  return new NotRedisError(
    `what answers at ${addressOf(place)} is not Redis (expected ${expected}): check ${section}.url`,
  );
}

/** What to do where a node of a cluster is to keep its place. */
const PREFIX_ADVICE =
  "choose a state.prefix whose slot is on this one (redis-cli CLUSTER KEYSLOT '{prefix}' tells it)";

/** Whether a node of a Redis Cluster says that another one has the key. */
export function isElsewhere(refusal: unknown): boolean {
  return /^(MOVED|ASK) /.test(messageOf(refusal));
}

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

/** A node of a cluster has none but the first, and says so in another way. */
export function isNoDatabase(refusal: unknown): boolean {
  return /DB index is out of range|SELECT is not allowed in cluster/i.test(messageOf(refusal));
}

export function replicaAdvice(address: string, primary: string): string {
  return (
    `Redis at ${address} is a replica of ${primary}; replicas never publish expirations: ` +
    'point redis.url at the primary'
  );
}
