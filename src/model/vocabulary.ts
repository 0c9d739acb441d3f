/**
 * The relay's nouns, types only. Times are milliseconds since the Unix epoch (`…AtMs`), durations are milliseconds
 * (`…Ms`), sizes are bytes (`…Bytes…`).
 *
 * route · endpoint · expiration · deadline · delivery · attempt · outcome · disposition · dead letter
 */

import type { BodyFormat, ContentType, Method } from './body-format.js';
import type { Endpoint } from './endpoint.js';
import type { LogFormat, LogLevel } from './log-settings.js';
import type { Pattern } from './pattern.js';
import type {
  ClusterSettings,
  RedisCredentials,
  RedisFiles,
  SentinelSettings,
} from './redis-login.js';
import type { Secret } from './secret.js';

/** How the relay learned of an expiration. `recovery` is inferred, and marked as such for the receiver. */
export type DetectedBy = 'notification' | 'recovery';

/** The expiration of a key. Created by capture, from an event and the deadline index. */
export interface Expiration extends KeyInDatabase {
  /** The deadline by Redis's clock; null when it was never known. */
  readonly expiredAtMs: number | null;
  /** When the relay learned of the expiration, by Redis's clock. */
  readonly detectedAtMs: number;
  readonly detectedBy: DetectedBy;
}

/** A key and its database. */
export interface KeyInDatabase {
  /** The logical database's number, as in `SELECT`. */
  readonly database: number;
  /** The key's exact bytes, not necessarily UTF-8. */
  readonly key: Buffer;
}

/** A change of a key, in the order in which Redis published it. Created by the source, or by recovery. */
export type KeyEvent = ExpiredEvent | ChangedEvent | RemovedEvent | CreatedEvent;

interface DetectedEvent extends KeyInDatabase {
  /** When the relay learned of the change, in milliseconds by the clock of the Redis that holds the keys. */
  readonly detectedAtMs: number;
  /** The marks between which Redis published the event; absent for an event that the relay found by itself. */
  readonly interval?: Interval;
  /** Whether the event comes from the replay buffer: another replica may have captured it. */
  readonly isReplayed?: boolean;
}

/** The events between two marks. All replicas that receive both marks receive the same events between them. */
export interface Interval {
  /** The mark before the interval; null if this replica received none. */
  readonly before: string | null;
  /** The mark after the interval; null until it arrives. */
  readonly after: string | null;
  /** Increases with each interval of this process. */
  readonly ordinal: number;
  /** The number of expirations in the interval, by database. */
  readonly counts: ReadonlyMap<number, number>;
}

/** A mark that the lease holder put into the sequence of events. */
export interface MarkEvent {
  readonly kind: 'mark';
  readonly mark: string;
}

/** The key expired. */
export interface ExpiredEvent extends DetectedEvent {
  readonly kind: 'expired';
  readonly detectedBy: DetectedBy;
  /** The number of earlier expirations in the database and interval; absent if the relay found it itself. */
  readonly index?: number;
}

/** The key's deadline must be read again. */
export interface ChangedEvent extends DetectedEvent {
  readonly kind: 'changed';
  /** The deadline read after the change, if any: a key that is missing by now expired at that deadline. */
  readonly readDeadlineMs?: number;
  /** The key was removed where it was, and may have moved: if it is missing everywhere, it did not expire. */
  readonly isRemoval?: boolean;
  /** The key was removed before: the index may have an entry of that life. */
  readonly followsRemoval?: boolean;
  /** Published by a primary that did not have the key's slot, as far as known: the key may be on its way there. */
  readonly isHint?: boolean;
}

/** The key was deleted, evicted, renamed or moved. */
export interface RemovedEvent extends DetectedEvent {
  readonly kind: 'removed';
}

/** The key did not exist before. Servers publish the event from Redis 7 on, if enabled. */
export interface CreatedEvent extends DetectedEvent {
  readonly kind: 'created';
}

/** When a key will expire. Kept by the deadline index. */
export interface Deadline extends KeyInDatabase {
  /** By the clock of the Redis that holds the key. */
  readonly deadlineMs: number;
}

/** An expiration that is captured, and whose entry leaves the deadline index. */
export interface CapturedExpiration extends KeyInDatabase {
  /** The index entry's deadline, by the clock of its Redis; null when there was no entry. */
  readonly deadlineMs: number | null;
  /** When the key was known to be gone, by the same clock: an older entry belongs to the same expiration. */
  readonly detectedAtMs: number;
  /** The names under which the expiration is captured; at least one. */
  readonly names: readonly string[];
}

/** A key's TTL state as read by the source, for the deadline index. */
export interface KeyReading extends KeyInDatabase {
  /**
   * `persistent`: the key exists without a deadline. `elsewhere`: this cluster node cannot tell, because the key's
   * slot is on another node or being migrated there.
   */
  readonly ttl: 'volatile' | 'persistent' | 'missing' | 'elsewhere';
  /** Set when `ttl` is `volatile`, else 0. */
  readonly deadlineMs: number;
  /** The time of the read, by the clock of the Redis that holds the key. */
  readonly readAtMs: number;
}

/** Patterns and endpoints: which keys cause webhooks, and for which endpoints. From the configuration. */
export interface Route {
  readonly name: string;
  /** Tried in order; the first match sets the params. */
  readonly patterns: readonly Pattern[];
  /** Names of endpoints, at least one, each once. */
  readonly to: readonly string[];
  /** The webhook's `type`. */
  readonly type: string;
  /** Appended to the endpoint's URL, with `{name}`s to fill in; empty when not configured. */
  readonly path: string;
  readonly method: Method;
  readonly format: BodyFormat;
  /** The maximum age of a webhook at an attempt; null for none. */
  readonly maxAgeMs: number | null;
  /** Whether inferred expirations are delivered. */
  readonly onAmbiguous: 'deliver' | 'skip';
  /** Whether the webhook carries the value that the key had. */
  readonly includesValue: boolean;
  /** Another key whose value the webhook carries, with `{name}`s to fill in; null for none. */
  readonly lookup: string | null;
  /** Limit for either value; a larger value is omitted. */
  readonly valueBytesMax: number;
}

/** One expiration for one route and endpoint. Created by capture, kept by the outbox. */
export interface Delivery {
  /** The webhook id: the same on every attempt, contains no `.`. */
  readonly id: string;
  /** The endpoint's name. */
  readonly endpoint: string;
  /** The route's name. */
  readonly route: string;
  /** Appended to the endpoint's URL: filled in and percent-encoded; empty when the route has none. */
  readonly path: string;
  readonly method: Method;
  /** Null for a request without a body. */
  readonly contentType: ContentType | null;
  /** The exact bytes that every attempt signs and sends. */
  readonly body: Buffer;
  /** The key escaped and truncated, for logs only. */
  readonly keyLabel: string;
  readonly database: number;
  readonly expiredAtMs: number | null;
  readonly detectedAtMs: number;
  readonly detectedBy: DetectedBy;
}

/** Why an attempt got no response. */
export type UnreachableReason =
  | 'timeout'
  | 'dns'
  | 'connection_refused'
  | 'connection_reset'
  | 'tls'
  | 'protocol'
  | 'network'
  /** The proxy was unreachable, or did not connect to the endpoint. */
  | 'proxy'
  /** The address is forbidden: link-local, or a cloud's metadata. No connection is made. */
  | 'forbidden_address'
  /** The relay cancelled the attempt when the grace period of a stop ended. */
  | 'stopped'
  /** An unexpected error in the relay: a bug. */
  | 'internal_error';

/** Defects of a response whose status still counts; absent when there are none. */
export interface ResponseFaults {
  /** Why the response could not be read to its end. */
  readonly malformed?: string;
  /** An invalid `Retry-After`, escaped for printing. */
  readonly unreadableRetryAfter?: string;
}

/** Nothing was sent and no attempt was made: this process or machine lacks a resource. */
export interface Prevented {
  readonly kind: 'prevented';
  /** The system's error code, such as EMFILE. */
  readonly code: string;
  readonly detail: string;
}

/** The outcome of one attempt. */
export type Outcome =
  | ({
      readonly kind: 'accepted';
      readonly status: number;
      readonly answer: string;
    } & ResponseFaults)
  | ({
      readonly kind: 'rejected';
      readonly status: number;
      /** From `Retry-After` on 429 and 503: how long to send nothing to the endpoint. */
      readonly retryAfterMs: number | null;
      /** The redirect target, without login and query; null when there is none, or it shows a secret. */
      readonly location: string | null;
      /** The start of the response's body, escaped for printing. */
      readonly answer: string;
    } & ResponseFaults)
  | {
      readonly kind: 'unreachable';
      readonly reason: UnreachableReason;
      /** The error code of Node or OpenSSL; empty when there is none. */
      readonly code: string;
      /** The network error, for the operator. */
      readonly detail: string;
    };

/** Why a delivery was dead-lettered. */
export type DeadReason =
  /** All retries failed. */
  | 'exhausted'
  /** The endpoint returned 410. */
  | 'gone'
  /** It was older than the `max_age` of its route before an attempt. */
  | 'too_old'
  /** No running replica's configuration has the endpoint any more. */
  | 'unknown_endpoint';

/** closed: `concurrency` concurrent attempts. half_open: fewer, or a single probe. open: none. */
export type BreakerState = 'closed' | 'half_open' | 'open';

/** The effect of an attempt on the breaker. */
export type BreakerChange =
  | { readonly kind: 'opened'; readonly openMs: number }
  /** The endpoint responds, but concurrency is still below the configured one. */
  | { readonly kind: 'limited' }
  | { readonly kind: 'closed' };

/** The next step for a delivery. */
export type Disposition =
  | { readonly kind: 'done' }
  /** `notBeforeMs`: by this replica's monotonic clock, which no clock change affects. */
  | { readonly kind: 'retry'; readonly notBeforeMs: number; readonly failure: FailedAttempt }
  | {
      readonly kind: 'dead';
      readonly reason: DeadReason;
      /** The last attempt's outcome, for people; null when no attempt was made. */
      readonly lastOutcome: string | null;
      /** The last attempt; null when no attempt was made. */
      readonly failure: FailedAttempt | null;
    };

/** The next step for a delivery whose attempt failed, or was not made. */
export type FailureDisposition = Exclude<Disposition, { readonly kind: 'done' }>;

/** A failed attempt, for the history of its delivery. */
export interface FailedAttempt {
  /** By this replica's monotonic clock. */
  readonly startedMs: number;
  /** A whole number. */
  readonly durationMs: number;
  /** `HTTP 500`, or an UnreachableReason. */
  readonly outcome: string;
}

/** A failed attempt in the history of a delivery. */
export interface RecordedAttempt {
  /** By the clock of the state Redis, or of this machine if the state is in memory. */
  readonly startedAtMs: number;
  readonly durationMs: number;
  /** As in FailedAttempt; a newer relay may use other words. */
  readonly outcome: string;
}

/** A delivery that will not be attempted again; keeps its id and body. */
export interface DeadLetter {
  readonly delivery: Delivery;
  readonly reason: DeadReason;
  readonly attempts: number;
  /** The last attempt's outcome, for people; null when unknown. */
  readonly lastOutcome: string | null;
  readonly diedAtMs: number;
  /**
   * The recorded attempts, oldest first: at most HISTORY_MAX. Attempts of a replica that crashed, or of version 0.1,
   * are counted in `attempts` and missing here.
   */
  readonly history: readonly RecordedAttempt[];
}

/** A Redis server and the login to it. */
export interface RedisAddress extends RedisCredentials {
  /** Empty for a Unix socket, and while the sentinels or the cluster have not named the primary. */
  readonly host: string;
  readonly port: number;
  /** The path of a Unix socket; null for TCP. */
  readonly path: string | null;
  /** The sentinels that name the host and port; null when the configuration has the address. */
  readonly sentinel: SentinelSettings | null;
  /** The cluster whose nodes name the host and port; null: the server is addressed as one server. */
  readonly cluster: ClusterSettings | null;
  readonly username: string | null;
  /** Null when neither the password nor a certificate comes from a file. */
  readonly files: RedisFiles | null;
}

/** The Redis whose keys expire, from the configuration. */
export interface RedisSettings extends RedisAddress {
  /** The logical databases to watch, each once. */
  readonly databases: readonly number[];
  /** Whether the relay may change the server's notify-keyspace-events. */
  readonly notifications: 'manage' | 'require';
}

/** Retention limits for each endpoint's dead letters. */
export interface DeadLetterLimits {
  /** Maximum time since the delivery was dead-lettered. */
  readonly keepMs: number;
  /** The oldest dead letters are deleted first. */
  readonly countMax: number;
}

/** Where the state is stored, from the configuration. */
export type StateSettings =
  | { readonly kind: 'memory'; readonly prefix: string }
  | {
      readonly kind: 'redis';
      readonly redis: RedisAddress;
      /** The logical database's number. */
      readonly database: number;
      /** The section of the configuration that has the server's address, for messages. */
      readonly section: 'redis' | 'state';
      /** Every key of the relay begins with the prefix, in braces. */
      readonly prefix: string;
      readonly deadLetters: DeadLetterLimits;
      /**
       * How long deliveries wait for an endpoint that is in no running replica's configuration, before they are
       * dead-lettered.
       */
      readonly unknownEndpointGraceMs: number;
    };

/** An address to listen on; port 0 lets the system choose. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** The API of the admin port. */
export interface PageSettings {
  readonly enabled: boolean;
  /** Whether requests that change something are refused. */
  readonly readOnly: boolean;
  /** The value of the Authorization header of each request; null: none is required. */
  readonly authorization: Secret | null;
  /** Names by which clients may address the port, beside those of this machine; in lower case. */
  readonly allowedHosts: readonly string[];
}

/** The validated configuration, with defaults filled in and secrets read. */
export interface Settings {
  readonly redis: RedisSettings;
  readonly state: StateSettings;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly routes: readonly Route[];
  readonly admin: { readonly listen: ListenAddress; readonly page: PageSettings };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  readonly shutdown: { readonly graceMs: number };
}
