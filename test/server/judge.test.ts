// cspell:ignore naof nrdb
import { describe, expect, it } from 'vitest';
import { parseInfo } from '../../src/server/info.js';
import { isAtLeast, judgeServer, judgeStateServer } from '../../src/server/judge.js';
import type { ServerProperties, Setting } from '../../src/server/properties.js';
import { aReading, redisSettings } from '../support/doctor-readings.js';

const of = (subject: string, given: Partial<ServerProperties>, clockAheadMs: number | null = 2) =>
  judgeServer(aReading(given), redisSettings(), clockAheadMs).find(
    (finding) => finding.subject === subject,
  );
const ofState = (subject: string, given: Partial<ServerProperties>) =>
  judgeStateServer(aReading(given), 'state').find((finding) => finding.subject === subject);

const settings = (given: Partial<Record<Setting, string>>) =>
  new Map(Object.entries(given)) as ReadonlyMap<Setting, string>;

describe('the Redis of the keys', () => {
  it.each([
    ['6.2.14', null],
    ['7.0.15', null],
    ['10.0.0', null],
    [null, null],
    ['6.0.16', 'expected Redis 6.2 or later, found 6.0.16'],
    ['5.0.14', 'expected Redis 6.2 or later, found 5.0.14'],
  ])('version %s: %s', (version, text) => {
    const found = of('version', { version });
    expect(found?.text ?? null).toBe(text);
    if (text !== null)
      expect(found).toMatchObject({ level: 'problem', advice: 'upgrade the server' });
    expect(ofState('state version', { version })?.text ?? null).toBe(text);
  });

  it('compares versions by number, and reports a missing one', () => {
    expect(isAtLeast('7.2.0', [7, 2])).toBe(true);
    expect(isAtLeast('7.10.0', [7, 2])).toBe(true);
    expect(isAtLeast('7.0.9', [7, 2])).toBe(false);
    expect(isAtLeast(null, [7, 2])).toBeNull();
  });

  it.each([
    [{ role: 'primary' }, 'ok', 'primary'],
    [{ role: null }, 'warning', 'unknown (ROLE, INFO replication and HELLO do not report it)'],
    [
      { role: 'replica', primary: '10.0.0.1:6379' },
      'problem',
      'is a replica of 10.0.0.1:6379; replicas do not publish expirations. Point redis.url at the primary',
    ],
    [{ role: 'replica' }, 'problem', 'a replica of an unknown primary'],
  ] as const)('role %j: %s', (given, level, text) => {
    expect(of('role', given)).toMatchObject({ level, text: expect.stringContaining(text) });
  });

  it('in Cluster mode causes a warning, unless it is the only primary', () => {
    expect(of('cluster', { isCluster: false })).toBeUndefined();
    expect(of('cluster', { isCluster: true, primaries: 1 })?.level).toBe('note');
    expect(of('cluster', { isCluster: true, primaries: 3 })?.text).toContain('(cluster_size is 3)');
    expect(of('cluster', { isCluster: true, primaries: null })).toMatchObject({
      level: 'warning',
      text: expect.stringContaining('receives no notifications of keys on other primaries'),
    });
  });

  it.each([
    [2, 'ok', 'within 2 ms of the Redis clock'],
    [-60_000, 'ok', 'within 60 s of the Redis clock'],
    [61_000, 'warning', 'is 61 s ahead of the Redis clock: receivers reject'],
    [-7_200_000, 'warning', 'is 2 h behind the Redis clock'],
    [null, 'warning', 'TIME cannot be run'],
  ] as const)("a clock that is %s ms ahead of the server's: %s", (clockAheadMs, level, text) => {
    expect(of('clock', {}, clockAheadMs)).toMatchObject({
      level,
      text: expect.stringContaining(text),
    });
  });

  it.each([
    ['0', undefined, ''],
    ['300', 'ok', 'idle for 300 s (timeout)'],
    ['5', 'ok', 'idle for 5 s'],
    ['3', 'warning', 'connects again and again'],
  ] as const)('that closes connections idle for %s s: %s', (timeout, level, text) => {
    const found = of('idle timeout', { settings: settings({ timeout }) });
    expect(found?.level).toBe(level);
    expect(found?.text ?? '').toContain(text);
  });

  it.each([
    ['33554432 8388608 60', undefined],
    ['0 0 0', undefined],
    ['67108864 0 0', undefined],
    ['1048576 0 0', 'about 6,990 notifications'],
    ['33554432 1048576 60', 'about 6,990 notifications'],
  ])('that lets pubsub clients wait for %s: %s', (limit, text) => {
    const shown = `normal 0 0 0 slave 268435456 67108864 60 pubsub ${limit}`;
    const found = of('output limit', {
      settings: settings({ 'client-output-buffer-limit': shown }),
    });
    expect(found?.level).toBe(text === undefined ? undefined : 'warning');
    expect(found?.text ?? '').toContain(text ?? '');
  });
});

const MIB = 1024 ** 2;
const memory = (maxmemory: number, policy: string, evicted: number, used: number) => ({
  info: parseInfo(
    `maxmemory:${maxmemory}\r\nmaxmemory_policy:${policy}\r\nevicted_keys:${evicted}\r\n` +
      `used_memory:${used}\r\n`,
  ),
});

describe('eviction', () => {
  it.each([
    [0, 'allkeys-lru', 0, 0, 'ok', 'ok'],
    [MIB, 'noeviction', 0, 0.5, 'ok', 'ok'],
    [MIB, 'noeviction', 0, 0.95, 'ok', 'warning'],
    [MIB, 'volatile-ttl', 0, 0.5, 'note', 'ok'],
    [MIB, 'volatile-ttl', 7, 0.5, 'warning', 'ok'],
    [MIB, 'volatile-ttl', 0, 0.95, 'warning', 'warning'],
    [MIB, 'allkeys-lru', 0, 0.5, 'note', 'warning'],
    [MIB, 'allkeys-lru', 7, 0.5, 'warning', 'warning'],
  ] as const)(
    'at maxmemory %i with %s, %i evicted and %d of it used, is %s for keys and %s for the state',
    (maxmemory, policy, evicted, share, forKeys, forState) => {
      const given = memory(maxmemory, policy, evicted, maxmemory * share);
      expect(of('eviction', given)?.level).toBe(forKeys);
      expect(ofState('state eviction', given)?.level).toBe(forState);
    },
  );

  it('reports the number of evicted keys and the effect', () => {
    const given = memory(100 * MIB, 'volatile-lru', 1_234, 50 * MIB);
    expect(of('eviction', given)).toMatchObject({
      text:
        'volatile-lru with maxmemory 100 MiB (50% used, 1,234 keys evicted so far): keys that ' +
        'are evicted before their deadlines send no webhook',
      advice: expect.stringContaining('noeviction'),
    });
  });

  it('is read by CONFIG GET where INFO is denied, or lacks it', () => {
    const shown = settings({ maxmemory: String(MIB), 'maxmemory-policy': 'allkeys-lru' });
    for (const info of [null, parseInfo('# Server\r\n')]) {
      expect(of('eviction', { info, settings: shown })?.level).toBe('note');
      expect(ofState('state eviction', { info, settings: shown })?.level).toBe('warning');
    }
  });

  it.each([null, parseInfo('# Server\r\nredis_version:7.0.15\r\n')])(
    'is unknown where neither shows it: %#',
    (info) => {
      expect(of('eviction', { info })?.text).toContain('unknown');
      expect(ofState('state eviction', { info })?.text).toContain('unknown');
    },
  );
});

describe('the persistence of the state Redis', () => {
  const FINE = 'aof_last_write_status:ok\r\nrdb_last_bgsave_status:ok\r\n';
  it.each([
    [`aof_enabled:1\r\n${FINE}`, '', 'ok', 'appendonly yes'],
    [`aof_enabled:0\r\n${FINE}`, '3600 1', 'warning', 'only snapshots (save 3600 1)'],
    [`aof_enabled:0\r\n${FINE}`, null, 'warning', 'appendonly no, and save is unknown:'],
    [`aof_enabled:0\r\n${FINE}`, '', 'warning', 'off: a restart'],
    [
      'aof_enabled:1\r\naof_last_write_status:err\r\n',
      '',
      'problem',
      'the last write to disk failed',
    ],
    [
      'aof_enabled:0\r\nrdb_last_bgsave_status:err\r\n',
      '1 1',
      'problem',
      'the last write to disk failed',
    ],
  ] as const)('%j, save %j: %s', (info, save, level, text) => {
    const found = ofState('state persistence', {
      info: parseInfo(info),
      settings: settings(save === null ? {} : { save }),
    });
    expect(found).toMatchObject({ level, text: expect.stringContaining(text) });
    if (level === 'warning') expect(found?.advice).toContain('CONFIG SET appendonly yes');
  });

  it('is read by CONFIG GET where INFO is denied', () => {
    const shown = (appendonly: string) => settings({ appendonly, save: '' });
    const levels = ['yes', 'no'].map(
      (appendonly) =>
        ofState('state persistence', { info: null, settings: shown(appendonly) })?.level,
    );
    expect(levels).toEqual(['ok', 'warning']);
  });

  it('is unknown where neither shows it', () => {
    for (const info of [null, parseInfo('# Server\r\n')]) {
      expect(ofState('state persistence', { info })?.level).toBe('note');
    }
  });
});
