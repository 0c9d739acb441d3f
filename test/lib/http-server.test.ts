import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { listenOn } from '../../src/lib/http-server.js';

it('a server that cannot accept a connection reports it and keeps listening', async () => {
  const server = createServer();
  const errors: Error[] = [];
  await listenOn(server, { host: '127.0.0.1', port: 0 }, 'admin.listen', (error) =>
    errors.push(error),
  );
  const error = new Error('accept ENFILE');
  server.emit('error', error);
  expect(errors).toEqual([error]);
  expect(server.listening).toBe(true);
  server.close();
});
