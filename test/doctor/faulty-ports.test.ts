// cspell:ignore ftpd
/** Compares the findings of the doctor on a port without Redis with the errors of the relay. */

import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { examineRedis } from '../../src/doctor/redis.js';
import { systemClock } from '../../src/lib/clock.js';
import { Locators, SILENT_LOCATORS } from '../../src/redis/locators.js';
import { failureAt, settingsOf } from '../support/connecting.js';

/** Does so with each connection. */
async function serverThat(misbehave: (socket: Socket) => void) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    misbehave(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function bothSay(url: string, message: string) {
  const settings = await settingsOf({ redis: { url } });
  const locators = new Locators(systemClock, SILENT_LOCATORS);
  const asking = { clock: systemClock, locators, stop: new AbortController().signal };
  const [failure, findings] = await Promise.all([
    failureAt(settings),
    examineRedis(settings, asking),
  ]);
  expect(failure?.message).toContain(message);
  expect(findings).toMatchObject([{ level: 'problem', subject: 'redis', text: failure?.message }]);
}

describe.concurrent('doctor and run report the same error for', () => {
  it('a silent port behind rediss://', async () => {
    await using server = await serverThat(() => undefined);
    await bothSay(`rediss://127.0.0.1:${server.port}`, 'does not respond to the TLS handshake');
  });

  it('a Redis without TLS behind rediss://', async () => {
    await using redis = await startRedis();
    await bothSay(`rediss://127.0.0.1:${redis.port}`, 'does not respond to the TLS handshake');
  });

  it('a port that closes during the TLS handshake', async () => {
    await using server = await serverThat((socket) => socket.once('data', () => socket.destroy()));
    await bothSay(`rediss://127.0.0.1:${server.port}`, 'during the TLS handshake');
  });

  it('a port that closes at the first command', async () => {
    await using server = await serverThat((socket) => socket.once('data', () => socket.destroy()));
    await bothSay(`redis://127.0.0.1:${server.port}`, 'closes them without a response');
  });

  it('another kind of server', async () => {
    await using server = await serverThat((socket) => socket.write('220 ProFTPD ready\r\n'));
    await bothSay(`redis://127.0.0.1:${server.port}`, 'is an FTP server, not Redis');
  });

  it('a wrong password', async () => {
    await using redis = await startRedis({ password: 'right' });
    await bothSay(`redis://:wrong@127.0.0.1:${redis.port}`, 'rejects the user name or password');
  });
});
