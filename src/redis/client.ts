/** Converts errors of Redis to errors of the relay: what is wrong, and what the operator can do. */
import { printable } from '../lib/printable.js';
import {
  messageOf,
  NotRedisError,
  RedisAuthError,
  RedisIsReplicaError,
  RedisNotReadyError,
  RedisPermissionError,
  RedisReplyError,
  RedisSlotError,
  RedisUnreachableError,
  RelayError,
  StateUnavailableError,
} from '../model/errors.js';
import { isReply, isUnknownCommand } from './refusal.js';

/** The address of a Redis. */
interface Place {
  readonly host: string;
  readonly port: number;
  /** The path of a Unix socket. */
  readonly path?: string | null;
}

/** host:port or unix:///path, for messages and logs: no user name, no password. */
export function addressOf({ host, port, path = null }: Place): string {
  if (path !== null) return `unix://${printable(path)}`;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Converts an error of the state Redis. In a script's error, the code may follow the script's position. */
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
        `${at} has reached maxmemory and rejects writes. Give it more memory`,
      );
    case 'MISCONF':
      return new StateUnavailableError(
        `${at} rejects writes because it cannot save to disk (MISCONF). Check its log`,
      );
    case 'READONLY':
      return new StateUnavailableError(`${at} is a replica now and rejects writes`);
    case 'WRONGTYPE':
      return new StateUnavailableError(
        `${at} has a key of another type under state.prefix (WRONGTYPE). Delete that key, or choose another ` +
          'state.prefix',
      );
    case 'NOREPLICAS':
      return new StateUnavailableError(
        `${at} rejects writes because too few replicas are connected (NOREPLICAS)`,
      );
  }
  const elsewhere = slotElsewhere(said);
  if (elsewhere !== null) {
    return new RedisSlotError(
      `${at} is a node of a Redis Cluster, and ${elsewhere}. Point ${section}.url at that node, ` +
        `or ${PREFIX_ADVICE}`,
    );
  }
  if (/^Connection is closed|isn't writeable|maxRetriesPerRequest/.test(said)) {
    return new RedisUnreachableError(`${at} cannot be reached`);
  }
  if (isUnknownCommand(thrown)) {
    return new RedisPermissionError(
      `${at} does not support a required command (${said}). Run expiry-relay doctor to list the missing commands`,
    );
  }
  if (said.includes('UNWATCHED')) {
    return new StateUnavailableError(`${at} has lost the lease; the replica acquires it again`);
  }
  if (said.includes('The user executing the script')) {
    return new RedisPermissionError(`${at} denies a required command (see ACL LOG): ${said}`);
  }
  const error = redisError(thrown, address, section);
  return error instanceof RedisReplyError
    ? new StateUnavailableError(`${at} returned an error: ${said}`)
    : error;
}

/**
 * Converts an error of Redis or of the network. `section` is the section of the configuration that names the server.
 * `loginDefect` says what looks wrong with the user name or password, without showing them.
 */
export function redisError(
  thrown: unknown,
  settings: Place,
  section: 'redis' | 'state' = 'redis',
  loginDefect: string | null = null,
): RelayError {
  const address = addressOf(settings);
  const said = printable(messageOf(thrown));
  const code = /^-?([A-Z]+)/.exec(said)?.[1] ?? '';
  switch (code) {
    case 'NOAUTH':
      return new RedisAuthError(
        `Redis at ${address} requires a password. Set ${section}.password_file (or ${section}.password)`,
      );
    case 'WRONGPASS':
      return new RedisAuthError(
        `Redis at ${address} rejects the user name or password (${said}). Check ` +
          `${section}.url, or ${section}.username and ${section}.password_file (or ${section}.password)` +
          (loginDefect === null ? '' : ` (${loginDefect})`),
      );
    case 'NOPERM':
      return new RedisPermissionError(`Redis at ${address} denies a required permission: ${said}`);
    case 'READONLY':
      return new RedisIsReplicaError(replicaAdvice(address, 'another server'));
    case 'LOADING':
    case 'BUSY':
    case 'MASTERDOWN':
      return new RedisNotReadyError(`Redis at ${address} is not ready: ${said}`);
    case 'CLUSTERDOWN':
      return new RedisNotReadyError(
        `Redis at ${address} is a node of a Redis Cluster in which no node serves the relay's own ` +
          `keys (${said}). Check redis-cli CLUSTER INFO, and that each slot has a node`,
      );
  }
  if (said.startsWith('DENIED')) {
    return new RedisAuthError(
      `Redis at ${address} is in protected mode and accepts only local clients. Set a password ` +
        `there and in ${section}.password_file`,
    );
  }
  if (/max number of clients/i.test(said)) {
    return new RedisNotReadyError(
      `Redis at ${address} has reached maxclients. Raise maxclients, or disconnect some clients`,
    );
  }
  if (/please report this/i.test(said)) {
    return notRedis(
      `its protocol, found: ${said.replace('. Please report this.', '')}`,
      settings,
      section,
    );
  }
  if (isUnknownCommand(thrown)) {
    return new NotRedisError(
      `the server at ${address} does not support a required command (${said}); it may be a proxy. ` +
        `Point ${section}.url at Redis itself`,
    );
  }
  if (isReply(thrown)) return new RedisReplyError(`Redis at ${address} returned an error: ${said}`);
  return new RedisUnreachableError(`Redis at ${address} cannot be reached: ${said}`);
}

export function notRedis(
  expected: string,
  place: Place,
  section: 'redis' | 'state',
): NotRedisError {
  return new NotRedisError(
    `the server at ${addressOf(place)} is not Redis (expected ${expected}). Check ${section}.url`,
  );
}

/** Converts an error, unless it is one of the relay's already. */
export function redisErrorOf(thrown: unknown, settings: Place): RelayError {
  return thrown instanceof RelayError ? thrown : redisError(thrown, settings);
}

/** The advice for keeping the relay's keys on this node of a cluster. */
const PREFIX_ADVICE =
  "choose a state.prefix whose slot is on this node (see redis-cli CLUSTER KEYSLOT '{prefix}')";

/** The node that has a key's slot, if a node of a Redis Cluster reported it; otherwise null. */
function slotElsewhere(said: string): string | null {
  const [, slot, node] = /^(?:MOVED|ASK) (\d+) (\S+)/.exec(said) ?? [];
  return node === undefined ? null : `slot ${slot} of the relay's own keys is on ${node}`;
}

/** Why one of the relay's own keys was rejected, and what to do if known. */
export function refusalText(said: string): string {
  const elsewhere = slotElsewhere(said);
  return elsewhere === null
    ? printable(said)
    : `this is a node of a Redis Cluster, and ${elsewhere}: ${PREFIX_ADVICE}`;
}

export function replicaAdvice(address: string, primary: string): string {
  return (
    `Redis at ${address} is a replica of ${primary}; replicas do not publish expirations. ` +
    'Point redis.url at the primary'
  );
}

/** Whether the server is the wrong one, or a login needs a new connection. */
export function needsNewConnection(failure: RelayError): boolean {
  return [RedisIsReplicaError, RedisSlotError, RedisAuthError].some((of) => failure instanceof of);
}
