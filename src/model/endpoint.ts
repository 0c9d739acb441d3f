/** The nouns of an endpoint, types only; times and sizes as in vocabulary.ts. */
import type { Secret } from './secret.js';

/** A rate that an endpoint's attempts must not exceed. */
export interface RateLimit {
  readonly count: number;
  readonly perMs: number;
}

/** When a delivery that failed is tried again. */
export interface RetrySettings {
  /** The wait before each retry; its length is the number of retries. */
  readonly scheduleMs: readonly number[];
  /** 0–1: the share of each wait that chance may take away. */
  readonly jitter: number;
}

/** What an endpoint's TLS has of its own, in PEM. */
export interface TlsSettings {
  /** The authorities that are trusted instead of Node's own; null for those. */
  readonly ca: Secret | null;
  /** What the relay shows of itself, with its key; null for nothing. */
  readonly client: { readonly cert: Secret; readonly key: Secret } | null;
}

/** A proxy through which an endpoint is reached. */
export interface ProxySettings {
  /** http or https, without credentials, path and query. */
  readonly url: URL;
  /** The header Proxy-Authorization; null when the file gives no user. */
  readonly authorization: Secret | null;
}

/** What a look at files found; `Held` is made from what they hold. */
export type FilesNow<Held> =
  /** Nothing new since the last look. */
  | { readonly kind: 'same' }
  | { readonly kind: 'changed'; readonly held: Held }
  /** One is gone, empty or wrong; `problem` is for the operator, without a secret. */
  | { readonly kind: 'unusable'; readonly problem: string };

/** Files that hold secrets, headers, passwords or certificates. */
export interface WatchedFiles<Held> {
  /** Reads them when they have changed since they were last read. Never rejects. */
  look(): Promise<FilesNow<Held>>;
}

/** Where webhooks go. Made from the file. */
export interface Endpoint {
  readonly name: string;
  /** http or https, without credentials and without a fragment. */
  readonly url: URL;
  /** Each one signs (rotation). Empty: webhooks are sent unsigned, as the file asked. */
  readonly secrets: readonly Secret[];
  /** Sent with each attempt, beside the relay's own; names in lower case. */
  readonly headers: Readonly<Record<string, Secret>>;
  /** One attempt's time from connecting to the last byte read. */
  readonly timeoutMs: number;
  /** Attempts under way at the same time. */
  readonly concurrency: number;
  readonly rateLimit: RateLimit | null;
  readonly retry: RetrySettings;
  /** Null for https as Node does it by itself, and for http. */
  readonly tls: TlsSettings | null;
  /** Null: connected to directly. */
  readonly proxy: ProxySettings | null;
  /** Whether it may be at a link-local address, or at one of a cloud's metadata. */
  readonly allowLinkLocal: boolean;
  /** Null when nothing of it stands in a file of its own. */
  readonly files: WatchedFiles<Endpoint> | null;
}
