/** Relays that share `state.prefix` and are no replicas of each other: nothing is lost silently. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { type RelayFile, RelayProcess } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';

/** A file with a route for each of these prefixes of keys. */
function fileFor(redis: RunningRedis, receiver: TestReceiver, ...prefixes: string[]): RelayFile {
  return {
    redis: { url: redis.url },
    endpoints: { shop: { url: receiver.url, secrets: [TEST_SECRET] } },
    routes: prefixes.map((prefix) => ({ name: prefix, match: `${prefix}:*`, to: 'shop' })),
    shutdown: { grace: '2s' },
  };
}

const arrived = (receiver: TestReceiver, prefix: string) =>
  receiver.keys.filter((key) => key.startsWith(`${prefix}:`));

/** TTLs of keys: a relay reads the deadlines of some of them, or of all. */
const LIVES_MS = [20, 900];
const READ_LIVES_MS = [300, 900];

interface Writer {
  readonly database?: number;
  readonly livesMs?: readonly number[];
}

/** Writes keys of each prefix, 50 a second, until it is stopped. */
function startWriter(
  redis: RunningRedis,
  prefixes: readonly string[],
  { database = 0, livesMs = READ_LIVES_MS }: Writer = {},
) {
  const client = new Redis(redis.url, { protocol: 2, db: database });
  const stop = new AbortController();
  const written: { readonly key: string; readonly atMs: number }[] = [];
  const over = (async () => {
    for (let n = 0; !stop.signal.aborted; n += 1) {
      const pipeline = client.pipeline();
      for (const prefix of prefixes) {
        written.push({ key: `${prefix}:${n}`, atMs: Date.now() });
        pipeline.set(`${prefix}:${n}`, '', 'PX', livesMs[n % livesMs.length] ?? 0);
      }
      await pipeline.exec();
      await sleep(20);
    }
    client.disconnect();
  })();
  return {
    written,
    stop: async () => {
      stop.abort();
      await over;
    },
  };
}

/** Each of these keys arrived, each under one id. */
async function expectAll(receiver: TestReceiver, keys: readonly string[]): Promise<void> {
  const missing = () => {
    const all = new Set(receiver.keys);
    return keys.filter((key) => !all.has(key));
  };
  await eventually('all webhooks', () => missing().length === 0, 20_000).catch(() => undefined);
  expect(missing()).toEqual([]);
  const ids = new Map<string, Set<string>>();
  for (const { body, id } of receiver.requests) {
    const key = String(body.data.key);
    ids.set(key, (ids.get(key) ?? new Set()).add(id));
  }
  expect([...ids].filter(([, its]) => its.size > 1).map(([key]) => key)).toEqual([]);
}

describe.concurrent('two applications with different files under one state.prefix', () => {
  it('are reported by log, /readyz and metrics, and the newer one gets its webhooks', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using first = await RelayProcess.start(fileFor(redis, receiver, 'order'));
    await eventually('watching', () => first.watches);
    await using second = await RelayProcess.start(fileFor(redis, receiver, 'trial'));
    await eventually('the newer one watches', () => second.watches);
    await eventually('superseded', async () => (await first.get('/readyz')).status === 503);
    expect((await first.get('/readyz')).text).toContain(
      '[-] configuration: superseded by a newer configuration with state.prefix "expiry-relay"',
    );
    const error = await first.logged('configuration_superseded');
    expect(error).toMatchObject({ level: 'error', prefix: 'expiry-relay' });
    expect(error.msg).toContain('state.prefix "expiry-relay"');
    expect(await second.logged('configuration_leading')).toMatchObject({ level: 'warn' });
    expect((await second.get('/readyz')).status).toBe(200);
    expect((await second.get('/readyz?verbose')).text).toContain('[!] configuration: replicas');
    expect(await first.metric('expiry_relay_superseded')).toBe(1);
    expect(await second.metric('expiry_relay_configurations')).toBe(2);
    const client = new Redis(redis.url, { protocol: 2 });
    await client.set('trial:1', '', 'PX', 300);
    client.disconnect();
    await expectAll(receiver, ['trial:1']);
    await second.stop();
    await first.ready(15_000);
    await first.logged('configuration_current', 15_000);
    expect(await first.metric('expiry_relay_configurations')).toBe(1);
    expect(first.logs('configuration_superseded')).toHaveLength(1);
    expect(second.logs('configuration_leading')).toHaveLength(1);
  }, 60_000);
});

describe.concurrent('a rolling update that removes the first database', () => {
  it('sends each webhook of the others once, also when the new replica is killed', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    const watchingOf = (...databases: number[]) => ({
      ...fileFor(redis, receiver, 'order'),
      redis: { url: redis.url, databases },
      state: { url: `${redis.url}/2` },
    });
    await using old = await RelayProcess.start(watchingOf(0, 1));
    await eventually('watching', () => old.watches);
    const writer = startWriter(redis, ['order'], { database: 1, livesMs: LIVES_MS });
    await sleep(1_000);
    await using updated = await RelayProcess.start(watchingOf(1));
    await eventually('the new one watches', () => updated.watches);
    await sleep(2_000);
    await updated.stop('SIGKILL');
    await eventually('the old one watches', () => old.watches);
    await sleep(1_000);
    await writer.stop();
    const keys = writer.written.map(({ key }) => key);
    await expectAll(receiver, keys);
  }, 60_000);
});

describe.concurrent('a rolling update that adds a route', () => {
  it('loses nothing once the new replica is ready, nor when it is rolled back', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    const oldFile = fileFor(redis, receiver, 'order');
    await using before = await RelayProcess.start(oldFile);
    await using other = await RelayProcess.start(oldFile);
    await eventually('watching', () => before.watches || other.watches);
    const writer = startWriter(redis, ['order', 'trial']);
    await sleep(1_000);
    await using updated = await RelayProcess.start(fileFor(redis, receiver, 'order', 'trial'));
    const readyAtMs = Date.now();
    await sleep(2_000);
    // One of the old replicas restarts meanwhile.
    await before.stop();
    await using again = await RelayProcess.spawn(oldFile);
    await again.logged('configuration_superseded');
    await sleep(1_000);
    expect(updated.logs('watching_ended')).toEqual([]);
    const rolledBackAtMs = Date.now();
    await updated.stop();
    await eventually('an old one watches', () => other.watches || again.watches);
    await sleep(1_000);
    await writer.stop();
    const wanted = writer.written.filter(
      ({ key, atMs }) =>
        key.startsWith('order:') || (atMs > readyAtMs && atMs < rolledBackAtMs - 1_000),
    );
    await expectAll(
      receiver,
      wanted.map(({ key }) => key),
    );
    const turns = [before, other, again, updated].flatMap((relay) => relay.logs('watching'));
    expect(turns.length).toBeLessThanOrEqual(3);
  }, 90_000);

  it('does not move the lease while the new replica crashes repeatedly', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using old = await RelayProcess.start(fileFor(redis, receiver, 'order'));
    await eventually('watching', () => old.watches);
    const writer = startWriter(redis, ['order']);
    const newFile = fileFor(redis, receiver, 'order', 'trial');
    for (let crashes = 0; crashes < 4; crashes += 1) {
      await using crashing = await RelayProcess.spawn(newFile);
      await crashing.logged('listening', 20_000);
      await sleep(1_000);
      await crashing.stop('SIGKILL');
    }
    expect((await old.get('/readyz')).status).toBe(200);
    expect(old.logs('watching_ended')).toEqual([]);
    await writer.stop();
    await expectAll(
      receiver,
      writer.written.map(({ key }) => key),
    );
  }, 90_000);

  it('sends webhooks for keys that expired while only the old replica ran, once the new one is back', async () => {
    await using redis = await startRedis();
    await using receiver = await TestReceiver.start();
    await using old = await RelayProcess.start(fileFor(redis, receiver, 'order'));
    await eventually('watching', () => old.watches);
    const newFile = fileFor(redis, receiver, 'order', 'trial');
    await using updated = await RelayProcess.start(newFile);
    const client = new Redis(redis.url, { protocol: 2 });
    await client.set('trial:1', '', 'PX', 5_000);
    await eventually(
      'tracked',
      async () => (await updated.metric('expiry_relay_tracked_deadlines')) === 1,
    );
    await updated.stop('SIGKILL');
    await eventually('the old one watches', () => old.watches);
    await eventually('expired', async () => (await client.exists('trial:1')) === 0);
    client.disconnect();
    // Until it is found missing.
    await sleep(3_000);
    expect(arrived(receiver, 'trial')).toEqual([]);
    await using back = await RelayProcess.start(newFile);
    await eventually('delivered', () => arrived(receiver, 'trial').length === 1, 20_000);
    expect(receiver.requests.at(-1)?.body.data).toMatchObject({ detected_by: 'recovery' });
    expect(back.running).toBe(true);
  }, 90_000);
});

describe.concurrent('a relay that watches another server under the same prefix and state', () => {
  it('is refused with the reason, and the deadlines of the first one are kept', async () => {
    await using state = await startRedis();
    await using redis = await startRedis();
    await using elsewhere = await startRedis();
    await using receiver = await TestReceiver.start();
    const file = { ...fileFor(redis, receiver, 'order'), state: { url: state.url } };
    await using relay = await RelayProcess.start(file);
    const client = new Redis(redis.url, { protocol: 2 });
    await client.set('order:1', '', 'PX', 6_000);
    await eventually(
      'tracked',
      async () => (await relay.metric('expiry_relay_tracked_deadlines')) === 1,
    );
    await relay.stop();
    await using refused = await RelayProcess.spawn({ ...file, redis: { url: elsewhere.url } });
    expect(await refused.exited).toMatchObject({ code: 1 });
    expect(refused.startError).toContain('holds the deadlines of another server');
    expect(refused.startError).toContain(`expected the one last seen at 127.0.0.1:${redis.port}`);
    expect(refused.startError).toContain("DEL '{expiry-relay}:1:watched'");
    await using again = await RelayProcess.start(file);
    await expectAll(receiver, ['order:1']);
    client.disconnect();
    expect(again.running).toBe(true);
  }, 60_000);

  it('is not mistaken: a server that restarts without its data is the same', async () => {
    await using state = await startRedis();
    const redis = await startRedis();
    await using receiver = await TestReceiver.start();
    const file = { ...fileFor(redis, receiver, 'order'), state: { url: state.url } };
    await using relay = await RelayProcess.start(file);
    await eventually('watching', () => relay.watches);
    await redis.stop();
    await using empty = await startRedis({ port: redis.port });
    await eventually('again', async () => relay.logs('listening').length === 2, 20_000);
    await relay.ready(20_000);
    await eventually('watching', () => relay.watches);
    const client = new Redis(empty.url, { protocol: 2 });
    await client.set('order:2', '', 'PX', 200);
    client.disconnect();
    await expectAll(receiver, ['order:2']);
  }, 60_000);
});
