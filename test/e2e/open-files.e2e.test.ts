/** A relay that may open fewer files than its endpoints may take connections. */
import { request } from 'undici';
import { expect, it } from 'vitest';
import { stringify } from 'yaml';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { RawClient, rawClients } from '../support/admin-client.js';
import { tempFolder } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { drained, expire } from '../support/outbox-of-relay.js';
import { RelayProcess, runCommand, simpleFile } from '../support/relay-process.js';
import { expectEach, TestReceiver } from '../support/test-receiver.js';

const COUNT = 500;
const OPEN_FILES_MAX = 130;

it('too few open files delay webhooks, and count against no endpoint', async () => {
  await using redis = await startRedis();
  let underWay = 0;
  let underWayMax = 0;
  await using receiver = await TestReceiver.start(async (_, response) => {
    underWay += 1;
    underWayMax = Math.max(underWayMax, underWay);
    await new Promise((resolve) => setTimeout(resolve, 20));
    underWay -= 1;
    response.writeHead(204).end();
  });
  const url = receiver.url.replace('127.0.0.1', 'localhost');
  const endpoint = { concurrency: 256, retry: { schedule: ['1s'] } };
  const file = simpleFile(redis.url, url, { endpoint });

  await using relay = await RelayProcess.start(file, {}, OPEN_FILES_MAX);
  expect(await relay.logged('few_open_files')).toMatchObject({
    level: 'warn',
    msg: expect.stringMatching(
      /^open files: the limit is 130 .* endpoints is 256, .* at least 384 /,
    ),
  });
  const prevented = 'expiry_relay_attempts_prevented_total{endpoint="shop"}';
  await expire(redis, COUNT);
  await eventually('all of them', () => receiver.requests.length >= COUNT, 30_000);
  // Until idle connections of the deliveries are closed, the admin port may lack an open file.
  await eventually('the admin port answers', () =>
    relay.metric(prevented).then(
      () => true,
      () => false,
    ),
  );
  await drained(relay);
  expectEach(receiver, COUNT);
  expect(receiver.requests).toHaveLength(COUNT);
  expect(underWayMax).toBeGreaterThan(10);

  const attempts = relay.logs('attempt');
  expect(attempts.filter(({ outcome }) => outcome !== 'accepted')).toEqual([]);
  expect(attempts.filter(({ attempt }) => attempt !== 1)).toEqual([]);
  expect(relay.logs('breaker_opened')).toEqual([]);
  expect(relay.logs('attempt_prevented')).toMatchObject([{ level: 'warn', code: 'EMFILE' }]);
  expect(await relay.metric(prevented)).toBeGreaterThan(0);

  await using folder = await tempFolder({ 'relay.yaml': stringify(file) });
  const args = ['doctor', '-c', `${folder.path}/relay.yaml`];
  const { stdout } = await runCommand(args, { openFilesMax: OPEN_FILES_MAX });
  expect(stdout).toMatch(/^\[!\] open files +the limit is 130 \(ulimit -n\)/m);
  expect((await runCommand(args)).stdout).not.toContain('open files');
});

it('clients of the admin port leave enough open files for webhooks and probes', async () => {
  await using redis = await startRedis();
  await using receiver = await TestReceiver.start();
  const file = simpleFile(redis.url, receiver.url, {});
  await using relay = await RelayProcess.start(file, {}, 256);
  const url = await relay.adminUrl();
  using _idle = await rawClients(600, () => RawClient.connect(Number(new URL(url).port)));
  await expire(redis, 50);
  await eventually('all of them', () => receiver.requests.length === 50);
  const { statusCode, body } = await request(`${url}/livez`);
  expect([statusCode, await body.text()]).toEqual([200, 'ok\n']);
  expect(relay.logs('attempt_prevented')).toEqual([]);
});
