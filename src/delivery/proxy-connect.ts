/** A tunnel through an HTTP proxy: sends CONNECT and reads the response (RFC 9110, section 9.3.6). */
import { request } from 'node:http';
import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import type { ProxySettings } from '../model/endpoint.js';
import { messageOf } from '../model/errors.js';
import { preventionOf } from './failure.js';
import { HEAD_BYTES_MAX, ResponseHeadError } from './response-reader.js';

/** A failure of the proxy, not of the endpoint. */
export class ProxyError extends Error {
  readonly code = 'ERR_PROXY';
}

const STATUS_LOGIN_REQUIRED = 407;

const ANSWERS: Readonly<Record<number, string>> = {
  [STATUS_LOGIN_REQUIRED]: 'it requires a user and password, or rejects the configured ones',
  403: 'it forbids this host or port',
  502: 'it cannot reach the endpoint',
  503: 'it cannot reach the endpoint',
  504: 'it cannot reach the endpoint',
};

/** The proxy's host and port, without its login. */
export function proxyText({ url }: ProxySettings): string {
  return `the proxy ${url.host}`;
}

/** Host and port, in the form that CONNECT requires. */
function authorityOf({ host = '', protocol, port }: buildConnector.Options): string {
  const implied = protocol === 'https:' ? ':443' : ':80';
  return port === '' ? host + implied : host;
}

/**
 * Asks a proxy for a tunnel to the endpoint. The tunnel uses the socket to the proxy. `onEnd` is called when the tunnel
 * is open or, possibly more than once, when it has failed.
 */
export function openTunnel(
  proxy: ProxySettings,
  socket: Socket,
  target: buildConnector.Options,
  onEnd: (error: Error | null) => void,
): void {
  const authority = authorityOf(target);
  const login = proxy.authorization;
  const asking = request({
    method: 'CONNECT',
    path: authority,
    headers: {
      host: authority,
      ...(login === null ? {} : { 'proxy-authorization': login.reveal() }),
    },
    setHost: false,
    maxHeaderSize: HEAD_BYTES_MAX,
    createConnection: () => socket,
  });
  const fail = (what: string) => {
    socket.destroy();
    onEnd(new ProxyError(`${proxyText(proxy)} ${what}`));
  };
  // Counts all bytes: Node limits neither informational responses nor blank lines.
  let headBytes = 0;
  const count = (chunk: Buffer) => {
    headBytes += chunk.length;
    if (headBytes > HEAD_BYTES_MAX) asking.destroy(new ResponseHeadError(false));
  };
  // Node's parser has attached its listener by then, and runs first.
  asking.once('socket', () => socket.on('data', count));
  asking.once('connect', ({ statusCode = 0 }, _, head: Buffer) => {
    socket.off('data', count);
    if (statusCode >= 200 && statusCode < 300) {
      if (head.length === 0) return onEnd(null);
      // A server behind a tunnel sends nothing before the request or the TLS handshake.
      return fail(
        `returned ${statusCode} and more data; it may be a web server instead of a proxy`,
      );
    }
    const reason = ANSWERS[statusCode];
    fail(`returned ${statusCode}${reason === undefined ? '' : `: ${reason}`}`);
  });
  asking.on('error', (error) => {
    if (preventionOf(error) === null) return fail(`failed: ${messageOf(error)}`);
    socket.destroy();
    onEnd(error);
  });
  asking.end();
}
