import { describe, expect, it } from 'vitest';
import { parseInfo } from '../../src/doctor/info.js';
import {
  isAtLeast,
  judgeEviction,
  judgePersistence,
  judgeServer,
  judgeStateEviction,
} from '../../src/doctor/judge-server.js';
import type { ServerReading } from '../../src/doctor/server.js';
import type { RedisTls } from '../../src/redis-login.js';
import { aReading, redisSettings } from './readings.js';

const TLS = {
  ca: null,
  client: null,
  serverName: null,
  caFile: null,
  certFile: null,
  keyFile: null,
  extraCaProblem: null,
};

const of = (subject: string, given: Partial<ServerReading>, tls: RedisTls | null = null) =>
  judgeServer(aReading(given), redisSettings({ tls })).find(
    (finding) => finding.subject === subject,
  );

describe('the Redis of the keys', () => {
  it('is named with its version and how long an answer takes', () => {
    expect(of('redis', {})).toMatchObject({
      level: 'ok',
      text: 'redis.internal:6379 answers within 0.3 ms (Redis 7.0.15, no TLS)',
    });
    expect(of('redis', { software: 'valkey', version: '8.1.0' }, TLS)?.text).toContain(
      '(valkey 8.1.0, TLS)',
    );
  });

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
  });

  it('compares versions by number, and knows when there is none', () => {
    expect(isAtLeast('7.2.0', [7, 2])).toBe(true);
    expect(isAtLeast('7.10.0', [7, 2])).toBe(true);
    expect(isAtLeast('7.0.9', [7, 2])).toBe(false);
    expect(isAtLeast(null, [7, 2])).toBeNull();
  });

  it.each([
    [{ role: 'primary' }, 'ok', 'a primary'],
    [{ role: null }, 'note', 'does not tell'],
    [
      { role: 'replica', primary: '10.0.0.1:6379' },
      'problem',
      'is a replica of 10.0.0.1:6379; replicas never publish expirations: point redis.url at the primary',
    ],
    [{ role: 'replica' }, 'problem', 'a replica of a server that it does not name'],
  ] as const)('role %j: %s', (given, level, text) => {
    expect(of('role', given)).toMatchObject({ level, text: expect.stringContaining(text) });
  });

  it('in Cluster mode is a warning, since one primary is listened to', () => {
    expect(of('cluster', { isCluster: false })).toBeUndefined();
    expect(of('cluster', { isCluster: true })).toMatchObject({
      level: 'warning',
      text: expect.stringContaining('hears nothing of keys on others'),
    });
  });

  it.each([
    [2, 'ok', "within 2 ms of Redis's"],
    [-60_000, 'ok', "within 60 s of Redis's"],
    [61_000, 'warning', "is 61 s ahead of Redis's: webhooks carry its time"],
    [-7_200_000, 'warning', "is 2 h behind Redis's"],
    [null, 'note', "the server's time may not be asked"],
  ] as const)("a clock that is %s ms ahead of the server's: %s", (clockAheadMs, level, text) => {
    expect(of('clock', { clockAheadMs })).toMatchObject({
      level,
      text: expect.stringContaining(text),
    });
  });
});

const memory = (maxmemory: number, policy: string) =>
  aReading({
    info: parseInfo(
      `maxmemory:${maxmemory}\r\nmaxmemory_policy:${policy}\r\nevicted_keys:1234\r\n`,
    ),
  });
const MIB = 1024 ** 2;

describe('eviction', () => {
  it.each([
    [0, 'allkeys-lru', 'ok', 'ok'],
    [MIB, 'noeviction', 'ok', 'ok'],
    [MIB, 'volatile-ttl', 'warning', 'ok'],
    [MIB, 'allkeys-lru', 'warning', 'warning'],
  ] as const)('at maxmemory %i with %s is %s for keys, and %s for the state', (...given) => {
    const [maxmemory, policy, forKeys, forState] = given;
    const reading = memory(maxmemory, policy);
    expect(judgeEviction(reading).level).toBe(forKeys);
    expect(judgeStateEviction(reading).level).toBe(forState);
  });

  it('says how many keys were evicted, and what that means', () => {
    expect(judgeEviction(memory(100 * MIB, 'allkeys-lru'))).toMatchObject({
      text:
        'allkeys-lru at 100 MiB (1,234 evicted so far): a key that is evicted before its deadline ' +
        'causes no webhook',
      advice: expect.stringContaining('noeviction'),
    });
  });

  it('cannot be told without INFO', () => {
    expect(judgeEviction(aReading({ info: null })).level).toBe('note');
    expect(judgeStateEviction(aReading({ info: null })).level).toBe('note');
  });
});

describe('what the state Redis keeps on disk', () => {
  const FINE = 'aof_last_write_status:ok\r\nrdb_last_bgsave_status:ok\r\n';
  it.each([
    [`aof_enabled:1\r\n${FINE}`, '', 'ok', 'appendonly yes'],
    [`aof_enabled:0\r\n${FINE}`, '3600 1', 'warning', 'snapshots alone (save 3600 1)'],
    [`aof_enabled:0\r\n${FINE}`, null, 'warning', 'snapshots alone:'],
    [`aof_enabled:0\r\n${FINE}`, '', 'warning', 'nothing is kept there'],
    ['aof_enabled:1\r\naof_last_write_status:err\r\n', '', 'problem', 'could not write its disk'],
    ['aof_enabled:0\r\nrdb_last_bgsave_status:err\r\n', '1 1', 'problem', 'could not write'],
  ] as const)('%j, save %j: %s', (info, save, level, text) => {
    const settings = new Map(save === null ? [] : [['save', save]]);
    const found = judgePersistence(aReading({ info: parseInfo(info), settings }));
    expect(found).toMatchObject({ level, text: expect.stringContaining(text) });
    if (level === 'warning') expect(found.advice).toContain('CONFIG SET appendonly yes');
  });

  it('cannot be told without INFO', () => {
    expect(judgePersistence(aReading({ info: null })).level).toBe('note');
  });
});
