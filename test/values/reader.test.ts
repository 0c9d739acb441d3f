import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { systemClock } from '../../src/lib/clock.js';
import { ServerClock } from '../../src/redis/server-clock.js';
import { Keyspace } from '../../src/source/keyspace.js';
import { countAtOnce, readValues } from '../../src/values/reader.js';
import { sharedRedis } from '../support/shared-redis.js';
import { isPrimary, steady } from '../support/steady-connection.js';

const shared = sharedRedis();
const KIB = 1024;

/** Reads these keys of database 0, and collects refusals. */
async function reading(redis: Redis, keys: readonly (string | Buffer)[], bytesMax = KIB) {
  const keyspace = new Keyspace(steady(redis), new ServerClock(systemClock), isPrimary);
  const refusals: string[] = [];
  const wanted = keys.map((key) => ({ database: 0, key: Buffer.from(key), bytesMax }));
  const read = await readValues(keyspace, wanted, ({ message }) => refusals.push(message));
  return { read, values: read.map(({ value }) => value.omitted ?? value.value), refusals };
}

async function connected(url: string) {
  const redis = new Redis(url, { protocol: 2 });
  return { redis, [Symbol.asyncDispose]: async () => redis.disconnect() };
}

describe('reading values', () => {
  it('reads every type, in the order of the keys', async () => {
    const { client, server } = shared;
    await using connection = await connected(server.url);
    await client.set('string', 'text');
    await client.set('empty', '');
    await client.set('number', 42);
    await client.hset('hash', { a: '1', b: '2' });
    await client.rpush('list', 'x', 'y', 'x');
    await client.sadd('set', 'n', 'm');
    await client.zadd('zset', 2, 'two', '-inf', 'none');
    await client.xadd('stream', '1-1', 'f', 'v', 'g', 'w');
    await client.setbit('bits', 7, 1);
    const { values, read, refusals } = await reading(connection.redis, [
      ...['zset', 'none', 'string', 'stream', 'empty', 'hash', 'list', 'set', 'number', 'bits'],
    ]);
    expect(values).toEqual([
      [
        { member: 'none', score: '-inf' },
        { member: 'two', score: 2 },
      ],
      'gone',
      'text',
      [{ id: '1-1', fields: { f: 'v', g: 'w' } }],
      '',
      { a: '1', b: '2' },
      ['x', 'y', 'x'],
      ['m', 'n'],
      '42',
      '\x01',
    ]);
    expect(refusals).toEqual([]);
    const ages = read.map(({ value }) => Date.now() - (value.readAtMs ?? 0));
    expect(Math.max(...ages.map(Math.abs))).toBeLessThan(10_000);
  });

  it('reads an empty stream as an empty array, and none that was deleted meanwhile', async () => {
    const { client, server } = shared;
    await using connection = await connected(server.url);
    await client.xadd('drained', '1-1', 'f', 'v');
    await client.xdel('drained', '1-1');
    await client.xgroup('CREATE', 'waiting', 'workers', '$', 'MKSTREAM');
    const { values } = await reading(connection.redis, ['drained', 'waiting', 'no stream']);
    expect(values).toEqual([[], [], 'gone']);

    const keyspace = new Keyspace(
      steady(connection.redis),
      new ServerClock(systemClock),
      isPrimary,
    );
    const goesAfterType = {
      nowMs: () => keyspace.nowMs(),
      runCommands: async (
        database: number,
        commands: Parameters<typeof keyspace.runCommands>[1],
      ) => {
        const answers = await keyspace.runCommands(database, commands);
        if (commands.some(([name]) => name === 'TYPE')) await client.del('waiting');
        return answers;
      },
    };
    const wanted = [{ database: 0, key: Buffer.from('waiting'), bytesMax: KIB }];
    const [gone] = await readValues(goesAfterType, wanted, () => undefined);
    expect(gone?.value.omitted).toBe('gone');
  });

  it('omits values above the limit, of any type', async () => {
    const { client, server } = shared;
    await using connection = await connected(server.url);
    const big = 'x'.repeat(KIB);
    await client.set('fits', big);
    await client.set('too long', `${big}x`);
    await client.set('huge', 'x'.repeat(9_000_000));
    await client.hset('a hash', { f: big });
    await client.hset('a huge hash', { f: 'x'.repeat(9_000_000) });
    await client.rpush('small ones first', ...Array.from({ length: 20 }, () => 'x'));
    for (let n = 0; n < 3; n += 1) await client.rpush('small ones first', 'x'.repeat(9_000_000));
    await client.rpush('many', ...Array.from({ length: 1_001 }, () => ''));
    const before = await client.info('stats');
    const keys = ['fits', 'too long', 'huge', 'a hash', 'a huge hash', 'many', 'small ones first'];
    const { values } = await reading(connection.redis, keys);
    expect(values).toEqual([big, ...Array.from({ length: 6 }, () => 'too_large')]);
    const sentBytes = (info: string) => Number(/total_net_output_bytes:(\d+)/.exec(info)?.[1]);
    expect(sentBytes(await client.info('stats')) - sentBytes(before)).toBeLessThan(100_000);
  });

  it('reports values that it may not read, and reads the rest', async () => {
    await using server = await startedRedis();
    const { client } = server;
    await client.hset('hash', { a: '1' });
    await client.set('string', 'text');
    const rules = ['resetchannels', '+select', '+type', '+memory|usage', '+getrange', '%R~*'];
    await client.acl('SETUSER', 'reader', 'on', '>secret', ...rules);
    await using connection = await connected(server.url.replace('://', '://reader:secret@'));
    const { values, refusals } = await reading(connection.redis, ['hash', 'string']);
    expect(values).toEqual(['forbidden', 'text']);
    expect(refusals).toEqual([expect.stringMatching(/NOPERM.*hrandfield/)]);
  });

  it('rejects when the connection is gone', async () => {
    await using connection = await connected(shared.server.url);
    await connection.redis.ping();
    connection.redis.disconnect();
    await expect(reading(connection.redis, ['string'])).rejects.toThrow('Connection is closed');
  });

  it('holds no more than some megabytes at a time', () => {
    expect(countAtOnce(1)).toBe(100);
    expect(countAtOnce(16 * KIB)).toBe(64);
    expect(countAtOnce(KIB * KIB)).toBe(1);
    expect(countAtOnce(KIB * KIB * KIB)).toBe(1);
  });
});

async function startedRedis() {
  const server = await startRedis();
  const client = new Redis(server.url, { protocol: 2 });
  return {
    url: server.url,
    client,
    [Symbol.asyncDispose]: async () => {
      client.disconnect();
      await server.stop();
    },
  };
}
