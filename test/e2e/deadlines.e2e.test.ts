/** Webhooks for keys with deadlines are on time, not lost, and not spurious. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { eventually } from '../support/eventually.js';
import { type RelayFile, RelayProcess, simpleFile } from '../support/relay-process.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { type ReceivedRequest, TestReceiver } from '../support/test-receiver.js';

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

/** Much more than a nudge takes on a busy machine, and much less than Redis's own expiry. */
const LATE_MS_MAX = 3_000;

/** Longer than a busy machine takes to track some keys and to change them. */
const LIVES_MS = 3_000;

/** A server with keys, and a receiver; relays come and go. */
class Scene implements AsyncDisposable {
  private constructor(
    readonly redis: RunningRedis,
    readonly client: Redis,
    readonly receiver: TestReceiver,
  ) {}

  static async set(...args: readonly string[]): Promise<Scene> {
    const redis = await startRedis({ args });
    const client = new Redis(redis.url, { protocol: 2 });
    client.on('error', () => undefined);
    return new Scene(redis, client, await TestReceiver.start());
  }

  file(more: Parameters<typeof simpleFile>[2] = {}): RelayFile {
    return simpleFile(this.redis.url, this.receiver.url, more);
  }

  start(more: Parameters<typeof simpleFile>[2] = {}): Promise<RelayProcess> {
    return RelayProcess.start(this.file(more));
  }

  /** The webhooks of this key. */
  of(key: string): ReceivedRequest[] {
    return this.receiver.requests.filter(({ body }) => body.data.key === key);
  }

  async arrival(key: string, withinMs?: number): Promise<ReceivedRequest> {
    return eventually(`the webhook of ${key}`, () => this.of(key)[0], withinMs);
  }

  /** Lets a last key expire; all webhooks due before have been sent by then. */
  async untilLater(name: string): Promise<void> {
    await this.client.set(`later:${name}`, '', 'PX', 20);
    await this.arrival(`later:${name}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.disconnect();
    await this.receiver[Symbol.asyncDispose]();
    await this.redis.stop();
  }
}

const tracked = (relay: RelayProcess) => relay.metric('expiry_relay_tracked_deadlines');

const trackedAre = (relay: RelayProcess, count: number) =>
  eventually(`${count} tracked keys`, async () => (await tracked(relay)) === count, 30_000);

/** Adds volatile keys that outlive the test. */
async function crowd(client: Redis, count: number): Promise<void> {
  const pipeline = client.pipeline();
  for (let n = 0; n < count; n += 1) pipeline.set(`session:${n}`, '', 'EX', 3_600);
  await pipeline.exec();
}

/** Sets that many orders; resolves with when the last of them is due. */
async function fifty(client: Redis): Promise<number> {
  const endMs = inMs(LIVES_MS);
  for (let n = 1; n <= 50; n += 1) await client.set(`order:${n}`, '', 'PXAT', endMs - 50 + n);
  return endMs;
}

/** Resolves when keys that were due then would have caused their webhooks. */
const isOver = (endMs: number) => sleep(Math.max(0, endMs + 500 - Date.now()));

/** From each key's deadline to its arrival, in ascending order. */
function lateness(requests: readonly ReceivedRequest[]): number[] {
  return requests
    .map(({ atMs, body }) => atMs - Date.parse(String(body.data.expired_at)))
    .sort((one, other) => one - other);
}

/** A time by Redis's clock. */
const inMs = (ms: number) => Date.now() + ms;

const ORDERS = { route: { match: ['order:*', 'later:*'] } };

// Alone, since others would make them late.
describe('keys that expire', () => {
  it.each([{}, { state: { kind: 'memory' } }])(
    'among 20,000 others arrive just after their deadlines, each with its own id: %j',
    async (more) => {
      await using scene = await Scene.set();
      await crowd(scene.client, 20_000);
      await using relay = await scene.start({ ...ORDERS, ...more });
      const pipeline = scene.client.pipeline();
      const deadlines = new Map<string, number>();
      for (let n = 0; n < 200; n += 1) {
        deadlines.set(`order:${n}`, inMs(1_000 + 10 * n));
        pipeline.set(`order:${n}`, '', 'PXAT', deadlines.get(`order:${n}`) ?? 0);
      }
      await pipeline.exec();
      await eventually('all', () => scene.receiver.requests.length === 200);
      const { requests } = scene.receiver;
      for (const { body } of requests) {
        expect(Date.parse(String(body.data.expired_at))).toBe(deadlines.get(body.data.key));
        expect(body.timestamp).toBe(body.data.expired_at);
        expect(body.data.detected_by).toBe('notification');
      }
      expect(new Set(requests.map(({ id }) => id)).size).toBe(200);
      const late = lateness(requests);
      expect(late[100]).toBeLessThan(1_000);
      expect(late[199]).toBeLessThan(LATE_MS_MAX);
      const count = 'expiry_relay_lateness_seconds_count{route="all"}';
      expect(await relay.metric(count)).toBe(200);
      await trackedAre(relay, 0);
    },
    60_000,
  );
});

// The longest of those that run at the same time begins first.
describe.concurrent('a server that publishes only expirations', () => {
  it('has the keys with a TTL above the sweep interval on time, and the missing classes are logged', async () => {
    await using scene = await Scene.set('--notify-keyspace-events', 'Ex');
    await crowd(scene.client, 20_000);
    await scene.client.set('order:1', '', 'PX', 15_000);
    await scene.client.set('order:2', '', 'PX', 15_000);
    const redis = { url: scene.redis.url, notifications: 'require' };
    await using relay = await scene.start({ ...ORDERS, redis });
    expect(await relay.logged('notifications_partial')).toMatchObject({ level: 'warn' });
    await trackedAre(relay, 2);
    const sweep = 'expiry_relay_sweep_duration_seconds';
    await eventually('a whole sweep', async () => (await relay.metric(sweep)) > 0);
    // It expires unnoticed at first: its old deadline must cause no second webhook.
    await scene.client.pexpire('order:2', 500);
    await eventually('its end', async () => (await scene.client.exists('order:2')) === 0);
    await scene.arrival('order:1', 30_000);
    await eventually('no more is tracked', async () => (await tracked(relay)) === 0);
    expect(lateness(scene.of('order:1'))[0]).toBeLessThan(LATE_MS_MAX);
    expect(scene.of('order:2').map(({ body }) => body.data.expired_at)).toEqual([null]);
  }, 60_000);
});

describe.concurrent('keys that expire', () => {
  it('existed before the relay, among 20,000 others, are found and on time', async () => {
    await using scene = await Scene.set();
    await crowd(scene.client, 20_000);
    for (let n = 0; n < 20; n += 1) await scene.client.set(`order:${n}`, '', 'PX', 10_000);
    await using _ = await scene.start(ORDERS);
    await eventually('all', () => scene.receiver.requests.length === 20, 30_000);
    expect(lateness(scene.receiver.requests)[19]).toBeLessThan(LATE_MS_MAX);
  }, 60_000);

  it('and are set again at once, expire again', async () => {
    await using scene = await Scene.set();
    await using _ = await scene.start();
    for (let n = 1; n <= 3; n += 1) {
      await scene.client.set('order:1', '', 'PX', 60);
      await eventually('the webhook', () => scene.of('order:1').length === n);
    }
    expect(new Set(scene.of('order:1').map(({ id }) => id)).size).toBe(3);
  });

  it('during a CLIENT PAUSE arrive once', async () => {
    await using scene = await Scene.set();
    await using relay = await scene.start({ state: { kind: 'memory' } });
    await scene.client.set('order:1', '', 'PX', LIVES_MS);
    await trackedAre(relay, 1);
    await scene.client.call('CLIENT', 'PAUSE', LIVES_MS + 2_000, 'WRITE');
    await scene.arrival('order:1');
    await scene.untilLater('one');
    expect(scene.of('order:1')).toHaveLength(1);
    expect(scene.of('order:1')[0]?.body.data.detected_by).toBe('notification');
  }, 30_000);
});

describe.concurrent('as many databases and endpoints as there may be', () => {
  const DATABASES = Array.from({ length: 16 }, (_, n) => n);

  it('work across a gap, and standard error stays empty', async () => {
    await using scene = await Scene.set(...DURABLE);
    const endpoint = { url: scene.receiver.url, secrets: 'none' };
    const names = DATABASES.map((n) => `endpoint-${n}`);
    await using relay = await RelayProcess.start({
      redis: { url: scene.redis.url, databases: DATABASES },
      endpoints: Object.fromEntries(names.map((name) => [name, endpoint])),
      routes: names.map((name, n) => ({ name, match: [`order:${n}`, `later:${n}`], to: name })),
    });
    const expireIn = async (kind: string) => {
      for (const database of DATABASES) {
        await scene.client.select(database);
        await scene.client.set(`${kind}:${database}`, '', 'PX', 50);
      }
      for (const database of DATABASES) {
        const { body } = await scene.arrival(`${kind}:${database}`);
        expect(body.data).toMatchObject({ database, route: `endpoint-${database}` });
      }
    };
    await expireIn('order');
    await scene.redis.restart();
    await relay.logged('subscription_lost');
    await relay.ready();
    await expireIn('later');
    expect(relay.stderr).toBe('');
  }, 60_000);
});

describe.concurrent('keys that do not expire', () => {
  it('because they were deleted, persisted or overwritten cause no webhook', async () => {
    await using scene = await Scene.set();
    const { client } = scene;
    await using relay = await scene.start();
    const removed = ['del', 'unlink', 'getdel', 'expire 0', 'pexpireat past', 'getex past'];
    const keys = [...removed, 'persist', 'set', 'getex'];
    for (const key of keys) await client.set(key, 'x', 'PX', LIVES_MS);
    await trackedAre(relay, keys.length);
    await client.del('del');
    await client.unlink('unlink');
    await client.getdel('getdel');
    await client.persist('persist');
    await client.set('set', 'y');
    await client.expire('expire 0', 0);
    await client.pexpireat('pexpireat past', inMs(-5_000));
    await client.getex('getex past', 'PXAT', inMs(-5_000));
    await client.getex('getex', 'PERSIST');
    await trackedAre(relay, 0);
    await scene.untilLater('one');
    await trackedAre(relay, 0);
    expect(scene.receiver.keys).toEqual(['later:one']);
  });

  it('at their first deadline, but at a later one, cause one webhook at the later one', async () => {
    await using scene = await Scene.set();
    await using relay = await scene.start();
    await scene.client.set('order:1', '', 'PX', LIVES_MS);
    await trackedAre(relay, 1);
    const deadlineMs = inMs(LIVES_MS + 1_000);
    await scene.client.pexpireat('order:1', deadlineMs);
    const { body } = await scene.arrival('order:1');
    expect(Date.parse(String(body.data.expired_at))).toBe(deadlineMs);
    await scene.untilLater('one');
    expect(scene.of('order:1')).toHaveLength(1);
  });

  it('but are renamed cause one webhook, with the new name', async () => {
    await using scene = await Scene.set();
    await using relay = await scene.start();
    await scene.client.set('order:1', '', 'PX', LIVES_MS);
    await trackedAre(relay, 1);
    await scene.client.rename('order:1', 'order:2');
    const { body } = await scene.arrival('order:2');
    expect(body.data).toMatchObject({ detected_by: 'notification' });
    await scene.untilLater('one');
    expect(scene.receiver.keys).toEqual(['order:2', 'later:one']);
  });

  it("because they are the relay's own are not tracked, even with a route for *", async () => {
    await using scene = await Scene.set();
    await scene.client.set('{expiry-relay}:1:replica:other', '', 'PX', 3_600_000);
    await using relay = await scene.start();
    await eventually('a sweep', async () => (await relay.metric('expiry_relay_swept_keys')) >= 0);
    await scene.untilLater('one');
    await trackedAre(relay, 0);
  });
});

describe.concurrent('while the relay is down', () => {
  it('an expiration is delivered after the start, unless the route has `skip`', async () => {
    await using scene = await Scene.set();
    const { client, receiver } = scene;
    const endpoints = { shop: { url: receiver.url, secrets: 'none' } };
    const file = {
      ...scene.file(),
      endpoints,
      routes: [
        { name: 'all', match: ['order:*', 'later:*'], to: 'shop' },
        { name: 'sure', match: 'order:*', to: 'shop', on_ambiguous: 'skip' },
      ],
    };
    await using killed = await RelayProcess.start(file);
    const deadlineMs = inMs(LIVES_MS);
    for (const key of ['order:1', 'order:2', 'order:3', 'order:4']) {
      await client.set(key, '', 'PXAT', deadlineMs);
    }
    await client.set('order:5', '', 'PX', 12_000);
    await client.set('order:6', '', 'PX', 12_000);
    await client.set('order:7', '', 'PX', 12_000);
    await trackedAre(killed, 7);
    await killed.stop('SIGKILL');
    await client.persist('order:4');
    await client.del('order:5');
    await client.persist('order:6');
    await client.rename('order:7', 'order:8');
    await eventually('the end of a key', async () => (await client.exists('order:1')) === 0);
    // Redis has published this one; it may publish the others once the relay is back.
    await using relay = await RelayProcess.start(file);
    const routes = (key: string) => scene.of(key).map(({ body }) => body.data.route);
    await eventually('three keys', () => [1, 2, 3].every((n) => scene.of(`order:${n}`)[0]));
    const [first] = scene.of('order:1');
    expect(first?.body.data.detected_by).toBe('recovery');
    expect(Date.parse(String(first?.body.data.expired_at))).toBe(deadlineMs);
    expect(routes('order:1')).toEqual(['all']);
    await scene.arrival('order:8', 20_000);
    await scene.untilLater('one');
    const others = ['order:4', 'order:5', 'order:6', 'order:7'];
    expect(receiver.keys.filter((key) => others.includes(key))).toEqual([]);
    expect(new Set(receiver.requests.map(({ id }) => id)).size).toBe(receiver.requests.length);
    expect(relay.logs('expirations_recovered').length).toBeGreaterThan(0);
    await trackedAre(relay, 0);
  }, 60_000);

  it('an expiration of a key that is set again at once is delivered if the server reports new keys', async () => {
    await using scene = await Scene.set('--notify-keyspace-events', 'Exgen');
    const { client } = scene;
    const keys = Array.from({ length: 50 }, (_, n) => `order:${n}`);
    await using killed = await scene.start();
    const deadlineMs = inMs(LIVES_MS);
    for (const key of keys) await client.set(key, '', 'PXAT', deadlineMs);
    await client.set('extended', '', 'PXAT', deadlineMs);
    await trackedAre(killed, keys.length + 1);
    await killed.stop('SIGKILL');
    await client.pexpire('extended', 60_000);
    await eventually('their end', async () => (await client.exists(...keys)) === 0);
    const starting = scene.start();
    await eventually('its subscription', async () => {
      const [, count] = await client.pubsub('NUMSUB', '__keyevent@0__:expire');
      return Number(count) > 0;
    });
    const pipeline = client.pipeline().pexpire('extended', 90_000);
    for (const key of keys) pipeline.set(key, '', 'PX', 60_000);
    await pipeline.exec();
    await using relay = await starting;
    await eventually('all', () => new Set(scene.receiver.keys).size === keys.length);
    await trackedAre(relay, keys.length + 1);
    await scene.untilLater('one');
    expect(scene.receiver.keys.toSorted()).toEqual([...keys, 'later:one'].toSorted());
    for (const key of keys) {
      expect(scene.of(key)[0]?.body.data).toMatchObject({
        detected_by: 'recovery',
        expired_at: new Date(deadlineMs).toISOString(),
      });
    }
  }, 60_000);

  it('a restart of Redis loses nothing', async () => {
    await using scene = await Scene.set(...DURABLE);
    await using relay = await scene.start();
    for (let n = 0; n < 20; n += 1)
      await scene.client.set(`order:${n}`, '', 'PX', LIVES_MS + 100 * n);
    await trackedAre(relay, 20);
    await scene.redis.kill('SIGKILL');
    await relay.logged('subscription_lost');
    await scene.redis.restart();
    await relay.ready();
    await eventually('all', () => new Set(scene.receiver.keys).size === 20, 30_000);
    await scene.untilLater('one');
    const ids = scene.receiver.requests.map(({ id }) => id);
    expect(new Set(ids).size).toBe(21);
  }, 60_000);

  it('expirations are delivered although the connection is cut', async () => {
    await using scene = await Scene.set();
    await using proxy = await TcpProxy.start(scene.redis.port);
    const file = scene.file({
      redis: { url: `redis://127.0.0.1:${proxy.port}` },
      state: { url: scene.redis.url },
    });
    await using relay = await RelayProcess.start(file);
    for (let n = 0; n < 20; n += 1) await scene.client.set(`order:${n}`, '', 'PX', LIVES_MS);
    await trackedAre(relay, 20);
    proxy.cut(true);
    await relay.logged('subscription_lost');
    for (let n = 0; n < 20; n += 1) {
      await eventually('its end', async () => (await scene.client.exists(`order:${n}`)) === 0);
    }
    proxy.cut(false);
    await relay.ready();
    await eventually('all', () => scene.receiver.requests.length >= 20, 20_000);
    await scene.untilLater('one');
    expect(scene.receiver.requests).toHaveLength(21);
    expect(scene.of('order:0')[0]?.body.data.detected_by).toBe('recovery');
  }, 60_000);
});

describe.concurrent.each(['flushdb', 'flushall'] as const)('a database emptied by %s', (flush) => {
  /** The state is on a separate server, or it would be emptied, too. */
  async function set() {
    const scene = await Scene.set();
    const state = await Scene.set();
    const more = { state: { url: state.redis.url } };
    return { scene, state, more };
  }

  it('while the relay runs causes no webhook, and is logged; later keys are on time', async () => {
    const { scene, state, more } = await set();
    await using _ = scene;
    await using __ = state;
    await using relay = await scene.start(more);
    const endMs = await fifty(scene.client);
    await trackedAre(relay, 50);
    await scene.client[flush]();
    const line = await relay.logged('database_emptied', 20_000);
    expect(line).toMatchObject({ level: 'error', database: 0, deadlines: 50 });
    expect(await relay.metric('expiry_relay_deadlines_discarded_total')).toBe(50);
    await isOver(endMs);
    await scene.untilLater('one');
    await trackedAre(relay, 0);
    expect(scene.receiver.keys).toEqual(['later:one']);
    expect(relay.logs('database_emptied')).toHaveLength(1);
  });

  it('while it is down causes no webhook', async () => {
    const { scene, state, more } = await set();
    await using _ = scene;
    await using __ = state;
    await using killed = await scene.start(more);
    const endMs = await fifty(scene.client);
    await trackedAre(killed, 50);
    await killed.stop('SIGKILL');
    await scene.client[flush]();
    await using relay = await scene.start(more);
    expect(await relay.logged('database_emptied')).toMatchObject({ deadlines: 50 });
    await isOver(endMs);
    await scene.untilLater('one');
    expect(scene.receiver.keys).toEqual(['later:one']);
  });
});

describe.concurrent('a server emptied together with the state in it', () => {
  it('causes no webhook, and is logged; later keys are on time', async () => {
    await using scene = await Scene.set();
    await using relay = await scene.start();
    const endMs = await fifty(scene.client);
    await trackedAre(relay, 50);
    await scene.client.flushall();
    await scene.client.set('order:next', '', 'PX', LIVES_MS);
    await relay.logged('database_emptied', 20_000);
    // The deliveries in it are lost as well.
    expect(await relay.logged('state_lost')).toMatchObject({ level: 'error' });
    expect(await relay.metric('expiry_relay_databases_emptied_total')).toBe(1);
    const next = await scene.arrival('order:next');
    expect(lateness([next])[0]).toBeLessThan(LATE_MS_MAX);
    await isOver(endMs);
    await scene.untilLater('one');
    expect(scene.receiver.keys).toEqual(['order:next', 'later:one']);
  });
});
