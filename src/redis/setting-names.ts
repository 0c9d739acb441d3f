/** The settings that messages about a connection name. Pure. */
import type { LoginSection } from '../model/redis-login.js';

/** The address of a Redis or of a Sentinel. */
export interface Place {
  readonly host: string;
  readonly port: number;
  /** The path of a Unix socket. */
  readonly path?: string | null;
  /** The sentinels that named the host and port. */
  readonly sentinel?: { readonly master: string } | null;
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
  { sentinel = null }: Pick<Place, 'sentinel'>,
  section: LoginSection,
): SettingNames {
  const isOfSentinels = section.endsWith('.sentinel');
  if (!isOfSentinels && sentinel === null) {
    const server = `${section}.url`;
    return {
      server,
      url: server,
      turnTlsOn: 'use rediss://',
      turnTlsOff: `use redis:// in ${server}`,
    };
  }
  return {
    server: isOfSentinels ? `${section}.nodes` : `${section}.sentinel`,
    url: null,
    turnTlsOn: `set ${section}.tls`,
    turnTlsOff: `remove ${section}.tls`,
  };
}
