import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { describe, expect, it, type TestContext } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { systemClock } from '../../src/lib/clock.js';
import { Presence } from '../../src/outbox/presence.js';
import type { ServerFinding } from '../../src/server/finding.js';
import { endpointKeys, formatKey, replicasKey } from '../../src/state/format.js';
import { aDelivery, retryAt } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { startState } from '../support/redis-state.js';

const never = new AbortController().signal;

/** A server of the test's own, and what is said of it. */
async function ownServer({ onTestFinished }: TestContext, args: readonly string[] = []) {
  const server = await startRedis({ args });
  onTestFinished(() => server.stop());
  const client = new Redis(server.url, { protocol: 2 });
  client.on('error', () => undefined);
  onTestFinished(() => client.disconnect());
  const said: string[] = [];
  const events = {
    internalError: (loop: string) => said.push(`${loop}: an internal error`),
    failed: () => undefined,
    credentialsUnusable: () => undefined,
    unavailable: (operation: string, { message }: Error) => said.push(`${operation}: ${message}`),
    availableAgain: () => said.push('recovered'),
    server: (_: string, findings: readonly ServerFinding[]) =>
      said.push(...findings.filter(isWarning).map(({ text }) => text)),
    dataLost: () => said.push('data lost'),
  };
  const recovered = () => eventually('recovered', () => said.at(-1) === 'recovered');
  const start = (database = 0) => {
    const opened = startState(server.port, 'expiry-relay', events, database);
    onTestFinished(() => opened.state.close());
    return opened;
  };
  const open = async () => {
    const opened = start();
    await opened.state.ready(AbortSignal.timeout(20_000));
    return opened;
  };
  return { server, client, said, recovered, events, start, open };
}

/** Of persistence every server of these tests would be warned. */
const isWarning = ({ level, subject }: ServerFinding) =>
  (level === 'warning' || level === 'problem') && subject !== 'state persistence';

const AT = 'the state Redis at 127\\.0\\.0\\.1:\\d+';

describe.concurrent('a state Redis', () => {
  it('that cannot save refuses writes, which is said, until it can', async (context) => {
    const { server, client, said, recovered, open } = await ownServer(context);
    const { state, outbox } = await open();
    const one = outbox();
    await one.enqueue([aDelivery()]);
    const inTheWay = join(server.dir, 'dump.rdb');
    await client.config('SET', 'save', '3600 1');
    await mkdir(join(inTheWay, 'x'), { recursive: true });
    const status = async (word: string) => {
      await client.bgsave().catch(() => undefined);
      return (await client.info('persistence')).includes(`rdb_last_bgsave_status:${word}`);
    };
    await eventually('a save that fails', () => status('err'));
    await expect(one.claim('shop', 1, never)).rejects.toThrow(/cannot save to disk \(MISCONF\)/);
    expect(state.problem).toMatch(new RegExp(`^${AT} rejects writes because it cannot save`));
    await rmdir(join(inTheWay, 'x'));
    await rmdir(inTheWay);
    await eventually('a save', () => status('ok'));
    expect(await one.claim('shop', 1, never)).toHaveLength(1);
    expect(state.problem).toBeNull();
    await recovered();
    expect(said).toEqual([expect.stringContaining('MISCONF'), 'recovered']);
  });

  it('that becomes a replica is said to be one, and used again once it is none', async (context) => {
    const { client, recovered, open } = await ownServer(context);
    const { server: primary } = await ownServer(context);
    const { state, outbox } = await open();
    const one = outbox();
    await client.replicaof('127.0.0.1', primary.port);
    await expect(one.enqueue([aDelivery()])).rejects.toThrow(/is a replica now|cannot be reached/);
    await eventually('it is looked at', () => state.problem?.includes('is a replica of'));
    expect(state.problem).toContain(`of 127.0.0.1:${primary.port}, and rejects writes`);
    await client.call('REPLICAOF', 'NO', 'ONE');
    await eventually('usable', () => state.problem === null, 15_000);
    await recovered();
    await one.enqueue([aDelivery()]);
    expect(await one.claim('shop', 1, never)).toHaveLength(1);
  }, 30_000);

  it('that asks for a password that the file lacks is used again once it asks for none', async (context) => {
    const { client, recovered, open } = await ownServer(context);
    const { state } = await open();
    await client.config('SET', 'requirepass', 'other');
    await client.call('CLIENT', 'KILL', 'TYPE', 'normal');
    await eventually('it is said', () => state.problem?.includes('requires a password'));
    await client.config('SET', 'requirepass', '');
    await eventually('usable', () => state.problem === null, 15_000);
    await recovered();
  }, 30_000);

  it('that loads its data is waited for, and this is said', async (context) => {
    const loading = ['--key-load-delay', '500', '--loading-process-events-interval-bytes', '1024'];
    const { server, client, said, start } = await ownServer(context, loading);
    await client.call('DEBUG', 'POPULATE', '6000', 'filler', '100').catch(async () => {
      const filler = Array.from({ length: 6_000 }, (_, n) => [`filler:${n}`, 'x'.repeat(100)]);
      await client.mset(...filler.flat());
    });
    await client.save();
    await server.kill('SIGKILL');
    const restarted = server.restart();
    const { state } = start();
    await eventually('it is said', () => said.some((line) => line.includes('LOADING')));
    expect(state.problem).toMatch(/is not ready: LOADING/);
    await state.ready(AbortSignal.timeout(20_000));
    expect(state.problem).toBeNull();
    await restarted;
    expect(said.filter((line) => line.includes('LOADING'))).toHaveLength(1);
  }, 30_000);

  it('whose prefix another version uses is waited for, and said once', async (context) => {
    const { client, said, recovered, start } = await ownServer(context);
    await client.set(formatKey('expiry-relay'), '2');
    const { state } = start();
    await eventually('it is said', () => said.length > 0);
    expect(state.problem).toBe(
      'the keys {expiry-relay}:… in the state Redis are used by another version of the relay ' +
        '(expected format 1, found 2). Run that version, or choose another state.prefix',
    );
    await client.del(formatKey('expiry-relay'));
    await state.ready(AbortSignal.timeout(20_000));
    await recovered();
    expect(said).toEqual([expect.stringContaining('another version'), 'recovered']);
    expect(await client.get(formatKey('expiry-relay'))).toBe('1');
  });

  it.for<[string[], unknown[]]>([
    [
      ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'],
      [expect.stringMatching(/^allkeys-lru with maxmemory 100 MiB may evict/)],
    ],
    [['--maxmemory', '100mb', '--maxmemory-policy', 'volatile-lru'], []],
    [['--maxmemory', '0', '--maxmemory-policy', 'allkeys-lru'], []],
  ])('that may throw keys away is warned of: %j', async ([args, warnings], context) => {
    const { said, open } = await ownServer(context, args);
    const { state, outbox } = await open();
    await eventually('it has been looked at', () => said.length === warnings.length);
    await outbox().depth('shop');
    expect(said).toEqual(warnings);
    expect(state.problem).toBeNull();
  });

  it('that is set to throw keys away, or made a replica, while it is used is warned of', async (context) => {
    const { client, said, open } = await ownServer(context, ['--maxmemory', '100mb']);
    const { state } = await open();
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await eventually('it is said', () => said.length === 1);
    expect(said).toEqual([expect.stringMatching(/^allkeys-lru with maxmemory 100 MiB may evict/)]);
    await client.replicaof('127.0.0.1', 1);
    await eventually('it is seen', () => /is a replica of 127.0.0.1:1/.test(state.problem ?? ''));
    await client.replicaof('NO', 'ONE');
    await eventually('it can be used', () => state.problem === null);
  }, 40_000);

  it('that forgets its scripts is sent them again', async (context) => {
    const { client, said, open } = await ownServer(context);
    const one = (await open()).outbox();
    for (let n = 0; n < 20; n += 1) {
      await one.enqueue([aDelivery({ id: `${n}-a` }), aDelivery({ id: `${n}-b` })]);
      const claims = await one.claim('shop', 2, never);
      await client.script('FLUSH');
      await one.settleDone(claims);
    }
    expect(await one.depth('shop')).toMatchObject({ pending: 0 });
    expect(said).toEqual([]);
  });

  it('that comes back without its data is said to have lost it', async (context) => {
    const { server, said, open } = await ownServer(context);
    const { state } = await open();
    await server.kill('SIGKILL');
    await server.restart();
    await eventually('usable', () => state.problem === null);
    await eventually('said', () => said.includes('data lost'));
  });

  it('is distinguished from a missing database', async (context) => {
    const { start } = await ownServer(context, ['--databases', '2']);
    const { state } = start(7);
    await expect(state.ready(AbortSignal.timeout(20_000))).rejects.toThrow(
      /the state Redis at \S+ has no database 7 .*\. Correct state\.url$/,
    );
  });

  it('that is emptied is filled again, groups, presence and what comes later, and said to be lost', async (context) => {
    const { client, said, open } = await ownServer(context);
    const { state, scripts, outbox } = await open();
    const one = outbox();
    const presence = new Presence({
      ...{ state, scripts, replica: 'one', endpoints: () => ['shop'], clock: systemClock },
      onReclaimed: () => undefined,
    });
    await presence.heartbeat();
    await one.enqueue([aDelivery({ id: 'gone' })]);
    const [gone] = await one.claim('shop', 1, never);
    await client.flushall();
    if (gone) await one.settle(gone, retryAt(0), 0);
    await presence.heartbeat();
    await presence.reclaim();
    await one.enqueue([aDelivery({ id: 'later' })]);
    const claims = await one.claim('shop', 9, never);
    expect(claims.map(({ delivery }) => delivery.id)).toEqual(['later']);
    expect(await client.zscore(replicasKey('expiry-relay'), 'one')).not.toBeNull();
    expect(said).toEqual(['data lost']);
  });
});

describe.concurrent('a key of another type that the relay may neither rename nor delete', () => {
  const setUp = async (context: TestContext) => {
    const { client, said, recovered, open } = await ownServer(context);
    await client.call('ACL', 'SETUSER', 'default', '-rename', '-unlink');
    const { state, scripts, outbox } = await open();
    const one = outbox();
    const { deliveries, ready } = endpointKeys('expiry-relay', 'shop');
    return { client, said, recovered, state, scripts, one, deliveries, ready };
  };
  const TEXT =
    /^the key \{expiry-relay\}:1:outbox:shop:\w+ has another type .*\+rename and \+unlink$/;

  it('is said once, while the other endpoints go on', async (context) => {
    const { client, said, recovered, state, one, ready } = await setUp(context);
    await client.rpush(ready, 'x');
    await one.enqueue([aDelivery({ endpoint: 'other', id: 'a' })]);
    for (let n = 0; n < 3; n += 1) {
      await expect(one.claim('shop', 1, never)).rejects.toThrow(TEXT);
      const [claimed] = await one.claim('other', 1, never);
      if (claimed) await one.release(claimed);
    }
    expect(state.problem).toMatch(TEXT);
    expect(said).toHaveLength(1);
    await client.del(ready);
    await one.enqueue([aDelivery({ id: 'b' })]);
    expect(await one.claim('shop', 1, never)).toHaveLength(1);
    expect(state.problem).toBeNull();
    await recovered();
  });

  it.for(['deliveries', 'ready'] as const)(
    'lets nothing of an enqueue be stored, since all of it is repeated: %s',
    async (which, context) => {
      const { client, one, ...keys } = await setUp(context);
      await client.rpush(keys[which], 'x');
      const both = [aDelivery({ endpoint: 'other', id: 'a' }), aDelivery({ id: 'b' })];
      await expect(one.enqueue(both)).rejects.toThrow(TEXT);
      expect(await one.depth('other')).toMatchObject({ pending: 0 });
      await client.del(keys[which]);
      await one.enqueue(both);
      expect(await one.depth('other')).toMatchObject({ pending: 1 });
    },
  );

  it('does not keep a replica from taking over elsewhere what a dead one had claimed', async (context) => {
    const { client, state, scripts, one, ready } = await setUp(context);
    await client.rpush(ready, 'x');
    await one.enqueue([aDelivery({ endpoint: 'other', id: 'a' })]);
    await one.claim('other', 1, never);
    await client.zrem(replicasKey('expiry-relay'), 'one');
    const reclaimed: unknown[] = [];
    const heir = new Presence({
      ...{
        state,
        scripts,
        replica: 'heir',
        endpoints: () => ['shop', 'other'],
        clock: systemClock,
      },
      onReclaimed: (...what) => reclaimed.push(what),
    });
    await heir.reclaim();
    expect(reclaimed).toEqual([['other', 'one', 1]]);
  });
});
