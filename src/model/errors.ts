/**
 * One small class per cause. Each says what was expected, what was found and what to do, in words
 * for the operator, and whether waiting can help.
 */

export abstract class RelayError extends Error {
  /** Whether the same step may succeed later without anybody doing anything. */
  abstract readonly retryable: boolean;

  override get name(): string {
    return this.constructor.name;
  }
}

/** The file is wrong; the message lists every mistake. */
export class SettingsError extends RelayError {
  readonly retryable = false;
}

/** No file was named, and none is where one would be. */
export class NoSettingsFileError extends SettingsError {}

/** Wrong words on the command line. */
export class UsageError extends RelayError {
  readonly retryable = false;
}

/** A key that no route takes, or that is where nobody looks. */
export class NothingToSendError extends RelayError {
  readonly retryable = false;
}

/** Nobody answers at that address, or the connection broke. */
export class RedisUnreachableError extends RelayError {
  readonly retryable = true;
}

/** A connection can be made, but no answer comes, or it is closed; the message says what to check. */
export class RedisUnresponsiveError extends RedisUnreachableError {}

/** Redis answers, but not yet: it loads its data, or is busy with a script. */
export class RedisNotReadyError extends RelayError {
  readonly retryable = true;
}

/** Redis refuses the name or password, or wants one. */
export class RedisAuthError extends RelayError {
  readonly retryable = false;
}

/** Redis refuses a login that it has accepted before: its password is being changed. */
export class RedisLoginPendingError extends RelayError {
  readonly retryable = true;
}

/** Redis answers a command with an error for which there is no class of its own. */
export class RedisReplyError extends RelayError {
  readonly retryable = true;
}

/** Redis knows us, but forbids a command that the relay cannot do without. */
export class RedisPermissionError extends RelayError {
  readonly retryable = false;
}

/** Redis's certificate does not verify, or TLS fails in another way. */
export class RedisTlsError extends RelayError {
  readonly retryable = false;
}

/** What answers there is not Redis, or a part of it that holds no keys, such as a Sentinel. */
export class NotRedisError extends RelayError {
  readonly retryable = false;
}

/** A replica never publishes `expired`. */
export class RedisIsReplicaError extends RelayError {
  readonly retryable = false;
}

/** The server is not the primary that it was when the relay connected. */
export class RedisChangedError extends RelayError {
  readonly retryable = true;
}

/** A node of a Redis Cluster, of which another one has the slot of the relay's own keys. */
export class RedisSlotError extends RelayError {
  readonly retryable = false;
}

/** The server has fewer databases than the file wants watched. */
export class NoDatabaseError extends RelayError {
  readonly retryable = false;
}

/** The server does not publish expirations, and the relay may not make it. */
export class NotificationsOffError extends RelayError {
  readonly retryable = false;
}

/** Somebody has taken classes out of the server's setting while the relay listened. */
export class NotificationsLostError extends RelayError {
  readonly retryable = true;
}

/** The canary's expiration was not heard: notifications do not flow on this connection. */
export class CanaryLostError extends RelayError {
  readonly retryable = true;
}

/** What must survive cannot be read or written now. */
export class StateUnavailableError extends RelayError {
  readonly retryable = true;
}

/** Another replica watches by now: what this one wanted to capture is the other's. */
export class FencedError extends RelayError {
  readonly retryable = false;
}

/** The prefix is used by a version of the relay that keeps its state in another way. */
export class StateFormatError extends RelayError {
  readonly retryable = true;
}

/** The state is about the keys of another server than the one that this replica watches. */
export class WatchedServerError extends RelayError {
  /** `retryable`: it may be the same server after all, which another replica has yet to notice. */
  constructor(
    message: string,
    readonly retryable: boolean,
  ) {
    super(message);
  }
}

/** The state is kept in the relay's own memory, where no command reaches it. */
export class StateInMemoryError extends RelayError {
  readonly retryable = false;
}

/** The address for the admin port cannot be had. */
export class ListenError extends RelayError {
  readonly retryable = false;
}

/** The code that Node or OpenSSL has given an error; empty when there is none. */
export function codeOf(thrown: unknown): string {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
}

/** The text of anything that was thrown, without a stack. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.message === '') {
    return thrown.errors.map(messageOf).join('; ');
  }
  return thrown instanceof Error ? thrown.message : String(thrown);
}
