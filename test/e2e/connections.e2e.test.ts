/** Connections to Redis that are closed from outside, and the relay while one of them is lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

/** Idle connections are closed after this time, the shortest that the relay tolerates. */
const IDLE_MS_MAX = 5_000;

async function arrives(redis: { readonly url: string }, receiver: TestReceiver, key: string) {
  await withRedis(redis, (client) => client.set(key, '', 'PX', 50));
  await eventually(`the webhook of ${key}`, () => receiver.keys.includes(key), 30_000);
}

function expectNoGap(relay: RelayProcess): void {
  expect(relay.logs('subscription_lost')).toEqual([]);
  expect(relay.logs('watching_ended')).toEqual([]);
}

describe.concurrent('idle connections', () => {
  it('are kept open where the server or a load balancer closes idle ones: no gap, and the same lease', async () => {
    await using redis = await startRedis({ args: ['--timeout', String(IDLE_MS_MAX / 1_000)] });
    await using proxy = await TcpProxy.start(redis.port, IDLE_MS_MAX);
    await using receiver = await TestReceiver.start();
    const urls = [redis.url, `redis://127.0.0.1:${proxy.port}`];
    const relays = await Promise.all(
      urls.map((url, n) =>
        RelayProcess.start(simpleFile(url, receiver.url, { state: { prefix: `relay-${n}` } })),
      ),
    );
    try {
      await sleep(3 * IDLE_MS_MAX);
      await arrives(redis, receiver, 'order:1');
      for (const relay of relays) {
        expectNoGap(relay);
        expect(relay.logs('connection_reopened')).toEqual([]);
        expect(relay.logs('state_unavailable')).toEqual([]);
        expect(relay.logs('watching')).toHaveLength(1);
      }
    } finally {
      await Promise.all(relays.map((relay) => relay[Symbol.asyncDispose]()));
    }
  }, 60_000);

  it('that only read keys are opened again when they are closed: no gap, and the same lease', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using relay = await RelayProcess.start(simpleFile(redis.url, receiver.url));
    await arrives(redis, receiver, 'order:1');
    await withRedis(redis, async (client) => {
      for (const role of ['deadlines', 'sweep']) {
        const list = String(await client.client('LIST')).split('\n');
        const line = list.find((one) => one.includes(`name=expiry-relay:${role} `)) ?? '';
        await client.client('KILL', 'ID', /\bid=(\d+)/.exec(line)?.[1] ?? '');
        await eventually('it is opened again', () =>
          relay.logs('connection_reopened').some(({ connection }) => connection === role),
        );
      }
    });
    await arrives(redis, receiver, 'order:2');
    expectNoGap(relay);
    expect(relay.logs('watch_failed')).toEqual([]);
  });
});

describe.concurrent('while the state is unavailable and an expiration waits to be stored', () => {
  it('the relay logs the loss of Redis and listens again once it is back; all is stored later', async () => {
    await using redis = await startRedis({ args: ['--appendonly', 'yes'] });
    await using state = await startRedis({ args: ['--appendonly', 'yes'] });
    await using receiver = await TestReceiver.start();
    const file = simpleFile(redis.url, receiver.url, { state: { url: state.url } });
    await using relay = await RelayProcess.start(file);
    await arrives(redis, receiver, 'order:0');
    await state.kill('SIGKILL');
    await withRedis(redis, (client) => client.set('order:1', '', 'PX', 50));
    await relay.logged('capture_failed');
    // Behind the notice that it has a deadline.
    const queued = () => relay.metric('expiry_relay_expirations_queued');
    await eventually('the expiration is received', async () => (await queued()) >= 2);
    await redis.kill('SIGKILL');
    await eventually('it is said', async () => {
      const { status, text } = await relay.get('/readyz?verbose');
      return status === 503 && text.includes('[-] subscribed: Redis at');
    });
    await redis.restart();
    await eventually('it listens again', () => relay.logs('listening').length === 2);
    await withRedis(redis, (client) => client.set('order:2', '', 'PX', 50));
    await sleep(200);
    await state.restart();
    for (const key of ['order:1', 'order:2']) {
      await eventually(key, () => receiver.keys.includes(key), 30_000);
    }
    expect(relay.logs('capture_abandoned')).toEqual([]);
  }, 60_000);
});
