/** The types of a login to a Redis. */
import type { TlsSettings } from './endpoint.js';
import type { Secret } from './secret.js';

/** TLS settings for a Redis. */
export interface RedisTls extends TlsSettings {
  /** The expected name in the server's certificate, also sent as SNI; null for the host. */
  readonly serverName: string | null;
  /** File paths as written, for commands shown to operators; null where there is none. */
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  /** Why Node ignores NODE_EXTRA_CA_CERTS; null when Node loaded the file. */
  readonly extraCaProblem: string | null;
}

/** The sections of the configuration that have the login to a server. */
export const LOGIN_SECTIONS = ['redis', 'state', 'redis.sentinel', 'state.sentinel'] as const;
export type LoginSection = (typeof LOGIN_SECTIONS)[number];

/** Credentials that may change while the relay runs, if they come from files. */
export interface RedisCredentials {
  readonly password: Secret | null;
  /** Null without TLS. */
  readonly tls: RedisTls | null;
}

/** The files that hold the password and the certificates for a Redis. */
export interface RedisFiles {
  /**
   * Resolves with the content, or with the last valid content while the files are unusable. `problem` is set only
   * when a problem is first found. Never rejects.
   */
  read(): Promise<{ readonly credentials: RedisCredentials; readonly problem: string | null }>;
  /** Called when the server has accepted a login. */
  onAccepted(): void;
  /** Whether the server has ever accepted a login. */
  readonly wasAccepted: boolean;
}

/** The TCP address of a server. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** The maximum number of sentinels of one primary: the relay holds two connections to each. */
export const SENTINELS_MAX = 100;

/** The maximum number of configured nodes of a cluster. */
export const CLUSTER_NODES_MAX = 1_000;

/** A Redis Cluster. Its nodes have the login of their section. */
export interface ClusterSettings {
  /** Some of the nodes; these report the others. */
  readonly nodes: readonly HostPort[];
  /** By the host:port that the nodes report: the address to connect to. */
  readonly addressMap: ReadonlyMap<string, HostPort>;
}

/** The sentinels that name the primary of a Redis, and the login to them. */
export interface SentinelSettings extends RedisCredentials {
  /** The name of the primary in the configuration of the sentinels. */
  readonly master: string;
  /** Some of the sentinels; these report the others. */
  readonly nodes: readonly HostPort[];
  readonly username: string | null;
  /** Null when neither the password nor a certificate comes from a file. */
  readonly files: RedisFiles | null;
}
