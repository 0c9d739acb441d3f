/** 10,000 deliveries through every kind of outage: each arrives, and repeats are the same webhook. */
import { describe, expect, it } from 'vitest';
import { freePort } from '../../scripts/lib/free-port.mjs';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { eventually } from '../support/eventually.js';
import { captured, drained, expire } from '../support/outbox-of-relay.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

const COUNT = 10_000;

const DURABLE = ['--appendonly', 'yes'];

function fileOf(redis: RunningRedis, url: string): RelayFile {
  const schedule = Array.from({ length: 50 }, () => '500ms');
  return simpleFile(redis.url, url, { endpoint: { retry: { schedule }, timeout: '5s' } });
}

/** Expires the keys and waits until a delivery of each waits in the outbox. */
async function captureAll(redis: RunningRedis, relay: RelayProcess): Promise<void> {
  await expire(redis, COUNT);
  await captured(relay, COUNT);
}

const received = (receiver: TestReceiver, count: number) =>
  eventually(`${count} requests`, () => receiver.requests.length >= count, 60_000);

describe.concurrent(`${COUNT} deliveries`, () => {
  it('survive five kills of the relay and one of Redis while they drain', async () => {
    await using redis = await startRedis({ args: DURABLE });
    let open = false;
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(open ? 204 : 503).end();
    });
    const file = fileOf(redis, receiver.url);
    {
      await using first = await RelayProcess.start(file);
      await captureAll(redis, first);
    }
    open = true;
    const refused = receiver.requests.length;
    for (let kills = 1; kills <= 5; kills += 1) {
      await using relay = await RelayProcess.start(file);
      await received(receiver, refused + kills * 1_500);
      if (kills === 3) {
        await redis.kill('SIGKILL');
        await redis.restart();
        await received(receiver, refused + kills * 1_500 + 100);
      }
      await relay.stop('SIGKILL');
    }
    expect(receiver.requests.length).toBeLessThan(refused + COUNT);
    await using last = await RelayProcess.start(file);
    await drained(last);
    expectEach(receiver, COUNT);
  }, 180_000);

  it('reach an endpoint that is down, then slow, then back', async () => {
    await using redis = await startRedis({ args: DURABLE });
    const port = await freePort();
    await using relay = await RelayProcess.start(fileOf(redis, `http://127.0.0.1:${port}`));
    await captureAll(redis, relay);
    await relay.logged('breaker_opened');
    expect(await relay.metric('expiry_relay_breaker_state{endpoint="shop"}')).toBeGreaterThan(0);
    const attemptsWhileDown = relay.logs('attempt').length;
    // A run, the attempts in progress at that time, and one probe after each open period.
    expect(attemptsWhileDown).toBeLessThan(100);
    await using receiver = await TestReceiver.start((_, response, count) => {
      const slowMs = count <= 1_000 ? 50 : 0;
      setTimeout(() => response.writeHead(204).end(), slowMs);
    }, port);
    await relay.logged('breaker_closed', 60_000);
    await drained(relay);
    expectEach(receiver, COUNT);
    expect(await relay.metric('expiry_relay_dead_letters{endpoint="shop"}')).toBe(0);
  }, 120_000);

  it('are shared by two replicas, of which one is killed', async () => {
    await using redis = await startRedis({ args: DURABLE });
    let open = false;
    let accepted = 0;
    await using receiver = await TestReceiver.start((_, response) => {
      if (open) accepted += 1;
      // Slow: the first replica must not deliver everything before the second one runs.
      setTimeout(() => response.writeHead(open ? 204 : 503).end(), open ? 20 : 0);
    });
    const file = fileOf(redis, receiver.url);
    {
      // The only one that captures: each listening replica would capture for itself.
      await using first = await RelayProcess.start(file);
      await captureAll(redis, first);
    }
    open = true;
    await using one = await RelayProcess.start(file);
    await using other = await RelayProcess.start(file);
    const series = 'expiry_relay_attempts_total{endpoint="shop",outcome="accepted"}';
    const delivers = async (relay: RelayProcess) => (await relay.metric(series)) > 500;
    await eventually('both deliver', async () => (await delivers(one)) && delivers(other), 60_000);
    await one.stop('SIGKILL');
    await drained(other);
    expectEach(receiver, COUNT);
    // At most the attempts in progress of the killed one: everything else was sent once.
    expect(accepted).toBeLessThanOrEqual(COUNT + 32);
  }, 120_000);
});
