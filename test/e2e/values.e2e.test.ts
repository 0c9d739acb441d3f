/** The values that webhooks carry: of the key that expired, and of another. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess } from '../support/relay-process.js';
import { assertVerified, TestReceiver } from '../support/test-receiver.js';

/** Long enough for the relay to read a key, and for a change of it afterwards. */
const LIFE_MS = 2_500;

let server: RunningRedis;
let redis: Redis;
let receiver: TestReceiver;

const files = (state: Record<string, unknown>) => ({
  redis: { url: server.url, databases: [0, 1] },
  state,
  endpoints: { shop: { url: receiver.url, secrets: [TEST_SECRET] } },
  routes: [
    { name: 'v', match: 'v:{id}', to: 'shop', include: ['value'] },
    { name: 'small', match: 'v:small:*', to: 'shop', include: ['value'], value_max: '4B' },
    { name: 'look', match: 'timer:{id}', to: 'shop', lookup: 'data:{id}' },
    { name: 'plain', match: 'plain:*', to: 'shop' },
  ],
});

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url, { protocol: 2 });
  receiver = await TestReceiver.start();
});

afterAll(async () => {
  await receiver?.[Symbol.asyncDispose]();
  redis?.disconnect();
  await server?.stop();
});

/** The data of the webhook of a route about a key. */
async function dataOf(key: string, route: string) {
  const request = await eventually(`the webhook of ${key}`, () =>
    receiver.requests.find(({ body }) => body.data.key === key && body.data.route === route),
  );
  assertVerified(request);
  return request.body.data;
}

describe.each([
  ['redis', { kind: 'redis' }],
  ['memory', { kind: 'memory' }],
])('with state.kind: %s', (kind, state) => {
  let relay: RelayProcess;

  beforeAll(async () => {
    relay = await RelayProcess.start(files(state));
    await eventually('watching', () => relay.watches);
  });
  afterAll(() => relay?.[Symbol.asyncDispose]());

  it('a webhook has the last value of a key that was changed after it was set', async () => {
    const key = `v:last-${kind}`;
    const beganAtMs = Date.now();
    await redis.set(key, 'first', 'PX', 6_000);
    await eventually(
      'tracked',
      async () => (await relay.metric('expiry_relay_tracked_deadlines')) > 0,
    );
    await redis.set(key, 'last', 'KEEPTTL');
    const data = await dataOf(key, 'v');
    expect(data.value).toBe('last');
    expect(data).not.toHaveProperty('value_omitted');
    expect(data).not.toHaveProperty('value_base64');
    const readAtMs = Date.parse(String(data.value_read_at));
    const expiredAtMs = Date.parse(String(data.expired_at));
    expect(readAtMs).toBeLessThanOrEqual(expiredAtMs);
    expect(readAtMs).toBeGreaterThanOrEqual(beganAtMs);
  });

  it('every type has its documented shape', async () => {
    const at = Date.now() + LIFE_MS;
    const keys = ['hash', 'list', 'set', 'zset', 'stream'].map((type) => `v:${type}-${kind}`);
    const [hash, list, set, zset, stream] = keys as [string, string, string, string, string];
    await redis.hset(hash, { status: 'unpaid', total: '42' });
    await redis.rpush(list, 'a', 'b');
    await redis.sadd(set, 'm');
    await redis.zadd(zset, 1.5, 'm');
    await redis.xadd(stream, '7-0', 'f', 'v');
    for (const key of keys) await redis.pexpireat(key, at);
    const values = await Promise.all(keys.map(async (key) => (await dataOf(key, 'v')).value));
    expect(values).toEqual([
      { status: 'unpaid', total: '42' },
      ['a', 'b'],
      ['m'],
      [{ member: 'm', score: 1.5 }],
      [{ id: '7-0', fields: { f: 'v' } }],
    ]);
  });

  it('invalid UTF-8 is sent in base64, too', async () => {
    const key = `v:binary-${kind}`;
    await redis.set(key, Buffer.from([0xff, 0x00, 0x41]), 'PX', LIFE_MS);
    expect(await dataOf(key, 'v')).toMatchObject({ value: '\ufffd\0A', value_base64: '/wBB' });
  });

  it('a value above the limit of the route is omitted from its webhook only, and counted', async () => {
    const key = `v:small:${kind}`;
    await redis.set(key, '12345', 'PX', LIFE_MS);
    const data = await dataOf(key, 'small');
    expect(data).toMatchObject({ value: null, value_omitted: 'too_large' });
    expect(typeof data.value_read_at).toBe('string');
    const counted = await relay.metric(
      'expiry_relay_values_omitted_total{route="small",reason="too_large"}',
    );
    expect(counted).toBe(1);
  });

  it('a key that expired before it could be read has no value', async () => {
    const key = `v:brief-${kind}`;
    // The script keeps Redis busy until the key has expired.
    const busy = 'for turn = 1, 3000000 do end';
    await redis.multi().set(key, 'x', 'PX', 1).eval(busy, 0).exec();
    const { value_omitted, value } = await dataOf(key, 'v');
    expect([value, value_omitted]).toEqual([null, 'gone']);
  });

  it('another key of the same database is looked up when the webhook is built', async () => {
    await using other = await connectedTo(1);
    await redis.hset('data:7', { total: 'of database 0' });
    await other.redis.hset('data:7', { total: '9.90' });
    await other.redis.set(`timer:7`, '', 'PX', 50);
    expect(await dataOf('timer:7', 'look')).toMatchObject({
      lookup: { key: 'data:7', value: { total: '9.90' } },
    });
    receiver.requests.length = 0;
    await redis.set('timer:none', '', 'PX', 50);
    expect((await dataOf('timer:none', 'look')).lookup).toMatchObject({
      key: 'data:none',
      value: null,
      value_omitted: 'gone',
    });
  });

  it('a route without include_value gets no value', async () => {
    const key = `plain:${kind}`;
    await redis.set(key, 'x', 'PX', 50);
    const data = await dataOf(key, 'plain');
    expect(Object.keys(data).filter((name) => /value|lookup/.test(name))).toEqual([]);
  });
});

describe('with state.kind: redis', () => {
  it('a value outlives the relay: a key that expires while none runs has it', async () => {
    const key = 'v:outlives';
    const file = files({ kind: 'redis', prefix: 'outlives' });
    {
      await using relay = await RelayProcess.start(file);
      await redis.set(key, 'kept', 'PX', 4_000);
      await eventually('kept', () => redis.hexists('{outlives}:1:values:0:read', key));
      await relay.stop();
    }
    await eventually('expired', async () => (await redis.exists(key)) === 0);
    await using relay = await RelayProcess.start(file);
    const data = await dataOf(key, 'v');
    expect(data).toMatchObject({ value: 'kept', detected_by: 'recovery' });
    expect(relay.running).toBe(true);
  });

  it('no value is kept of expired, deleted and persisted keys', async () => {
    const prefix = 'over';
    await using relay = await RelayProcess.start(files({ kind: 'redis', prefix }));
    const kept = () => redis.hkeys(`{${prefix}}:1:values:0:read`);
    await redis.set('v:expires', 'x', 'PX', 3_000);
    await redis.set('v:deleted', 'x', 'PX', 60_000);
    await eventually('kept', async () => (await kept()).length === 2);
    await redis.del('v:deleted');
    await dataOf('v:expires', 'v');
    await eventually('forgotten', async () => (await kept()).length === 0);
    expect(await redis.zcard(`{${prefix}}:1:values:0:deadlines`)).toBe(0);
    expect(relay.running).toBe(true);
  });

  it('no value is kept of an emptied database', async () => {
    const prefix = 'emptied';
    await using relay = await RelayProcess.start(files({ kind: 'redis', prefix }));
    await using other = await connectedTo(1);
    const kept = () => redis.hkeys(`{${prefix}}:1:values:1:read`);
    await other.redis.set('v:emptied', 'x', 'PX', 60_000);
    await eventually('kept', async () => (await kept()).length === 1);
    await other.redis.flushdb();
    await eventually('forgotten', async () => (await kept()).length === 0);
    const said = await eventually('it is said', () => relay.logs('database_emptied')[0]);
    expect(said).toMatchObject({ database: 1 });
  });

  it('no value is kept once no route includes it', async () => {
    const file = files({ kind: 'redis', prefix: 'no-longer' });
    const kept = () => redis.hkeys('{no-longer}:1:values:0:read');
    {
      await using relay = await RelayProcess.start(file);
      await redis.set('v:no-longer', 'x', 'PX', 60_000);
      await eventually('kept', async () => (await kept()).length === 1);
      await relay.stop();
    }
    const routes = file.routes.filter(({ name }) => name === 'plain');
    await using relay = await RelayProcess.start({ ...file, routes });
    await eventually('forgotten', async () => (await kept()).length === 0);
    expect(relay.running).toBe(true);
  });

  it('no value belongs to a later life of its key', async () => {
    await using relay = await RelayProcess.start(files({ kind: 'redis', prefix: 'lives' }));
    const lives = 60;
    const keys = Array.from({ length: 10 }, (_, n) => `v:lives-${n}`);
    const ends = new Map<string, number[]>();
    await Promise.all(
      keys.map(async (key) => {
        for (let life = 0; life < lives; life += 1) {
          const endMs = Date.now() + 40;
          ends.set(key, [...(ends.get(key) ?? []), endMs]);
          await redis.set(key, String(endMs), 'PXAT', endMs);
          while (Date.now() <= endMs + 1) await sleep(1);
        }
      }),
    );
    await eventually('most of them', () => {
      const its = receiver.requests.filter(({ body }) => keys.includes(body.data.key));
      return its.length > (keys.length * lives) / 2;
    });
    const wrong = receiver.requests
      .map(({ body }) => body.data)
      .filter(({ key, value }) => keys.includes(key) && value !== null)
      .filter(({ value, expired_at }) => Number(value) !== Date.parse(String(expired_at)));
    expect(wrong).toEqual([]);
    expect(relay.running).toBe(true);
  });

  it('a value that Redis refuses to return is omitted, and logged', async () => {
    const prefix = 'forbidden';
    const rules = ['allkeys', 'allchannels', '+@all', '-hrandfield'];
    await redis.acl('SETUSER', 'curious', 'on', '>secret', ...rules);
    const file = files({ kind: 'redis', prefix });
    const login = { username: 'curious', password: 'secret' };
    await using relay = await RelayProcess.start({ ...file, redis: { ...file.redis, ...login } });
    await redis.hset('v:forbidden', { a: '1' });
    await redis.pexpire('v:forbidden', LIFE_MS);
    const data = await dataOf('v:forbidden', 'v');
    expect(data).toMatchObject({ value: null, value_omitted: 'forbidden' });
    expect(relay.logs('value_unreadable')).toMatchObject([
      { error: expect.stringContaining('hrandfield') },
    ]);
  });

  it('no value is read or kept where no route includes it', async () => {
    const prefix = 'unasked';
    const file = files({ kind: 'redis', prefix });
    await using relay = await RelayProcess.start({
      ...file,
      routes: file.routes.filter(({ name }) => name === 'plain'),
    });
    await redis.config('RESETSTAT');
    await redis.set('plain:unasked', 'x', 'PX', 500);
    await dataOf('plain:unasked', 'plain');
    const stats = await redis.info('commandstats');
    expect(stats).toContain('cmdstat_pexpiretime');
    expect(stats).not.toMatch(/cmdstat_(type|memory|getrange)/);
    expect(await redis.keys(`{${prefix}}:1:values:*`)).toEqual([]);
    expect(relay.running).toBe(true);
  });
});

async function connectedTo(database: number) {
  const client = new Redis(server.url, { protocol: 2, db: database });
  return { redis: client, [Symbol.asyncDispose]: async () => client.disconnect() };
}
