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
import type { LoginSection } from '../model/redis-login.js';
import { isReply, isUnknownCommand } from './refusal.js';
import { type Place, settingNames } from './setting-names.js';

/**
 * host:port, host:port (the primary of NAME) or unix:///path, for messages and logs: no user name, no password. While
 * the sentinels have not named the primary, it has no host.
 */
export function addressOf(place: Place): string {
  const { host, port, path = null, sentinel = null, cluster = null } = place;
  if (path !== null) return `unix://${printable(path)}`;
  if ((sentinel !== null || cluster !== null) && host === '') return placeOf(place);
  const at = host.includes(':') ? `[${host}]:${port}` : `${printable(host)}:${port}`;
  return sentinel === null ? at : `${at} (${placeOf(place)})`;
}

/** Identifies a Redis by its configuration: the primary of some sentinels is one Redis, wherever it is now. */
export function placeOf(place: Place): string {
  const { sentinel = null, cluster = null } = place;
  const [node] = cluster?.nodes ?? [];
  if (node !== undefined) return `the cluster of ${addressOf(node)}`;
  return sentinel === null ? addressOf(place) : `the primary of ${sentinel.master}`;
}

/** The server, as the subject of a message. */
function serverAt(place: Place, section: LoginSection): string {
  const kind = section.endsWith('.sentinel') ? 'the Sentinel' : 'Redis';
  return `${kind} at ${addressOf(place)}`;
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
      `${at} is a node of a Redis Cluster, and ${elsewhere}. Point ${settingNames(address, section).server} at that node, ` +
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
  section: LoginSection = 'redis',
  loginDefect: string | null = null,
): RelayError {
  const server = serverAt(settings, section);
  const said = printable(messageOf(thrown));
  const code = /^-?([A-Z]+)/.exec(said)?.[1] ?? '';
  const { url } = settingNames(settings, section);
  const setting = url === null ? '' : `${url}, or `;
  switch (code) {
    case 'NOAUTH':
      return new RedisAuthError(
        `${server} requires a password. Set ${section}.password_file (or ${section}.password)`,
      );
    case 'WRONGPASS':
      return new RedisAuthError(
        `${server} rejects the user name or password (${said}). Check ` +
          `${setting}${section}.username and ${section}.password_file (or ${section}.password)` +
          (loginDefect === null ? '' : ` (${loginDefect})`),
      );
    case 'NOPERM':
      return new RedisPermissionError(`${server} denies a required permission: ${said}`);
    case 'READONLY':
      return replicaError(settings, 'another server');
    case 'LOADING':
    case 'BUSY':
    case 'MASTERDOWN':
      return new RedisNotReadyError(`${server} is not ready: ${said}`);
    case 'CLUSTERDOWN':
      return new RedisNotReadyError(
        `${server} is a node of a Redis Cluster in which no node serves the relay's own ` +
          `keys (${said}). Check redis-cli CLUSTER INFO, and that each slot has a node`,
      );
  }
  if (said.startsWith('DENIED')) {
    return new RedisAuthError(
      `${server} is in protected mode and accepts only local clients. Set a password ` +
        `there and in ${section}.password_file`,
    );
  }
  if (/max number of clients/i.test(said)) {
    return new RedisNotReadyError(
      `${server} has reached maxclients. Raise maxclients, or disconnect some clients`,
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
      `${server} does not support a required command (${said}); it may be a proxy. ` +
        `Point ${settingNames(settings, section).server} at Redis itself`,
    );
  }
  if (isReply(thrown)) return new RedisReplyError(`${server} returned an error: ${said}`);
  return new RedisUnreachableError(`${server} cannot be reached: ${said}`);
}

export function notRedis(expected: string, place: Place, section: LoginSection): NotRedisError {
  return new NotRedisError(
    `the server at ${addressOf(place)} is not Redis (expected ${expected}). Check ` +
      settingNames(place, section).server,
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

/** Why the relay does not watch a replica; `primary`: null when unknown. */
export function replicaText(place: Place, primary: string | null): string {
  return (
    `Redis at ${addressOf(place)} is a replica of ${printable(primary ?? 'an unknown primary')}; replicas do not ` +
    `publish expirations. ${replicaRemedy(place, 'redis').text}`
  );
}

export function replicaError(place: Place, primary: string | null): RedisIsReplicaError {
  return new RedisIsReplicaError(
    replicaText(place, primary),
    replicaRemedy(place, 'redis').isAwaited,
  );
}

/** What is to be done about a replica. `isAwaited`: the sentinels do it, and the relay waits. */
export function replicaRemedy(
  { sentinel = null, cluster = null }: Place,
  section: 'redis' | 'state',
): { readonly text: string; readonly isAwaited: boolean } {
  if (cluster !== null) {
    const text = 'The relay waits until it is a primary, or the cluster names another node';
    return { text, isAwaited: true };
  }
  if (sentinel === null) {
    return { text: `Point ${section}.url at the primary`, isAwaited: false };
  }
  const text = 'The relay waits until it is the primary, or the sentinels name another server';
  return { text, isAwaited: true };
}

/** Whether the server is the wrong one, or a login needs a new connection. */
export function needsNewConnection(failure: RelayError): boolean {
  return [RedisIsReplicaError, RedisSlotError, RedisAuthError].some((of) => failure instanceof of);
}
