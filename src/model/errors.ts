/**
 * One small class per cause. A message tells the operator what was expected, what was found and what to do; the
 * class tells whether waiting can help.
 */

export abstract class RelayError extends Error {
  /** Whether the same step may succeed later without an operator. */
  abstract readonly retryable: boolean;

  override get name(): string {
    return this.constructor.name;
  }
}

/** The configuration is invalid; the message lists every error. */
export class SettingsError extends RelayError {
  readonly retryable = false;
}

/** No configuration file was named, and no default file exists. */
export class NoSettingsFileError extends SettingsError {}

/** Invalid command-line usage. */
export class UsageError extends RelayError {
  readonly retryable = false;
}

/** A key that no route matches, or in a database that is not watched. */
export class NothingToSendError extends RelayError {
  readonly retryable = false;
}

/** Nothing responds at the address, or the connection broke. */
export class RedisUnreachableError extends RelayError {
  readonly retryable = true;
}

/** A connection is established, but gets no response or is closed; the message says what to check. */
export class RedisUnresponsiveError extends RedisUnreachableError {}

/** Redis responds but is not ready: it is loading its data, or is busy with a script. */
export class RedisNotReadyError extends RelayError {
  readonly retryable = true;
}

/** Redis rejects the user name or password, or requires one. */
export class RedisAuthError extends RelayError {
  readonly retryable = false;
}

/** Redis rejects a login that it accepted before: the password is being changed. */
export class RedisLoginPendingError extends RelayError {
  readonly retryable = true;
}

/** An error reply that has no class of its own. */
export class RedisReplyError extends RelayError {
  readonly retryable = true;
}

/** The login succeeded, but the user lacks permission for a required command. */
export class RedisPermissionError extends RelayError {
  readonly retryable = false;
}

/** Redis's certificate is not trusted, or TLS fails otherwise. */
export class RedisTlsError extends RelayError {
  readonly retryable = false;
}

/** The server is not Redis, or is a Redis without keys, such as a Sentinel. */
export class NotRedisError extends RelayError {
  readonly retryable = false;
}

/** A replica never publishes `expired`. */
export class RedisIsReplicaError extends RelayError {
  /** `retryable`: sentinels name the server, and may soon name another one. */
  constructor(
    message: string,
    readonly retryable: boolean,
  ) {
    super(message);
  }
}

/** The sentinels cannot be reached, or no majority of them names one primary. */
export class NoPrimaryError extends RelayError {
  readonly retryable = true;
}

/** The sentinels monitor no primary of the configured name. */
export class UnknownPrimaryError extends RelayError {
  readonly retryable = false;
}

/** The server is no longer the primary that the relay connected to. */
export class RedisChangedError extends RelayError {
  readonly retryable = true;
}

/** A Redis Cluster node without the slot of the relay's own keys. */
export class RedisSlotError extends RelayError {
  readonly retryable = false;
}

/** The server has fewer databases than the configuration needs. */
export class NoDatabaseError extends RelayError {
  readonly retryable = false;
}

/** The server does not publish expirations, and the relay is not allowed to change the setting. */
export class NotificationsOffError extends RelayError {
  readonly retryable = false;
}

/** Another client removed event classes from the server's setting after the relay connected. */
export class NotificationsLostError extends RelayError {
  readonly retryable = true;
}

/** The canary's expiration was not received: notifications do not flow on this connection. */
export class CanaryLostError extends RelayError {
  readonly retryable = true;
}

/** The state is currently not readable or writable. */
export class StateUnavailableError extends RelayError {
  readonly retryable = true;
}

/** Another replica holds the lease, so this one's writes are rejected. */
export class FencedError extends RelayError {
  readonly retryable = false;
}

/** The prefix belongs to a version of the relay with another state format. */
export class StateFormatError extends RelayError {
  readonly retryable = true;
}

/** The state belongs to a server other than the one that this replica watches. */
export class WatchedServerError extends RelayError {
  /** `retryable`: it may be the same server, with a change that another replica has not noticed yet. */
  constructor(
    message: string,
    readonly retryable: boolean,
  ) {
    super(message);
  }
}

/** The state is in the relay's own memory, out of reach for commands. */
export class StateInMemoryError extends RelayError {
  readonly retryable = false;
}

/** The address of the admin port is unavailable. */
export class ListenError extends RelayError {
  readonly retryable = false;
}

/** The error code of Node or OpenSSL; empty when there is none. */
export function codeOf(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
}

/** The message of any thrown value, without a stack trace. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.message === '') {
    return thrown.errors.map(messageOf).join('; ');
  }
  if (!(thrown instanceof Error)) return String(thrown);
  // The message of an OpenSSL error begins with numbers, and ends with a line of its source code.
  if ('library' in thrown && 'reason' in thrown) return `TLS error: ${thrown.reason}`;
  return thrown.message;
}
