/** A way through an HTTP proxy: its answer to CONNECT (RFC 9110, section 9.3.6). */
import { request } from 'node:http';
import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import type { ProxySettings } from '../model/endpoint.js';
import { messageOf } from '../model/errors.js';
import { preventionOf } from './failure.js';
import { HEAD_BYTES_MAX, ResponseHeadError } from './response-reader.js';

/** The proxy failed, not the endpoint. */
export class ProxyError extends Error {
  readonly code = 'ERR_PROXY';
}

const STATUS_LOGIN_WANTED = 407;

const ANSWERS: Readonly<Record<number, string>> = {
  [STATUS_LOGIN_WANTED]: 'it wants a user and password, or others than those of the file',
  403: 'it forbids this host or port',
  502: 'it cannot reach the endpoint',
  503: 'it cannot reach the endpoint',
  504: 'it cannot reach the endpoint',
};

/** Where the proxy is, without a login. */
export function proxyText({ url }: ProxySettings): string {
  return `the proxy ${url.host}`;
}

/** Host and port, as CONNECT names them. */
function authorityOf({ host = '', protocol, port }: buildConnector.Options): string {
  const implied = protocol === 'https:' ? ':443' : ':80';
  return port === '' ? host + implied : host;
}

/**
 * Asks the proxy, on a connection to it, for one to the endpoint: the same socket from then on.
 * `onEnd` is called when the tunnel is there; or, perhaps more than once, when there will be none.
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
  // All of them, whatever they are: informational responses and blank lines have no limit of Node's.
  let headBytes = 0;
  const count = (chunk: Buffer) => {
    headBytes += chunk.length;
    if (headBytes > HEAD_BYTES_MAX) asking.destroy(new ResponseHeadError(false));
  };
  // By then Node's parser has its own listener, and comes first.
  asking.once('socket', () => socket.on('data', count));
  asking.once('connect', ({ statusCode = 0 }, _, head: Buffer) => {
    socket.off('data', count);
    if (statusCode >= 200 && statusCode < 300) {
      if (head.length === 0) return onEnd(null);
      // Whoever is behind a tunnel waits for a request, or for TLS to begin.
      return fail(`answered ${statusCode}, and more behind it: a web server that is no proxy?`);
    }
    const why = ANSWERS[statusCode];
    fail(`answered ${statusCode}${why === undefined ? '' : `: ${why}`}`);
  });
  asking.on('error', (error) => {
    if (preventionOf(error) === null) return fail(`broke off: ${messageOf(error)}`);
    socket.destroy();
    onEnd(error);
  });
  asking.end();
}
