/** Accepted deliveries survive failures of the relay, Redis and the endpoint. */
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { eventually } from '../support/eventually.js';
import { captured, drained, expire } from '../support/outbox-of-relay.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

function fileOf(redis: RunningRedis, receiver: TestReceiver, endpoint: object = {}): RelayFile {
  const retry = { schedule: Array.from({ length: 50 }, () => '200ms') };
  return simpleFile(redis.url, receiver.url, {
    endpoint: { retry, ...endpoint },
    shutdown: { grace: '1s' },
  });
}

describe.concurrent('an outbox in Redis', () => {
  it('survives repeated kill -9 of the relay', async () => {
    await using redis = await startRedis({ args: DURABLE });
    let open = false;
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(open ? 204 : 503).end();
    });
    const file = fileOf(redis, receiver);
    await using first = await RelayProcess.start(file);
    await expire(redis, 500);
    await captured(first, 500);
    await first.stop('SIGKILL');
    for (let kills = 0; kills < 3; kills += 1) {
      await using relay = await RelayProcess.start(file);
      await eventually('attempts', () => relay.logs('attempt').length > 0, 30_000);
      await relay.stop('SIGKILL');
    }
    open = true;
    await using last = await RelayProcess.start(file);
    await drained(last);
    expectEach(receiver, 500);
  }, 90_000);

  it('that is unavailable at the start causes retries and a log line', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await redis.kill('SIGKILL');
    await using relay = await RelayProcess.spawn(fileOf(redis, receiver));
    expect((await relay.logged('state_unavailable')).error).toContain('ECONNREFUSED');
    expect((await relay.get('/livez')).status).toBe(200);
    expect(await relay.get('/readyz')).toMatchObject({
      status: 503,
      text: expect.stringContaining('[-] state: Redis at 127.0.0.1'),
    });
    await redis.restart();
    await relay.ready();
    await expire(redis, 1);
    await eventually('the webhook', () => receiver.requests.length === 1);
  });

  it('is reached with its own login and the documented permissions', async () => {
    await using keys = await startRedis({ password: 'of the keys' });
    await using state = await startRedis({ password: 'of the state' });
    const admin = new Redis(state.url, { protocol: 2 });
    const rights =
      '+ping +select +set +get +setnx +pttl +del +unlink +rename +exists +role +client|setname +info ' +
      '+eval +evalsha +time +@hash +@stream +@sortedset';
    await admin.call(
      ...['ACL', 'SETUSER', 'outbox', 'on', '>pw', '-@all', '~{expiry-relay}:*'],
      ...rights.split(' '),
    );
    await using receiver = await TestReceiver.start();
    const url = `redis://127.0.0.1:${state.port}`;
    await using relay = await RelayProcess.start({
      ...fileOf(keys, receiver),
      state: { url, username: 'outbox', password: 'pw' },
    });
    await expire(keys, 3);
    await eventually('the webhooks', () => receiver.requests.length === 3);
    await drained(relay);
    expectEach(receiver, 3);
    expect(relay.logs().filter(({ level }) => level === 'error')).toEqual([]);
    admin.disconnect();
  });

  it('survives kill -9 of Redis in the middle', async () => {
    await using redis = await startRedis({ args: DURABLE });
    let open = false;
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(open ? 204 : 503).end();
    });
    await using relay = await RelayProcess.start(fileOf(redis, receiver));
    await expire(redis, 300);
    await captured(relay, 300);
    await redis.kill('SIGKILL');
    await eventually('not ready', async () => (await relay.get('/readyz')).status === 503);
    expect((await relay.get('/readyz')).text).toMatch(/\[-\] state: .*Redis at 127\.0\.0\.1/);
    expect((await relay.get('/metrics')).status).toBe(200);
    await redis.restart();
    open = true;
    await relay.ready();
    await drained(relay);
    expectEach(receiver, 300);
    expect(relay.running).toBe(true);
  }, 60_000);

  it('is shared by two replicas, of which one is killed with its claims', async () => {
    await using redis = await startRedis();
    const held: (() => void)[] = [];
    await using receiver = await TestReceiver.start((_, response) => {
      held.push(() => response.writeHead(204).end());
    });
    const file = fileOf(redis, receiver, { concurrency: 5 });
    await using one = await RelayProcess.start(file);
    await expire(redis, 20);
    await captured(one, 20);
    await eventually('five attempts', () => held.length === 5);
    await one.stop('SIGKILL');
    receiver.respond = (_, response) => void response.writeHead(204).end();
    await using other = await RelayProcess.start(file);
    await drained(other);
    expectEach(receiver, 20);
    expect(other.logs('reclaimed')).toMatchObject([{ endpoint: 'shop', count: 5 }]);
    const repeats = other.logs('attempt').filter(({ attempt }) => attempt === 2);
    expect(repeats).toHaveLength(5);
  }, 60_000);

  it('is handed over at once by a stop', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(503).end();
    });
    const file = fileOf(redis, receiver);
    await using one = await RelayProcess.start(file);
    await expire(redis, 10);
    await captured(one, 10);
    expect((await one.stop()).code).toBe(0);
    expect(one.logs('delivery_lost')).toEqual([]);
    expect(one.logs('stopped')).toMatchObject([{ undelivered: 0 }]);
    receiver.respond = (_, response) => void response.writeHead(204).end();
    await using other = await RelayProcess.start(file);
    await drained(other);
    expectEach(receiver, 10);
  });
});
