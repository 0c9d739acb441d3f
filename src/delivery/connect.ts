/**
 * How connections to an endpoint are made, for an attempt or only to see whether they can be: with
 * its certificates, through its proxy, and never to an address where no webhook belongs.
 */
import type { LookupFunction, Socket } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { buildConnector, errors } from 'undici';
import type { Clock } from '../clock.js';
import type { Endpoint, ProxySettings, TlsSettings } from '../endpoint.js';
import { messageOf } from '../errors.js';
import { isRefusedAddress } from './refused-addresses.js';
import { openTunnel, ProxyError, proxyText } from './tunnel.js';

export type Connector = buildConnector.connector;

/** Nobody was connected to. */
export class RefusedAddressError extends Error {
  readonly code = 'ERR_REFUSED_ADDRESS';

  constructor(host: string, address: string) {
    const what = host === address ? address : `${host} leads to ${address}, which`;
    super(
      `${what} is link-local, or a cloud's metadata: not connected to ` +
        '(allow_link_local: true in the file allows it)',
    );
  }
}

export interface ConnectorParts {
  readonly clock: Clock;
  readonly lookup: LookupFunction;
  /** From the beginning to a connection that is ready for a request. */
  readonly timeoutMs: number;
}

export function createConnector(endpoint: Endpoint, parts: ConnectorParts): Connector {
  const { url, proxy, tls, allowLinkLocal } = endpoint;
  // An address that stands in a URL is never looked up.
  const literal = [url, proxy?.url].find((one) => one && isRefusedAddress(one.hostname));
  if (literal !== undefined && !allowLinkLocal) {
    const { hostname } = literal;
    const error = new RefusedAddressError(hostname, hostname);
    return (_, callback) => queueMicrotask(() => callback(error, null));
  }
  const lookup = allowLinkLocal ? parts.lookup : guarded(parts.lookup);
  const options = { timeout: parts.timeoutMs, lookup, allowH2: false };
  const toEndpoint = buildConnector({ ...options, ...tlsOptions(tls) });
  if (proxy === null) return toEndpoint;
  // The endpoint's certificates are no business of the proxy.
  return throughProxy(proxy, buildConnector(options), toEndpoint, parts);
}

/** What a connector is told of a URL. */
export function placeOf({ protocol, hostname, host, port }: URL): buildConnector.Options {
  return { protocol, host, port, hostname: hostname.replace(/^\[(.*)\]$/, '$1') };
}

/** Made once, and not for each connection. */
function tlsOptions(tls: TlsSettings | null): { secureContext?: SecureContext } {
  if (tls === null) return {};
  const { ca, client } = tls;
  const secureContext = createSecureContext({
    ca: ca?.reveal(),
    cert: client?.cert.reveal(),
    key: client?.key.reveal(),
  });
  return { secureContext };
}

/** Of the addresses that a name leads to, only those that may be connected to. */
function guarded(lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) =>
    lookup(hostname, options, (error, address, family) => {
      if (error !== null) return callback(error, address, family);
      const found = typeof address === 'string' ? [{ address, family: family ?? 0 }] : address;
      const refused = found.find((one) => isRefusedAddress(one.address));
      if (refused === undefined) return callback(null, address, family);
      const allowed = found.filter((one) => !isRefusedAddress(one.address));
      if (typeof address !== 'string' && allowed.length > 0) return callback(null, allowed);
      const nothing = typeof address === 'string' ? '' : [];
      callback(new RefusedAddressError(hostname, refused.address), nothing, 0);
    });
}

/**
 * Through a tunnel, whatever the endpoint's protocol: so what the proxy says is never taken for an
 * answer of the endpoint, and with https it reads nothing.
 */
function throughProxy(
  proxy: ProxySettings,
  toProxy: Connector,
  toEndpoint: Connector,
  { clock, timeoutMs }: ConnectorParts,
): Connector {
  const place = placeOf(proxy.url);
  return (target, callback) => {
    let socket: Socket | null = null;
    let isOver = false;
    let whenLate: Error = new ProxyError(
      `${proxyText(proxy)} has not connected to the endpoint within ${timeoutMs} ms`,
    );
    const end: buildConnector.Callback = (...[error, connected]) => {
      if (isOver) return void connected?.destroy();
      isOver = true;
      cancel();
      if (error === null) return callback(null, connected);
      socket?.destroy();
      callback(error, null);
    };
    const cancel = clock.after(timeoutMs, () => end(whenLate, null));
    toProxy(place, (...[error, connected]) => {
      if (error !== null) {
        const what = `${proxyText(proxy)} cannot be reached: ${messageOf(error)}`;
        return end(error instanceof RefusedAddressError ? error : new ProxyError(what), null);
      }
      if (isOver) return void connected.destroy();
      socket = connected;
      openTunnel(proxy, connected, target, (failed) => {
        if (failed !== null) return end(failed, null);
        if (target.protocol !== 'https:') return end(null, connected);
        whenLate = new errors.ConnectTimeoutError(`no TLS connection within ${timeoutMs} ms`);
        toEndpoint({ ...target, httpSocket: connected }, end);
      });
    });
  };
}
