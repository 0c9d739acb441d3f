/**
 * The nouns of the relay, types only. Every time is in milliseconds since the Unix epoch (`…AtMs`)
 * or a length in milliseconds (`…Ms`); every size is in bytes (`…Bytes…`).
 *
 * route · endpoint · expiration · deadline · delivery · attempt · outcome · disposition · dead letter
 */

import type { BodyFormat, ContentType, Method } from './body-format.js';
import type { Endpoint } from './endpoint.js';
import type { Pattern } from './pattern.js';
import type { RedisCredentials, RedisFiles } from './redis-login.js';

/** How the relay learned of an expiration. `recovery` is inferred, and said so to the receiver. */
export type DetectedBy = 'notification' | 'recovery';

/** A key whose life ended by its deadline. Made by capture, from an event and the index of deadlines. */
export interface Expiration extends KeyInDatabase {
  /** The deadline by Redis's clock; null when it was never known. */
  readonly expiredAtMs: number | null;
  /** When the relay learned of it, by Redis's clock. */
  readonly detectedAtMs: number;
  readonly detectedBy: DetectedBy;
}

/** A key, and where it is. */
export interface KeyInDatabase {
  /** The logical database's number, as in `SELECT`. */
  readonly database: number;
  /** The key's exact bytes; they need not be UTF-8. */
  readonly key: Buffer;
}

/** What became of a key, in the order in which Redis published it. Made by the source, or by what the relay found. */
export type KeyEvent = ExpiredEvent | ChangedEvent | RemovedEvent | CreatedEvent;

interface DetectedEvent extends KeyInDatabase {
  /** When the relay learned of it, in milliseconds by the clock of the Redis that holds the keys. */
  readonly detectedAtMs: number;
}

/** The life of the key ended by its deadline. */
export interface ExpiredEvent extends DetectedEvent {
  readonly kind: 'expired';
  readonly detectedBy: DetectedBy;
}

/** The deadline of the key is to be read again. */
export interface ChangedEvent extends DetectedEvent {
  readonly kind: 'changed';
  /** The deadline read after the change, if it was read: a key that is gone by now has expired by it. */
  readonly readDeadlineMs?: number;
  /** The key was removed before: the index may have an entry of that life. */
  readonly followsRemoval?: boolean;
}

/** The key was deleted, evicted, renamed or moved. */
export interface RemovedEvent extends DetectedEvent {
  readonly kind: 'removed';
}

/** The key did not exist before. Servers publish it from Redis 7 on, if asked to. */
export interface CreatedEvent extends DetectedEvent {
  readonly kind: 'created';
}

/** When a key will expire. Kept by the index of deadlines. */
export interface Deadline extends KeyInDatabase {
  /** By the clock of the Redis that holds the key. */
  readonly deadlineMs: number;
}

/** A key whose expiration is claimed: it leaves the index of deadlines. */
export interface ConsumedDeadline extends KeyInDatabase {
  /** What the index had, in milliseconds by the clock of its Redis; null when it had nothing. */
  readonly deadlineMs: number | null;
  /** When it was known to be gone, by the same clock: an older entry is about this life, too. */
  readonly detectedAtMs: number;
}

/** What was read of a key. Made by the source, read by the index of deadlines. */
export interface KeyReading extends KeyInDatabase {
  /**
   * `endless`: it is there, and has no deadline. `elsewhere`: a node of a cluster does not say, since
   * another one has its slot or is getting it.
   */
  readonly ttl: 'volatile' | 'persistent' | 'missing' | 'elsewhere';
  /** Set when its life is `until`, else 0. */
  readonly deadlineMs: number;
  /** When it was read, by the clock of the Redis that holds it. */
  readonly readAtMs: number;
}

/** Pattern + endpoints: which keys become webhooks, and where these go. Made from the file. */
export interface Route {
  readonly name: string;
  /** Tried in order; the first that matches gives the params. */
  readonly patterns: readonly Pattern[];
  /** Names of endpoints, at least one, each once. */
  readonly to: readonly string[];
  /** The webhook's `type`. */
  readonly type: string;
  /** Appended to the endpoint's URL, with `{name}`s to fill; empty when the file gives none. */
  readonly path: string;
  readonly method: Method;
  readonly format: BodyFormat;
  /** Whether an expiration that can only be inferred is delivered. */
  readonly onAmbiguous: 'deliver' | 'skip';
  /** Whether the webhook carries the value that the key had. */
  readonly includesValue: boolean;
  /** The key whose value it carries, too, with `{name}`s to fill; null when it carries none. */
  readonly lookup: string | null;
  /** Of either value; a larger one is left out. */
  readonly valueBytesMax: number;
}

/** One expiration for one route and endpoint. Made by capture, kept by the outbox. */
export interface Delivery {
  /** The webhook id: the same on every attempt, holds no `.`. */
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
  /** The key made safe to print, cut to a bounded length: for logs alone. */
  readonly keyLabel: string;
  readonly database: number;
  readonly expiredAtMs: number | null;
  readonly detectedAtMs: number;
  readonly detectedBy: DetectedBy;
}

/** Why an attempt got no answer. */
export type UnreachableCause =
  | 'timeout'
  | 'dns'
  | 'connection_refused'
  | 'connection_reset'
  | 'tls'
  | 'protocol'
  | 'network'
  /** The proxy could not be reached, or would not or could not connect to the endpoint. */
  | 'proxy'
  /** It is where no webhook belongs: link-local, or a cloud's metadata. Not connected to. */
  | 'refused_address'
  /** The relay itself broke it off, at a stop whose grace was over. */
  | 'stopped';

/** What was wrong with a response whose status counts all the same; absent where nothing was. */
export interface ResponseFaults {
  /** Why it could not be read to its end. */
  readonly malformed?: string;
  /** A `Retry-After` that cannot be read, made safe to print. */
  readonly unreadableRetryAfter?: string;
}

/** Nothing was sent: this process or machine lacks what it takes. No attempt was made. */
export interface Prevented {
  readonly kind: 'prevented';
  /** Of the system, such as EMFILE. */
  readonly code: string;
  readonly detail: string;
}

/** What came of one attempt. */
export type Outcome =
  | ({
      readonly kind: 'accepted';
      readonly status: number;
      readonly answer: string;
    } & ResponseFaults)
  | ({
      readonly kind: 'refused';
      readonly status: number;
      /** From `Retry-After` on 429 and 503: how long the whole endpoint wants to be left alone. */
      readonly retryAfterMs: number | null;
      /** Where else it says to go, without login and query; null when it does not, or tells a secret. */
      readonly location: string | null;
      /** The start of the answer's body, made safe to print. */
      readonly answer: string;
    } & ResponseFaults)
  | {
      readonly kind: 'unreachable';
      readonly cause: UnreachableCause;
      /** Of Node or OpenSSL; empty when there is none. */
      readonly code: string;
      /** What the network said; for the operator. */
      readonly detail: string;
    };

/** Why a delivery is given up. */
export type DeadReason =
  /** Its retries are used up. */
  | 'exhausted'
  /** The endpoint answered 410. */
  | 'gone'
  /** No running replica's file has the endpoint any more. */
  | 'unknown_endpoint';

/**
 * closed: `concurrency` attempts at a time. half_open: fewer, or a single probe. open: none.
 */
export type BreakerState = 'closed' | 'half_open' | 'open';

/** What an attempt does to the breaker. */
export type BreakerChange =
  | { readonly kind: 'opened'; readonly openMs: number }
  /** The endpoint responds, and concurrency is below the configured one. */
  | { readonly kind: 'limited' }
  | { readonly kind: 'closed' };

/** What happens next to a delivery. */
export type Disposition =
  | { readonly kind: 'done' }
  /** `notBeforeMs` is by the monotonic clock of this replica: no setting of a clock moves it. */
  | { readonly kind: 'retry'; readonly notBeforeMs: number }
  | {
      readonly kind: 'dead';
      readonly reason: DeadReason;
      /** What came of the last attempt, in words; null when none was made. */
      readonly lastOutcome: string | null;
    };

/** A delivery that was given up; it keeps its id and body. */
export interface DeadLetter {
  readonly delivery: Delivery;
  readonly reason: DeadReason;
  readonly attempts: number;
  /** What came of the last attempt, in words; null when it is not known. */
  readonly lastOutcome: string | null;
  readonly diedAtMs: number;
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
export type LogFormat = 'json' | 'pretty';

/** A Redis server, and who we are to it. */
export interface RedisAddress extends RedisCredentials {
  /** Empty for a Unix socket. */
  readonly host: string;
  readonly port: number;
  /** The path of a Unix socket; null for TCP. */
  readonly path: string | null;
  readonly username: string | null;
  /** Null when neither the password nor a certificate stands in a file. */
  readonly files: RedisFiles | null;
}

/** Where keys expire. Made from the file. */
export interface RedisSettings extends RedisAddress {
  /** The logical databases to watch, each once. */
  readonly databases: readonly number[];
  /** Whether the relay may change the server's notify-keyspace-events. */
  readonly notifications: 'manage' | 'require';
}

/** Which dead letters of each endpoint are kept. */
export interface DeadLetterLimits {
  /** From its death on. */
  readonly keepMs: number;
  /** The oldest makes room. */
  readonly countMax: number;
}

/** What must survive, and where it is kept. Made from the file. */
export type StateSettings =
  | { readonly kind: 'memory'; readonly prefix: string }
  | {
      readonly kind: 'redis';
      readonly redis: RedisAddress;
      /** The logical database's number. */
      readonly database: number;
      /** The part of the file that says how to reach it: where an operator has to look. */
      readonly section: 'redis' | 'state';
      /** Every key of the relay's own begins with it, in braces. */
      readonly prefix: string;
      readonly deadLetters: DeadLetterLimits;
      /**
       * How long deliveries wait for an endpoint that no running replica's file has, before they
       * become dead letters.
       */
      readonly unknownEndpointGraceMs: number;
    };

/** An address to listen on; port 0 lets the system choose. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** All that the file says, checked: every default filled in, every secret read. */
export interface Settings {
  readonly redis: RedisSettings;
  readonly state: StateSettings;
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly routes: readonly Route[];
  readonly admin: { readonly listen: ListenAddress };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  readonly shutdown: { readonly graceMs: number };
}
