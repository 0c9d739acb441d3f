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

it('an address of another machine is reported with its setting', async () => {
  const address = { host: '192.0.2.1', port: 0 };
  const listening = listenOn(createServer(), address, '--host or --port', () => undefined);
  await expect(listening).rejects.toThrow(
    'cannot listen on 192.0.2.1:0: this machine does not have the address; choose another one ' +
      '(--host or --port)',
  );
});
