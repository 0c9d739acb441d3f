import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { channelsOf } from '../../src/source/channels.js';
import { WANTED_FLAGS } from '../../src/source/notifications.js';
import { eventually } from '../support/eventually.js';

/** The notices that reach a subscriber while the key `k` exists, which has a deadline. */
async function noticesOf(work: (redis: Redis) => Promise<unknown>): Promise<string[]> {
  await using server = await startRedis({ args: ['--notify-keyspace-events', WANTED_FLAGS] });
  const [redis, subscriber] = [0, 1].map(() => new Redis(server.url, { protocol: 2 })) as [
    Redis,
    Redis,
  ];
  const channels = channelsOf([0, 1]);
  const notices: string[] = [];
  subscriber.on('message', (channel: string, key: string) => {
    const said = channels.get(channel);
    notices.push(`${said?.kind} ${key}${said?.database === 0 ? '' : ` in ${said?.database}`}`);
  });
  await redis.set('k', 'value', 'EX', 60);
  await redis.set('end', '');
  await subscriber.subscribe(...channels.keys());
  await work(redis);
  await redis.select(0);
  await redis.del('end');
  await eventually('the end', () => notices.includes('removed end'));
  for (const each of [redis, subscriber]) each.disconnect();
  return notices.slice(0, -1);
}

/** For deadlines in the past, which servers announce differently, see past-deadlines.test.ts. */
const COMMANDS: readonly (readonly [string, (redis: Redis) => Promise<unknown>, string[]])[] = [
  ['SET … EX', (redis) => redis.set('n', '', 'EX', 60), ['changed n']],
  ['SETEX over a volatile key', (redis) => redis.setex('k', 90, ''), ['changed k']],
  ['SET over a volatile key, which the nudge finds', (redis) => redis.set('k', ''), []],
  ['SET KEEPTTL', (redis) => redis.set('k', '', 'KEEPTTL'), []],
  ['EXPIRE', (redis) => redis.expire('k', 90), ['changed k']],
  ['GETEX EX', (redis) => redis.getex('k', 'EX', 90), ['changed k']],
  ['PERSIST', (redis) => redis.persist('k'), ['changed k']],
  ['GETEX PERSIST', (redis) => redis.getex('k', 'PERSIST'), ['changed k']],
  ['RENAME', (redis) => redis.rename('k', 'n'), ['removed k', 'changed n']],
  ['COPY', (redis) => redis.copy('k', 'n'), ['changed n']],
  ['MOVE', (redis) => redis.move('k', 1), ['removed k', 'changed k in 1']],
  ['DEL', (redis) => redis.del('k'), ['removed k']],
  ['UNLINK', (redis) => redis.unlink('k'), ['removed k']],
  ['GETDEL', (redis) => redis.getdel('k'), ['removed k']],
  [
    'RESTORE',
    async (redis) => redis.restore('n', 60_000, (await redis.dumpBuffer('k')) as Buffer),
    ['changed n'],
  ],
  [
    'a deadline that passes',
    async (redis) => {
      await redis.pexpire('k', 10);
      await eventually('its end', async () => (await redis.exists('k')) === 0);
    },
    ['changed k', 'expired k'],
  ],
];

describe.concurrent('notifications of Redis', () => {
  it.each(COMMANDS)('%s causes its notices', async (_, work, expected) => {
    expect(await noticesOf(work)).toEqual(expected);
  });
});
