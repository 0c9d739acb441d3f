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

  it('does not take A for the classes that it leaves out', () => {
    expect(missingFlags('AE', 'Em')).toBe('m');
  });
});

/** What becomes of the setting of a real server, where `answer` speaks for it; and what is logged. */
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
  it('that lacks classes is completed, and what it had is kept', async () => {
    const { result, lines } = await ensure('K$', 'manage');
    expect(sorted(result)).toBe(sorted('K$Exge'));
    expect(lines).toMatchObject([{ event: 'notifications_changed', after: result }]);
  });

  it('that takes no other classes than Ex is set to Ex, and it is said what that weakens', async () => {
    const { result, events } = await ensure('', 'manage', onlyEx);
    expect(sorted(result)).toBe('Ex');
    expect(events).toEqual(['notifications_changed', 'notifications_partial']);
  });

  it('that has Ex and takes no others is left as it is, and it is said what that weakens', async () => {
    const { result, events } = await ensure('Ex', 'manage', onlyEx);
    expect(sorted(result)).toBe('Ex');
    expect(events).toEqual(['notifications_partial']);
  });

  it('that answers OK and changes nothing ends the start, with what is in force', async () => {
    const { result, events } = await ensure('K', 'manage', changesNothing);
    expect(result).toContain(
      '(it returns OK but keeps "K"). Set notify-keyspace-events to "KExge"',
    );
    expect(events).toEqual([]);
  });

  it('that may not be changed ends the start, with all that is wanted', async () => {
    const refuses: Answer = (words) => (isSet(words) ? "-NOPERM can't run config|set\r\n" : null);
    const { result } = await ensure('', 'manage', refuses);
    expect(result).toContain(
      '(NOPERM can\'t run config|set). Set notify-keyspace-events to "Exge"',
    );
    expect((await ensure('', 'require')).result).toMatch(/expected .* to contain "Exge", found ""/);
  });

  it.each(['-ERR unknown command', '-ERR illegal command', '-NOPERM no', '*0'])(
    'that it does not show by %s stays unknown',
    async (reply) => {
      const { result } = await ensure('', 'manage', (words) =>
        /^config /i.test(words.join(' ')) ? `${reply}\r\n` : null,
      );
      expect(result).toBeNull();
    },
  );

  it('is not taken for unknown while the server loads its data', async () => {
    const loading: Answer = (words) =>
      /^config /i.test(words.join(' ')) ? '-LOADING Redis is loading\r\n' : null;
    expect((await ensure('', 'manage', loading)).result).toContain('LOADING');
  });
});
