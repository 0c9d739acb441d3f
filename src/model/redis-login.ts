/** The nouns of a login to a Redis, types only. */
import type { TlsSettings } from './endpoint.js';
import type { Secret } from './secret.js';

/** How TLS to a Redis is spoken. */
export interface RedisTls extends TlsSettings {
  /** The name that the server's certificate must be for, also sent as SNI; null for the host. */
  readonly serverName: string | null;
  /** The files as written, for commands that an operator types; null where there is none. */
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  /** Why Node ignores the file of NODE_EXTRA_CA_CERTS; null when it does not. */
  readonly extraCaProblem: string | null;
}

/** What may change while the relay runs, where it stands in files. */
export interface RedisCredentials {
  readonly password: Secret | null;
  /** Null without TLS. */
  readonly tls: RedisTls | null;
}

/** The files that hold the password and the certificates for a Redis. */
export interface RedisFiles {
  /**
   * Resolves with their content, or with their last valid content when they cannot be used. `problem` is set
   * only the first time that a problem is found. Never rejects.
   */
  read(): Promise<{ readonly credentials: RedisCredentials; readonly problem: string | null }>;
  /** Called when the server has accepted a login. */
  accepted(): void;
  /** Whether the server has ever accepted a login. */
  readonly wasAccepted: boolean;
}
