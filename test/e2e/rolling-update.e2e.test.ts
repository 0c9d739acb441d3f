/** Replicas with different files share one state for a while, and each takes only its own deliveries. */
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { endpointKeys } from '../../src/state/format.js';
import { unpackDeadLetter } from '../../src/state/packing.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { captured, expire } from '../support/outbox-of-relay.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

/** The time until an endpoint is unknown: its last heartbeat is too old in two rounds of maintenance. */
const FOUND_MS_MAX = 40_000;

const HOURLY = { schedule: ['1h', '1h'], jitter: 0 };

function filesOf(redis: RunningRedis, receiver: TestReceiver, state: object) {
  const shared = { shutdown: { grace: '1s' }, state };
  const old = simpleFile(redis.url, receiver.url, { endpoint: { retry: HOURLY }, ...shared });
  const endpoints = { other: { url: receiver.url, secrets: [TEST_SECRET] } };
  const routes = [{ name: 'others', match: 'other:*', to: 'other' }];
  return { old, updated: { redis: { url: redis.url }, endpoints, routes, ...shared } as RelayFile };
}

const waitingFor = (relay: RelayProcess) =>
  relay.metric('expiry_relay_unknown_endpoint_pending{endpoint="shop"}');

describe.concurrent('a rolling update that removes an endpoint from the file', () => {
  it('keeps its webhooks, reports them, and makes them dead letters after a grace period', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start((_, response) => {
      response.writeHead(404).end();
    });
    const { old, updated } = filesOf(redis, receiver, { unknown_endpoint_grace: '1s' });
    await using before = await RelayProcess.start(old);
    await expire(redis, 3);
    await captured(before, 3);
    await eventually('an attempt each', () => receiver.requests.length === 3);
    await using after = await RelayProcess.start(updated);
    await before.stop('SIGKILL');
    await after.logged('unknown_endpoint_dead_lettered', FOUND_MS_MAX);
    expect(after.logs('unknown_endpoint')).toMatchObject([{ endpoint: 'shop', pending: 3 }]);
    expect(after.logs('unknown_endpoint_dead_lettered')).toMatchObject([
      { endpoint: 'shop', count: 3 },
    ]);
    expect(after.logs('attempt')).toEqual([]);
    const client = new Redis(redis.url, { protocol: 2 });
    const { dead } = endpointKeys('expiry-relay', 'shop');
    const letters = Object.entries(await client.hgetallBuffer(dead));
    client.disconnect();
    expect(letters).toHaveLength(3);
    for (const [id, packed] of letters) {
      const { delivery, reason, attempts } = unpackDeadLetter(packed, { endpoint: 'shop', id });
      expect({ reason, attempts }).toEqual({ reason: 'unknown_endpoint', attempts: 1 });
      const sent = receiver.requests.find(({ id }) => id === delivery.id);
      expect(delivery.body).toEqual(sent?.raw);
    }
  }, 70_000);

  it('delivers them when a replica with the endpoint returns before that', async () => {
    await using redis = await startRedis();
    const held: (() => void)[] = [];
    await using receiver = await TestReceiver.start((_, response) => {
      held.push(() => response.writeHead(204).end());
    });
    const { old, updated } = filesOf(redis, receiver, {});
    await using before = await RelayProcess.start(old);
    await expire(redis, 3);
    await captured(before, 3);
    await eventually('an attempt each', () => held.length === 3);
    await using after = await RelayProcess.start(updated);
    await before.stop('SIGKILL');
    await after.logged('unknown_endpoint', FOUND_MS_MAX);
    expect(await waitingFor(after)).toBe(3);
    receiver.respond = (_, response) => void response.writeHead(204).end();
    await using again = await RelayProcess.start(old);
    await eventually('delivered', () => again.logs('attempt').length === 3, 20_000);
    for (const line of again.logs('attempt')) {
      expect(line).toMatchObject({ attempt: 2, outcome: 'accepted' });
    }
    expectEach(receiver, 3);
    await eventually('shown no longer', async () => Number.isNaN(await waitingFor(after)), 25_000);
    expect(after.logs('unknown_endpoint')).toHaveLength(1);
    expect(after.logs('attempt')).toEqual([]);
  }, 90_000);
});
