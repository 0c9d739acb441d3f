import { Redis } from 'ioredis';
import pino from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import type { RedisSettings } from '../../src/model/vocabulary.js';
import { ensureNotifications, missingFlags } from '../../src/source/notifications.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { SourceEvents } from '../../src/telemetry/source-events.js';
import { type Answer, startAnsweringProxy } from '../support/answering-proxy.js';
import { redisSettings } from '../support/doctor-readings.js';

describe('missingFlags', () => {
  it.each([
    ['', 'Ex'],
    ['E', 'x'],
    ['x', 'E'],
    ['xE', ''],
    ['KEx', ''],
    ['AE', ''],
    ['AK', 'E'],
    ['A', 'E'],
    ['Kg$', 'Ex'],
  ])('"%s" lacks "%s"', (setting, missing) => {
    expect(missingFlags(setting)).toBe(missing);
  });

  it('does not count classes as set that A does not include', () => {
    expect(missingFlags('AE', 'Em')).toBe('m');
  });
});

/** The resulting setting of a real server for which `answer` replies, and the log. */
async function ensure(
  flags: string,
  notifications: RedisSettings['notifications'],
  answer: Answer = () => null,
) {
  const server = await startRedis({ args: ['--notify-keyspace-events', flags] });
  onTestFinished(() => server.stop());
  const proxy = await startAnsweringProxy(server.port, answer);
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  const redis = new Redis(proxy.url, { protocol: 2, enableReadyCheck: false });
  onTestFinished(() => redis.disconnect());
  await redis.ping();
  const lines: { event: string; before?: string; after?: string; setting?: string }[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const events = new SourceEvents(log, new Metrics({ endpoints: new Map(), routes: [] }));
  const settings = redisSettings({ notifications, port: server.port });
  const result = await ensureNotifications(redis, settings, events).catch(
    (error: Error) => error.message,
  );
  return { result, lines, events: lines.map(({ event }) => event) };
}

const sorted = (setting: string | null) => [...(setting ?? '')].sort().join('');
const isSet = (words: readonly string[]) => /^config set /i.test(words.join(' '));

/** As Dragonfly does. */
const onlyEx: Answer = (words) =>
  isSet(words) && words[3] !== 'Ex'
    ? '-ERR CONFIG SET failed (possibly related to argument)\r\n'
    : null;

/** As some managed services do. */
const changesNothing: Answer = (words) => (isSet(words) ? '+OK\r\n' : null);

describe('the setting of a server', () => {
  it('that lacks classes is completed, and its own classes are kept', async () => {
    const { result, lines } = await ensure('K$', 'manage');
    expect(sorted(result)).toBe(sorted('K$Exge'));
    expect(lines).toMatchObject([{ event: 'notifications_changed', after: result }]);
  });

  it('that accepts only Ex is set to Ex, and the weaker guarantee is logged', async () => {
    const { result, events } = await ensure('', 'manage', onlyEx);
    expect(sorted(result)).toBe('Ex');
    expect(events).toEqual(['notifications_changed', 'notifications_partial']);
  });

  it('that has Ex and accepts no others is unchanged, and the weaker guarantee is logged', async () => {
    const { result, events } = await ensure('Ex', 'manage', onlyEx);
    expect(sorted(result)).toBe('Ex');
    expect(events).toEqual(['notifications_partial']);
  });

  it('that stays unchanged after OK fails the start, with the current value', async () => {
    const { result, events } = await ensure('K', 'manage', changesNothing);
    expect(result).toContain(
      '(it returns OK but keeps "K"). Set notify-keyspace-events to "KExge"',
    );
    expect(events).toEqual([]);
  });

  it('that may not be changed fails the start, with all required classes', async () => {
    const refuses: Answer = (words) => (isSet(words) ? "-NOPERM can't run config|set\r\n" : null);
    const { result } = await ensure('', 'manage', refuses);
    expect(result).toContain(
      '(NOPERM can\'t run config|set). Set notify-keyspace-events to "Exge"',
    );
    expect((await ensure('', 'require')).result).toMatch(/expected .* to contain "Exge", found ""/);
  });

  it.each(['-ERR unknown command', '-ERR illegal command', '-NOPERM no', '*0'])(
    'that is hidden by %s stays unknown',
    async (reply) => {
      const { result } = await ensure('', 'manage', (words) =>
        /^config /i.test(words.join(' ')) ? `${reply}\r\n` : null,
      );
      expect(result).toBeNull();
    },
  );

  it('is not reported as unknown while the server loads its data', async () => {
    const loading: Answer = (words) =>
      /^config /i.test(words.join(' ')) ? '-LOADING Redis is loading\r\n' : null;
    expect((await ensure('', 'manage', loading)).result).toContain('LOADING');
  });
});
