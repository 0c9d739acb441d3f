/** Receivers with endless responses, or well-behaved ones, in a separate process. */
import { createServer } from 'node:net';
import { constants, setPriority } from 'node:os';
import { isChild, serve, startChild } from './child.mjs';

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`;

/** What is sent in one piece. */
const PIECE_BYTES = 64 * 1024;

/** How often the slow ones send a byte. */
const DRIP_EVERY_MS = 10;

/** How many bytes are sent one by one at a time. */
const SINGLE_BYTES = 50;

/** The beginning of a response, and what comes over and over behind it. @type {Readonly<Record<string, readonly [string, string]>>} */
const FLOODS = {
  informational: ['', 'HTTP/1.1 102 Processing\r\n\r\n'],
  switching: ['', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  'blank-lines': ['', '\r\n'],
  'status-line': ['HTTP/1.1 200 ', 'OK'],
  'one-header': [`${OK}a: `, 'b'],
  headers: [OK, 'a: b\r\n'],
  'chunk-extension': [`${CHUNKED}1;`, 'a=b;'],
  chunks: [CHUNKED, '1\r\na\r\n'],
  trailers: [`${CHUNKED}0\r\n`, 'a: b\r\n'],
  body: [`${OK}content-length: 99999999999\r\n\r\n`, 'a'],
  behind: [`${OK}content-length: 0\r\n\r\n`, '\r\n'],
  'no-http': ['', '<html>'],
};

/** @typedef {(socket: import('node:net').Socket) => void} Respond */

/** @param {readonly [string, string]} flood @returns {Respond} */
function floods([head, piece]) {
  const bytes = Buffer.from(piece.repeat(Math.ceil(PIECE_BYTES / piece.length)));
  return (socket) => {
    const next = () => {
      if (!socket.destroyed) socket.write(bytes, () => setImmediate(next));
    };
    socket.write(head, next);
  };
}

/** @type {Readonly<Record<string, Respond>>} */
const HOSTILE = {
  ...Object.fromEntries(Object.entries(FLOODS).map(([kind, flood]) => [kind, floods(flood)])),
  'single-bytes': (socket) => {
    socket.setNoDelay(true);
    const next = () => {
      for (let n = 0; n < SINGLE_BYTES; n += 1) socket.write('\n');
      if (!socket.destroyed) setImmediate(next);
    };
    next();
  },
  slow: (socket) => {
    socket.write(OK);
    const timer = setInterval(() => socket.write('a'), DRIP_EVERY_MS);
    socket.once('close', () => clearInterval(timer));
  },
};

export const HOSTILE_KINDS = Object.keys(HOSTILE);

/** @type {Respond} */
const wellBehaved = (socket) => void socket.write('HTTP/1.1 204 No Content\r\n\r\n');

if (isChild(import.meta.url)) serve(receive);

/** @param {{ kinds: readonly string[] }} options one receiver for each */
async function receive({ kinds }) {
  // A real one runs on another machine: here it must not take the relay's cores.
  setPriority(constants.priority.PRIORITY_LOW);
  const ports = await Promise.all(
    kinds.map(async (kind) => {
      const respond = HOSTILE[kind] ?? wellBehaved;
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy());
        // A webhook as short as those of this bench comes in one piece.
        socket.on('data', () => respond(socket));
      });
      await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
      const address = server.address();
      return typeof address === 'object' ? address?.port : 0;
    }),
  );
  return { ports: () => ports };
}

/** @param {readonly string[]} kinds of HOSTILE_KINDS, or anything else for a well-behaved one */
export async function startHostile(kinds) {
  const child = await startChild(import.meta.url, { kinds });
  /** @type {readonly number[]} */
  const ports = await child.ask('ports');
  return { urls: ports.map((port) => `http://127.0.0.1:${port}/`), stop: child.stop };
}
