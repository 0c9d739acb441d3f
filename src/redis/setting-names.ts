/** The settings that messages about a connection name. Pure. */
import type { ClusterSettings, LoginSection } from '../model/redis-login.js';

/** The address of a Redis or of a Sentinel. */
export interface Place {
  readonly host: string;
  readonly port: number;
  /** The path of a Unix socket. */
  readonly path?: string | null;
  /** The sentinels that named the host and port. */
  readonly sentinel?: { readonly master: string } | null;
  /** The cluster whose nodes named the host and port. */
  readonly cluster?: Pick<ClusterSettings, 'nodes'> | null;
}

export interface SettingNames {
  /** The setting with the address of the server. */
  readonly server: string;
  /** The setting with the URL of the server; null: there is none. */
  readonly url: string | null;
  /** Clauses for advice. */
  readonly turnTlsOn: string;
  readonly turnTlsOff: string;
}

export function settingNames(
  { sentinel = null, cluster = null }: Pick<Place, 'sentinel' | 'cluster'>,
  section: LoginSection,
): SettingNames {
  const isOfSentinels = section.endsWith('.sentinel');
  if (!isOfSentinels && sentinel === null && cluster === null) {
    const server = `${section}.url`;
    return {
      server,
      url: server,
      turnTlsOn: 'use rediss://',
      turnTlsOff: `use redis:// in ${server}`,
    };
  }
  const way = cluster === null ? 'sentinel' : 'cluster';
  return {
    server: isOfSentinels ? `${section}.nodes` : `${section}.${way}`,
    url: null,
    turnTlsOn: `set ${section}.tls`,
    turnTlsOff: `remove ${section}.tls`,
  };
}
