/** The types of an endpoint; times and sizes as in vocabulary.ts. */
import type { Secret } from './secret.js';

/** Maximum rate of an endpoint's attempts. */
export interface RateLimit {
  readonly count: number;
  readonly perMs: number;
}

/** The schedule for retries of a failed delivery. */
export interface RetrySettings {
  /** The delay before each retry; its length is the number of retries. */
  readonly scheduleMs: readonly number[];
  /** 0–1: the maximum random reduction of each delay, as a fraction. */
  readonly jitter: number;
}

/** An endpoint's own TLS settings, in PEM. */
export interface TlsSettings {
  /** The trusted CAs; null for Node's defaults. */
  readonly ca: Secret | null;
  /** The client certificate and its key; null for none. */
  readonly client: { readonly cert: Secret; readonly key: Secret } | null;
}

/** A proxy through which an endpoint is reached. */
export interface ProxySettings {
  /** http or https, without credentials, path and query. */
  readonly url: URL;
  /** The Proxy-Authorization header; null when the configuration has no user. */
  readonly authorization: Secret | null;
}

/** A destination of webhooks, from the configuration. */
export interface Endpoint {
  readonly name: string;
  /** http or https, without credentials and without a fragment. */
  readonly url: URL;
  /** Every secret signs (for rotation). Empty: webhooks are unsigned, as configured. */
  readonly secrets: readonly Secret[];
  /** Headers sent in addition to the relay's own; names in lower case. */
  readonly headers: Readonly<Record<string, Secret>>;
  /** Statuses that are successes in addition to 2xx. */
  readonly accept: ReadonlySet<number>;
  /** Limit for one attempt, from connecting to the last byte read. */
  readonly timeoutMs: number;
  /** Maximum number of concurrent attempts. */
  readonly concurrency: number;
  readonly rateLimit: RateLimit | null;
  readonly retry: RetrySettings;
  /** Null for Node's defaults with https, and for http. */
  readonly tls: TlsSettings | null;
  /** Null for a direct connection. */
  readonly proxy: ProxySettings | null;
  /** Whether link-local addresses and cloud metadata addresses are allowed. */
  readonly allowLinkLocal: boolean;
}
