/** Redis restarts with its clock an hour behind: the lease does not depend on that clock. */
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { clockIsFixedBecause, startRedisWithClock } from '../support/settable-clock.js';
import { TestReceiver } from '../support/test-receiver.js';

const HOUR_MS = 3_600_000;
/** Much more than it takes on a busy machine, and much less than an hour. */
const SOON_MS = 30_000;

it('a new relay captures within seconds after the last one was killed with a lease dated ahead', async ({
  skip,
}) => {
  if (clockIsFixedBecause !== null) skip(clockIsFixedBecause);
  await using server = await startRedisWithClock([
    '--appendonly',
    'yes',
    '--appendfsync',
    'always',
  ]);
  await using receiver = await TestReceiver.start();
  const file = simpleFile(server.redis.url, receiver.url);
  await using killed = await RelayProcess.start(file);
  await eventually('it captures', () => killed.watches);
  await server.redis.kill('SIGKILL');
  await killed.stop('SIGKILL');
  server.setAheadMs(-HOUR_MS);
  await server.redis.restart();
  await using relay = await RelayProcess.start(file);
  await eventually('the new one captures', () => relay.watches, SOON_MS);
  const client = new Redis(server.redis.url, { protocol: 2 });
  await client.set('order:1', '', 'PX', 50);
  await eventually('its webhook', () => receiver.requests.length === 1, SOON_MS);
  client.disconnect();
  expect(receiver.requests[0]?.body.data.key).toBe('order:1');
});
