import { createServer } from 'node:net';
import { connect } from 'node:tls';
import { expect, it } from 'vitest';
import { messageOf } from '../../src/model/errors.js';

it('the message of a TLS error has neither numbers nor files of OpenSSL', async () => {
  const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const error = await new Promise((resolve) => connect(port, '127.0.0.1').on('error', resolve));
  server.close();
  expect(messageOf(error)).toBe('TLS error: wrong version number');
});
