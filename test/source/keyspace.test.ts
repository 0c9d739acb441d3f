import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { systemClock } from '../../src/lib/clock.js';
import type { KeyReading } from '../../src/model/vocabulary.js';
import { ServerClock } from '../../src/redis/server-clock.js';
import { Keyspace } from '../../src/source/keyspace.js';
import { Marker } from '../../src/source/marker.js';
import { sweep } from '../../src/watch/sweep.js';
import {
  join,
  keyWithin,
  SLOTS,
  serveSlots,
  slotOf,
  startClusterNode,
} from '../support/cluster-node.js';
import { eventually } from '../support/eventually.js';
import { settled } from '../support/manual-clock.js';
import { isPrimary, steady } from '../support/steady-connection.js';

const never = new AbortController().signal;

/** A server, a connection of the relay and one of another client. */
async function aServer(...args: readonly string[]) {
  const server = await startRedis({ args });
  const [redis, other] = [0, 1].map(() => new Redis(server.url, { protocol: 2 })) as [Redis, Redis];
  const serverClock = new ServerClock(systemClock);
  // Unless a test forbids it.
  await serverClock.ask(redis).catch(() => undefined);
  return {
    redis,
    other,
    keyspace: new Keyspace(steady(redis), serverClock, isPrimary),
    [Symbol.asyncDispose]: async () => {
      for (const each of [redis, other]) each.disconnect();
      await server.stop();
    },
  };
}

const at = (key: string | Buffer, database = 0) => ({ database, key: Buffer.from(key) });

const BINARY = Buffer.from([0x80, 0xff, 0, 0x0a]);

describe('the time of a reading', () => {
  it("is the server's own, so that a step of its clock is noticed by the first reading", async () => {
    await using under = await aServer();
    const { keyspace, redis } = under;
    const steps: number[] = [];
    // The offset known before is far behind the server.
    const behind = { time: async () => ['0', '0'] } as unknown as Pick<Redis, 'time'>;
    const serverClock = new ServerClock(systemClock, (stepMs) => steps.push(stepMs));
    await serverClock.ask(behind);
    const [reading] = await new Keyspace(steady(redis), serverClock, isPrimary).read([at('none')]);
    const [known] = await keyspace.read([at('none')]);
    expect(Math.abs((reading?.readAtMs ?? 0) - (known?.readAtMs ?? 0))).toBeLessThan(5_000);
    expect(Math.abs(serverClock.nowMs() - Date.now())).toBeLessThan(5_000);
    expect(steps).toHaveLength(1);
  });

  it('uses the known offset of its clock where TIME is missing', async () => {
    await using under = await aServer('--rename-command', 'TIME', '');
    const deadlineMs = Date.now() + 60_000;
    await under.other.set('a', '', 'PXAT', deadlineMs);
    for (let times = 0; times < 2; times += 1) {
      const readings = await under.keyspace.read([at('a'), at('none')]);
      expect(readings.map(({ ttl }) => ttl)).toEqual(['volatile', 'missing']);
      expect(readings[0]?.deadlineMs).toBe(deadlineMs);
      expect(Math.abs((readings[0]?.readAtMs ?? 0) - Date.now())).toBeLessThan(5_000);
    }
  });
});

describe.each([[], ['--rename-command', 'PEXPIRETIME', '']])('reading keys (%s)', (...args) => {
  it('returns deadlines, persistent keys and missing keys, in order and in several databases', async () => {
    await using under = await aServer(...args);
    const { other, keyspace } = under;
    const deadlineMs = Date.now() + 60_000;
    await other.set('a', '', 'PXAT', deadlineMs);
    await other.set(BINARY, '', 'PXAT', deadlineMs);
    await other.set('b', '');
    await other.select(1);
    await other.set('b', '', 'PXAT', deadlineMs + 500);
    const keys = [at('a'), at('b'), at('b', 1), at('none'), at('a', 1), at(BINARY)];
    const readings = await keyspace.read(keys);
    const byKey = keys.map(({ database, key }) =>
      readings.find((one) => one.database === database && one.key.equals(key)),
    );
    expect(byKey.map((one) => one?.ttl)).toEqual([
      'volatile',
      'persistent',
      'volatile',
      'missing',
      'missing',
      'volatile',
    ]);
    const errors = [0, 2, 5].map((n) =>
      Math.abs((byKey[n]?.deadlineMs ?? 0) - deadlineMs - (n === 2 ? 500 : 0)),
    );
    expect(errors).toEqual([0, 0, 0]);
  });

  it('treats a deadline beyond the range of dates as none, and keeps the last one in range', async () => {
    await using under = await aServer(...args);
    const { keyspace, other } = under;
    const atMs = {
      last: '8640000000000000',
      later: '8640000000000001',
      far: '9000000000000000000',
    };
    for (const [key, ms] of Object.entries(atMs)) {
      await other.set(key, 'v');
      await other.call('PEXPIREAT', key, ms);
    }
    const read = () => keyspace.read(Object.keys(atMs).map((key) => at(key)));
    expect((await read()).map(({ ttl }) => ttl)).toEqual(['volatile', 'persistent', 'persistent']);
    expect((await read())[0]?.deadlineMs).toBe(8.64e15);
  });

  it('returns the same deadline of a key at each reading', async () => {
    await using under = await aServer(...args);
    const { other, keyspace } = under;
    const deadlines = Array.from({ length: 2_000 }, (_, n) => Date.now() + 60_000 + n);
    const keys = deadlines.map((_, n) => at(`k${n}`));
    const pipeline = other.pipeline();
    for (const [n, deadlineMs] of deadlines.entries()) {
      pipeline.set(keys[n]?.key ?? '', '', 'PXAT', deadlineMs);
    }
    await pipeline.exec();
    for (let times = 0; times < 5; times += 1) {
      const readings = await keyspace.read(keys);
      expect(readings.map(({ deadlineMs }) => deadlineMs)).toEqual(deadlines);
    }
  });

  it('makes Redis expire due keys before its active expire cycle reaches them', async () => {
    await using under = await aServer(...args);
    const { other, keyspace } = under;
    await other.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0').catch(() => undefined);
    await other.set('a', '', 'PX', 30);
    await eventually('its end', async () => (await keyspace.read([at('a')]))[0]?.ttl === 'missing');
    expect(await other.info('stats')).toContain('expired_keys:1');
  });

  it('checks several keys at once for existence, and each of them if one exists', async () => {
    await using under = await aServer(...args);
    const { other, keyspace } = under;
    const keys = ['a', 'b', 'c'].map((key) => at(key));
    for (const { key } of keys) await other.set(key, '', 'PX', 1);
    await eventually('their end', async () => {
      const readings = await keyspace.nudge(keys);
      return readings.every(({ ttl }) => ttl === 'missing');
    });
    await other.set('b', '', 'EX', 60);
    const lives = async (wanted: typeof keys) =>
      (await keyspace.nudge(wanted)).map(({ ttl }) => ttl);
    expect(await lives(keys)).toEqual(['missing', 'volatile', 'missing']);
    expect(await lives([at('b'), at('b', 1)])).toEqual(['volatile', 'missing']);
    expect(await lives([])).toEqual([]);
  });

  it('replies to concurrent callers, also to the first ones', async () => {
    await using under = await aServer(...args);
    await under.other.set('a', '', 'EX', 60);
    const all = await Promise.all(Array.from({ length: 20 }, () => under.keyspace.read([at('a')])));
    expect(all.flat().map(({ ttl }) => ttl)).toEqual(Array(20).fill('volatile'));
  });

  it('reads thousands in order', async () => {
    await using under = await aServer(...args);
    const keys = Array.from({ length: 1_234 }, (_, n) => at(`k${n}`));
    const pipeline = under.other.pipeline();
    for (const { key } of keys) pipeline.set(key, '', 'EX', 60);
    await pipeline.exec();
    const readings = await under.keyspace.read(keys);
    expect(readings.map(({ key }) => key.toString())).toEqual(keys.map(({ key }) => `${key}`));
    expect(readings.every(({ ttl }) => ttl === 'volatile')).toBe(true);
  });
});

describe('reading keys of a server without PEXPIRETIME and TIME', () => {
  it('returns deadlines within the uncertainty of the clocks', async () => {
    await using server = await startRedis({
      args: ['--rename-command', 'PEXPIRETIME', '', '--rename-command', 'TIME', ''],
    });
    const redis = new Redis(server.url, { protocol: 2 });
    try {
      const keyspace = new Keyspace(steady(redis), new ServerClock(systemClock), isPrimary);
      const deadlineMs = Date.now() + 60_000;
      await redis.set('a', '', 'PXAT', deadlineMs);
      const [reading, gone] = await keyspace.read([at('a'), at('b')]);
      expect([reading?.ttl, gone?.ttl]).toEqual(['volatile', 'missing']);
      const errorMs = Math.abs((reading?.deadlineMs ?? 0) - deadlineMs);
      expect(errorMs).toBeLessThanOrEqual(keyspace.deadlineSlackMs);
    } finally {
      redis.disconnect();
    }
  });
});

describe('reading the keys of several databases', () => {
  it('returns them in the given order', async () => {
    await using under = await aServer();
    await under.other.set('a', '', 'EX', 60);
    const readings = await under.keyspace.read([at('a'), at('a', 1), at('b'), at('a')]);
    expect(readings.map(({ database, ttl }) => `${database} ${ttl}`)).toEqual([
      '0 volatile',
      '1 missing',
      '0 missing',
      '0 volatile',
    ]);
  });
});

describe('reading while other databases are read or swept', () => {
  it('reads the right database', async () => {
    await using under = await aServer();
    const { keyspace, other } = under;
    for (const database of [0, 1, 2]) {
      await other.select(database);
      await other.set(`only in ${database}`, '', 'EX', 60);
    }
    const wanted = Array.from({ length: 300 }, (_, n) => n % 3);
    const found = await Promise.all(
      wanted.map(async (database, n) => {
        if (n % 2 === 0) return (await keyspace.scan(database, '0', null, 9)).keys[0]?.toString();
        const [reading] = await keyspace.read([at(`only in ${database}`, database)]);
        return reading?.ttl === 'volatile' ? `only in ${database}` : 'missing';
      }),
    );
    expect(found).toEqual(wanted.map((database) => `only in ${database}`));
    // No command is in progress any more: the selected database is known, and stays so.
    for (const database of [2, 2, 1, 1, 0, 0]) {
      const { keys } = await keyspace.scan(database, '0', null, 9);
      expect(`${keys}`).toBe(`only in ${database}`);
    }
  });

  it('reads keys one by one where the user may not read several', async () => {
    await using under = await aServer('--rename-command', 'EXISTS', '');
    await under.other.set('b', '', 'EX', 60);
    for (let times = 0; times < 2; times += 1) {
      const readings = await under.keyspace.nudge([at('a'), at('b')]);
      expect(readings.map(({ ttl }) => ttl)).toEqual(['missing', 'volatile']);
    }
    expect(await under.other.info('commandstats')).toMatch(/cmdstat_(pexpiretime|pttl):calls=4/);
  });

  it('selects again after a command that was refused', async () => {
    await using under = await aServer();
    await under.other.set('a', '', 'EX', 60);
    await expect(under.keyspace.scan(99, '0', null, 9)).rejects.toThrow('out of range');
    expect((await under.keyspace.read([at('a')]))[0]?.ttl).toBe('volatile');
  });
});

describe('reading keys of a server that was demoted', () => {
  it('reports none as missing, and reads those that exist', async () => {
    await using under = await aServer();
    const demoted = () => Promise.reject(new Error('demoted'));
    const keyspace = new Keyspace(steady(under.redis), new ServerClock(systemClock), demoted);
    await under.other.set('a', '', 'EX', 60);
    expect(await keyspace.read([at('a')])).toMatchObject([{ ttl: 'volatile' }]);
    await expect(keyspace.read([at('a'), at('b')])).rejects.toThrow('demoted');
    expect(await keyspace.nudge([at('b')])).toMatchObject([{ ttl: 'missing' }]);
  });
});

describe('reading keys whose slot belongs or moves to another node of a cluster', () => {
  it('treats them as keys without a deadline only on the primary, and skips keys that are moving', async () => {
    const [here, there] = await Promise.all([startClusterNode(), startClusterNode()]);
    const redis = new Redis(here.port, '127.0.0.1', { protocol: 2 });
    const other = new Redis(there.port, '127.0.0.1', { protocol: 2 });
    try {
      await Promise.all([
        serveSlots(here.port, 0, SLOTS - 2),
        serveSlots(there.port, SLOTS - 1, SLOTS - 1),
      ]);
      await join(here, there);
      const moved = await keyWithin(here.port, 'moved', SLOTS - 1, SLOTS - 1);
      const moving = await keyWithin(here.port, 'moving', 0, SLOTS - 2);
      const target = await other.cluster('MYID');
      await redis.cluster('SETSLOT', await slotOf(here.port, moving), 'MIGRATING', target);
      const keys = [at(moved), at(moving)];
      const clock = new ServerClock(systemClock);
      const lives = (readings: readonly KeyReading[]) => readings.map(({ ttl }) => ttl);
      const keyspace = new Keyspace(steady(redis), clock, isPrimary);
      expect(lives(await keyspace.read(keys))).toEqual(['persistent', 'elsewhere']);
      expect(lives(await keyspace.nudge(keys))).toEqual(['elsewhere', 'elsewhere']);
      const demoted = () => Promise.reject(new Error('demoted'));
      const behind = new Keyspace(steady(redis), clock, demoted);
      await expect(behind.read(keys)).rejects.toThrow('demoted');
    } finally {
      for (const each of [redis, other]) each.disconnect();
      await Promise.all([here.stop(), there.stop()]);
    }
  });
});

describe('keys of a slot that a node is receiving', () => {
  it.each([[], ['--rename-command', 'PEXPIRETIME', '']])('are read there (%s)', async (...args) => {
    const [here, there] = await Promise.all([
      startClusterNode({ args }),
      startClusterNode({ args }),
    ]);
    const redis = new Redis(there.port, '127.0.0.1', { protocol: 2 });
    const source = new Redis(here.port, '127.0.0.1', { protocol: 2 });
    try {
      await Promise.all([
        serveSlots(here.port, 0, SLOTS - 2),
        serveSlots(there.port, SLOTS - 1, SLOTS - 1),
      ]);
      await join(here, there);
      const own = await keyWithin(here.port, 'own', SLOTS - 1, SLOTS - 1);
      const arrived = await keyWithin(here.port, 'arrived', 0, SLOTS - 2);
      const slot = await slotOf(here.port, arrived);
      const gone = `gone:{${arrived}}`;
      const others = await keyWithin(here.port, 'others', slot + 1, SLOTS - 2);
      await redis.cluster('SETSLOT', slot, 'IMPORTING', await source.cluster('MYID'));
      const deadlineMs = Date.now() + 60_000;
      await redis.pipeline().asking().set(arrived, '', 'PXAT', deadlineMs).exec();
      await redis.set(own, '');
      const keyspace = new Keyspace(steady(redis), new ServerClock(systemClock), isPrimary, true);
      const keys = [own, arrived, gone, others].map((key) => at(key));
      const readings = await keyspace.readAsking(keys);
      expect(readings.map(({ ttl }) => ttl)).toEqual([
        'persistent',
        'volatile',
        'missing',
        'elsewhere',
      ]);
      expect(readings[1]).toMatchObject({ key: Buffer.from(arrived), deadlineMs });
      expect((await keyspace.nudge([at(arrived)]))[0]?.ttl).toBe('elsewhere');
      const demoted = () => Promise.reject(new Error('demoted'));
      const behind = new Keyspace(steady(redis), new ServerClock(systemClock), demoted, true);
      await expect(behind.readAsking([at(gone)])).rejects.toThrow('demoted');
    } finally {
      for (const each of [redis, source]) each.disconnect();
      await Promise.all([here.stop(), there.stop()]);
    }
  });
});

describe('a sweep', () => {
  const sweepOf = async (keyspace: Keyspace, given: { glob?: string; database?: number } = {}) => {
    const found: string[] = [];
    const batches = sweep(
      {
        keyspace,
        database: given.database ?? 0,
        glob: given.glob ?? null,
        isRouted: (key) => !key.includes('not'),
        share: () => 0.5,
        clock: systemClock,
      },
      never,
    );
    for await (const keys of batches) found.push(...keys.map(({ key }) => key.toString('latin1')));
    return [...new Set(found)].sort();
  };

  it('finds all requested keys, byte for byte, and none of other databases', async () => {
    await using under = await aServer();
    const pipeline = under.other.pipeline();
    for (let n = 0; n < 5_000; n += 1) pipeline.set(`order:${n}`, '');
    await pipeline.set('not this', '').set(BINARY, '').select(1).set('b', '').exec();
    const found = await sweepOf(under.keyspace);
    expect(found).toHaveLength(5_001);
    expect(found).toContain(BINARY.toString('latin1'));
    expect(await sweepOf(under.keyspace, { database: 1 })).toEqual(['b']);
    expect(await sweepOf(under.keyspace, { glob: 'order:499*' })).toHaveLength(11);
  });

  it('pauses between batches, and ends when its signal aborts', async () => {
    await using under = await aServer();
    const pipeline = under.other.pipeline();
    for (let n = 0; n < 5_000; n += 1) pipeline.set(`order:${n}`, '');
    await pipeline.exec();
    const ending = new AbortController();
    const sleeps: number[] = [];
    const clock = {
      ...systemClock,
      sleep: async (ms: number) => {
        sleeps.push(ms);
        await settled();
        if (sleeps.length === 2) ending.abort();
      },
    };
    const parts = { keyspace: under.keyspace, database: 0, glob: null, isRouted: () => true };
    let batches = 0;
    for await (const _ of sweep({ ...parts, share: () => 0.1, clock }, ending.signal)) batches += 1;
    expect(batches).toBe(2);
    expect(sleeps.every((ms) => ms > 0)).toBe(true);
  });
});

describe('a marker', () => {
  it('exists until the database is emptied, or another one replaces it', async () => {
    await using under = await aServer();
    const marker = new Marker(under.redis, () => '{expiry-relay}:marker');
    expect(await marker.exists(0)).toBe(false);
    for (const database of [0, 1]) await marker.write(database);
    expect(await marker.exists(0)).toBe(true);
    await under.other.swapdb(0, 1);
    expect([await marker.exists(0), await marker.exists(1)]).toEqual([false, false]);
    for (const database of [0, 1]) await marker.write(database);
    await under.other.flushdb();
    expect([await marker.exists(0), await marker.exists(1)]).toEqual([false, true]);
  });

  it('is assumed to exist where it may not be written', async () => {
    await using under = await aServer();
    const { other, redis } = under;
    await other.call('ACL', 'SETUSER', 'reader', 'on', 'nopass', '~*', '+@read', '+@connection');
    await redis.call('AUTH', 'reader', 'any');
    const marker = new Marker(redis, () => '{expiry-relay}:marker');
    await marker.write(0);
    expect(await marker.exists(0)).toBe(true);
    expect(await other.exists('{expiry-relay}:marker')).toBe(0);
  });

  it('has no result when the connection is lost', async () => {
    await using under = await aServer();
    under.redis.disconnect();
    const marker = new Marker(under.redis, () => '{expiry-relay}:marker');
    await expect(marker.exists(0)).rejects.toThrow();
    await expect(marker.write(0)).rejects.toThrow();
  });
});
