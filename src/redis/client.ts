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
      `${at} lacks a command that the relay needs (${said}): run expiry-relay doctor to see which`,
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
  return error instanceof RedisReplyError
    ? new StateUnavailableError(`${at} answered: ${said}`)
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
        `Redis at ${address} wants a password: set ${section}.password_file (or ${section}.password)`,
      );
    case 'WRONGPASS':
      return new RedisAuthError(
        `Redis at ${address} refuses the user name or password (${said}): check those of ` +
          `${section}.url, or ${section}.username and ${section}.password_file (or ${section}.password)` +
          (loginDefect === null ? '' : ` (${loginDefect})`),
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
  if (isUnknownCommand(thrown)) {
    return new NotRedisError(
      `the server at ${address} lacks a command that the relay needs (${said}), as a proxy does: ` +
        `point ${section}.url at Redis itself`,
    );
  }
  if (isReply(thrown)) return new RedisReplyError(`Redis at ${address} answered: ${said}`);
  return new RedisUnreachableError(`Redis at ${address} cannot be reached: ${said}`);
}

export function notRedis(
  expected: string,
  place: Place,
  section: 'redis' | 'state',
): NotRedisError {
  return new NotRedisError(
    `what answers at ${addressOf(place)} is not Redis (expected ${expected}): check ${section}.url`,
  );
}

/** Converts an error, unless it is one of the relay's already. */
export function redisErrorOf(thrown: unknown, settings: Place): RelayError {
  return thrown instanceof RelayError ? thrown : redisError(thrown, settings);
}

/** The advice for keeping the relay's keys on this node of a cluster. */
const PREFIX_ADVICE =
  "choose a state.prefix whose slot is on this one (redis-cli CLUSTER KEYSLOT '{prefix}' tells it)";

/** The node that has a key's slot, if a node of a Redis Cluster reported it; otherwise null. */
function slotElsewhere(said: string): string | null {
  const [, slot, node] = /^(?:MOVED|ASK) (\d+) (\S+)/.exec(said) ?? [];
  return node === undefined ? null : `slot ${slot}, that of the relay's own keys, is on ${node}`;
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
    `Redis at ${address} is a replica of ${primary}; replicas never publish expirations: ` +
    'point redis.url at the primary'
  );
}

/** Whether the server is the wrong one, or a login needs a new connection. */
export function needsNewConnection(failure: RelayError): boolean {
  return [RedisIsReplicaError, RedisSlotError, RedisAuthError].some((of) => failure instanceof of);
}
