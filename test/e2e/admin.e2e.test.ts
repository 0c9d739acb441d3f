/** Clients that trouble the admin port while webhooks are due. */
import { request } from 'undici';
import { expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { ask, RawClient, rawClients } from '../support/admin-client.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess, simpleFile } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';
import { withRedis } from '../support/with-redis.js';

/** Far more than the relay needs, and far less than the delay that such clients once caused. */
const LATE_MS_MAX = 2_000;
const KEYS = 100;
const SPREAD_MS = 3_000;

it('webhooks stay on time, memory bounded and /livez answers beside hostile clients of the admin port', async () => {
  await using redis = await startRedis();
  await using receiver = await TestReceiver.start();
  const file = simpleFile(redis.url, receiver.url, {});
  const { shop } = file.endpoints as Record<string, object>;
  const endpoints: Record<string, unknown> = { shop };
  for (let n = 0; n < 300; n += 1) endpoints[`other-${n}`] = shop;
  await using relay = await RelayProcess.start({ ...file, endpoints });
  const rss = 'process_resident_memory_bytes';
  const beforeBytes = await relay.metric(rss);
  const url = await relay.adminUrl();
  const port = Number(new URL(url).port);

  const dueMs = new Map<string, number>();
  await withRedis(redis, async (client) => {
    const fromMs = Date.now() + 2_000;
    for (let n = 0; n < KEYS; n += 1) {
      const deadlineMs = fromMs + Math.round((n * SPREAD_MS) / KEYS);
      dueMs.set(`order:${n}`, deadlineMs);
      await client.set(`order:${n}`, '', 'PXAT', deadlineMs);
    }
  });
  using _unread = await rawClients(20, () =>
    RawClient.unread(port, ask('/metrics').repeat(20_000)),
  );
  using _silent = await rawClients(150, () => RawClient.connect(port, 'GET /livez HTTP/1.1\r\n'));
  using _crowd = await rawClients(150, () => RawClient.connect(port, ask('/metrics')));
  while (receiver.requests.length < KEYS / 2) {
    const fromMs = performance.now();
    const { statusCode, body } = await request(`${url}/livez`);
    expect([statusCode, await body.text()]).toEqual([200, 'ok\n']);
    expect(performance.now() - fromMs).toBeLessThan(LATE_MS_MAX);
  }
  await eventually('all webhooks', () => receiver.requests.length === KEYS);
  const latenesses = receiver.requests.map(
    ({ atMs, body }) => atMs - (dueMs.get(body.data.key) ?? Number.NaN),
  );
  expect(Math.max(...latenesses)).toBeLessThan(LATE_MS_MAX);
  expect((await relay.metric(rss)) - beforeBytes).toBeLessThan(200_000_000);
  await eventually(
    'the silent ones are closed, and counted',
    async () =>
      (await relay.metric('expiry_relay_admin_connections_closed_total{limit="time"}')) >= 150,
  );
});
