/**
 * Connects to an endpoint, for an attempt or for a diagnosis: with its certificates, through its proxy, and never to a
 * forbidden address.
 */
import type { LookupFunction, Socket } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { buildConnector, errors } from 'undici';
import type { Clock } from '../lib/clock.js';
import type { Endpoint, ProxySettings, TlsSettings } from '../model/endpoint.js';
import { messageOf } from '../model/errors.js';
import { dial, READ_AS_TAKEN } from './dial.js';
import { preventionOf } from './failure.js';
import { isForbiddenAddress } from './forbidden-addresses.js';
import { openTunnel, ProxyError, proxyText } from './proxy-connect.js';

export type Connector = buildConnector.connector;

/** A server sends a few tickets per handshake. Processing one costs the relay far more than its bytes. */
const SESSION_TICKETS_MAX = 32;

/** The address is refused; no connection was attempted. */
export class ForbiddenAddressError extends Error {
  readonly code = 'ERR_FORBIDDEN_ADDRESS';

  constructor(host: string, address: string) {
    const what = host === address ? address : `${host} resolves to ${address}, which`;
    super(
      `${what} is a link-local or cloud metadata address; not connecting to it ` +
        '(allow_link_local: true allows it)',
    );
  }
}

class SessionTicketsError extends Error {
  readonly code = 'ERR_TLS_SESSION_TICKETS';

  constructor() {
    super(`the server sent more than ${SESSION_TICKETS_MAX} TLS session tickets on one connection`);
  }
}

export interface ConnectorParts {
  readonly clock: Clock;
  readonly lookup: LookupFunction;
  /** The time limit from the start until the connection is ready for a request. */
  readonly timeoutMs: number;
}

export function createConnector(endpoint: Endpoint, parts: ConnectorParts): Connector {
  const { url, proxy, tls, allowLinkLocal } = endpoint;
  // A literal address in a URL is never looked up.
  const literal = [url, proxy?.url].find((one) => one && isForbiddenAddress(one.hostname));
  if (literal !== undefined && !allowLinkLocal) {
    const { hostname } = literal;
    const error = new ForbiddenAddressError(hostname, hostname);
    return (_, callback) => queueMicrotask(() => callback(error, null));
  }
  const lookup = allowLinkLocal ? parts.lookup : rejectForbidden(parts.lookup);
  const options = { timeout: parts.timeoutMs, allowH2: false, ...READ_AS_TAKEN };
  const secure = secureConnector({ ...options, ...tlsOptions(tls) });
  if (proxy === null) return directConnector(url, secure, lookup, parts);
  // The endpoint's certificates are not used for the proxy.
  const toProxy = directConnector(proxy.url, secureConnector(options), lookup, parts);
  return proxyConnector(proxy, toProxy, secure, parts);
}

/** A connector's target for a URL. The trailing dot of an absolute name is for DNS alone. */
export function targetOf({ protocol, hostname, host, port }: URL): buildConnector.Options {
  const name = withoutDot(hostname).replace(/^\[(.*)\]$/, '$1');
  return { protocol, host: withoutDot(host), port, hostname: name };
}

/** The URL's origin, as the server expects it. */
export function originOf({ protocol, host }: URL): string {
  return `${protocol}//${withoutDot(host)}`;
}

/** Removes the trailing dot of a host, with or without a port. */
function withoutDot(host: string): string {
  return host.replace(/\.(?=$|:\d+$)/, '');
}

/** Created once, not for each connection. */
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

/** Closes a TLS connection whose server sends too many session tickets. */
function secureConnector(options: buildConnector.BuildOptions): Connector {
  const connector = buildConnector(options);
  return (target, callback) =>
    connector(target, (...result) => {
      const [, socket] = result;
      let tickets = 0;
      socket?.on('session', () => {
        tickets += 1;
        if (tickets > SESSION_TICKETS_MAX) socket.destroy(new SessionTicketsError());
      });
      callback(...result);
    });
}

/** Removes forbidden addresses from the results of a lookup. */
function rejectForbidden(lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) =>
    lookup(hostname, options, (error, address, family) => {
      if (error !== null) return callback(error, address, family);
      const found = typeof address === 'string' ? [{ address, family: family ?? 0 }] : address;
      const forbidden = found.find((one) => isForbiddenAddress(one.address));
      if (forbidden === undefined) return callback(null, address, family);
      const allowed = found.filter((one) => !isForbiddenAddress(one.address));
      if (typeof address !== 'string' && allowed.length > 0) return callback(null, allowed);
      const nothing = typeof address === 'string' ? '' : [];
      callback(new ForbiddenAddressError(hostname, forbidden.address), nothing, 0);
    });
}

/** One call of a connector: calls back once, within the time limit. */
class Connecting {
  /** The open socket; destroyed when the call fails. */
  socket: Socket | null = null;
  readonly #callback: buildConnector.Callback;
  readonly #cancel: () => void;
  #isOver = false;

  /** `onLate` is called at the time limit, and returns the error. */
  constructor(
    { clock, timeoutMs }: ConnectorParts,
    callback: buildConnector.Callback,
    onLate: () => Error,
  ) {
    this.#callback = callback;
    this.#cancel = clock.after(timeoutMs, () => this.end(onLate(), null));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  readonly end: buildConnector.Callback = (...[error, connected]) => {
    if (this.#isOver) return void connected?.destroy();
    this.#isOver = true;
    this.#cancel();
    if (error === null) return this.#callback(null, connected);
    this.socket?.destroy();
    this.#callback(error, null);
  };
}

/** Connects to the server of a URL; for https, `secure` performs the TLS handshake. */
function directConnector(
  { hostname, port, protocol }: URL,
  secure: Connector,
  lookup: LookupFunction,
  parts: ConnectorParts,
): Connector {
  const isSecure = protocol === 'https:';
  const place = {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port) || (isSecure ? 443 : 80),
  };
  return (target, callback) => {
    const connecting = new Connecting(parts, callback, () => {
      stopDialling();
      return new errors.ConnectTimeoutError(`no connection within ${parts.timeoutMs} ms`);
    });
    const { end } = connecting;
    const { clock } = parts;
    const stopDialling = dial({ ...place, lookup, clock }, (...[error, dialled]) => {
      if (error !== null) return end(error, null);
      connecting.socket = dialled;
      if (!isSecure) return end(null, dialled);
      secure({ ...target, httpSocket: dialled }, end);
    });
  };
}

/**
 * Connects through a tunnel for either protocol: a proxy's own response is never taken for the endpoint's, and with
 * https the proxy cannot read the traffic.
 */
function proxyConnector(
  proxy: ProxySettings,
  toProxy: Connector,
  secure: Connector,
  parts: ConnectorParts,
): Connector {
  const { timeoutMs } = parts;
  const place = targetOf(proxy.url);
  return (target, callback) => {
    let whenLate: Error = new ProxyError(
      `${proxyText(proxy)} did not connect to the endpoint within ${timeoutMs} ms`,
    );
    const connecting = new Connecting(parts, callback, () => whenLate);
    const { end } = connecting;
    toProxy(place, (...[error, connected]) => {
      if (error !== null) {
        const what = `${proxyText(proxy)} cannot be reached: ${messageOf(error)}`;
        const isOfProxy = !(error instanceof ForbiddenAddressError) && preventionOf(error) === null;
        return end(isOfProxy ? new ProxyError(what) : error, null);
      }
      if (connecting.isOver) return void connected.destroy();
      connecting.socket = connected;
      openTunnel(proxy, connected, target, (failed) => {
        if (failed !== null) return end(failed, null);
        if (target.protocol !== 'https:') return end(null, connected);
        whenLate = new errors.ConnectTimeoutError(`no TLS connection within ${timeoutMs} ms`);
        secure({ ...target, httpSocket: connected }, end);
      });
    });
  };
}
