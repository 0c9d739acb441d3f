/** Foreign writes to the relay's own keys affect only the written entries. */
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { typedKeys } from '../../src/state/format.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { RelayProcess } from '../support/relay-process.js';
import { TestReceiver } from '../support/test-receiver.js';

type Words = readonly [command: string, ...args: (string | number | Buffer)[]];

const OWN = '{expiry-relay}:1:';
const SHOP = `${OWN}outbox:shop`;
const NOT_UTF8 = Buffer.from([0xff, 0xfe, 0x00, 0x80]);
const MEGABYTE = 'x'.repeat(1024 * 1024);

/** A line of a delivery, with custom fields. */
const line = (given: object = {}) => {
  const right = {
    ...{ id: 'msg_x', endpoint: 'shop', route: 'cancel', path: '', key: 'k', database: 0 },
    ...{ expired_at_ms: null, detected_at_ms: 1_764_000_000_000, detected_by: 'notification' },
  };
  return JSON.stringify({ ...right, ...given });
};

/** Bodies of the hash of deliveries that no relay can have written. */
const UNREADABLE: readonly (string | Buffer)[] = [
  ...[
    '',
    '\n',
    'garbage',
    '{}',
    '{}\n',
    'null\n',
    '[]\n',
    '"text"\n{}',
    '{"__proto__":{"id":"msg_x"}}\n',
  ],
  ...[NOT_UTF8, MEGABYTE, `${line()}`, `${line({ id: 'msg_y' })}\n{}`],
  ...[{ endpoint: 'other' }, { path: '/a b' }, { path: '/a\r\nx: y' }, { path: 7 }].map(
    (given) => `${line(given)}\n{}`,
  ),
  ...[
    { method: 'G E T' },
    { method: 'CONNECT' },
    { content_type: 'a\nb' },
    { route: 'a\u0000b' },
  ].map((given) => `${line(given)}\n{}`),
  ...[{ expired_at_ms: 9e15 }, { detected_at_ms: 'soon' }, { database: -1 }, { key: 1 }].map(
    (given) => `${line(given)}\n{}`,
  ),
];

/** Each with the keys that it writes; the relay may be running or not. */
const FOREIGN: readonly (readonly [command: Words, ...named: string[]])[] = [
  ...['-inf', '-5', '1.5', '0.1'].flatMap((score, n): [Words, string][] => [
    [['ZADD', `${OWN}deadlines:0:tracked`, score, `order:x${n}`], `${OWN}deadlines:0:tracked`],
    [['ZADD', `${OWN}deadlines:0:overdue`, score, `order:y${n}`], `${OWN}deadlines:0:overdue`],
    [['ZADD', `${OWN}deadlines:0:unrouted`, score, `order:z${n}`], `${OWN}deadlines:0:unrouted`],
  ]),
  [['ZADD', `${OWN}deadlines:0:tracked`, '+inf', 'order:far']],
  [['ZADD', `${OWN}deadlines:0:tracked`, '1e300', NOT_UTF8]],
  [['ZADD', `${OWN}deadlines:0:overdue`, '+inf', 'order:far']],
  [['HSET', `${OWN}values:0:read`, 'order:v', 'garbage']],
  [['ZADD', `${OWN}values:0:deadlines`, 'inf', 'order:v']],
  [['ZADD', `${OWN}claimed`, '-inf', 'no colon']],
  [['ZADD', `${OWN}claimed`, '+inf', 'x:order:a']],
  [['ZADD', `${OWN}endpoints`, 'inf', NOT_UTF8], `${OWN}endpoints`],
  [['ZADD', `${OWN}endpoints`, '-inf', 'no such name!'], `${OWN}endpoints`],
  [['ZADD', `${OWN}endpoints`, 'inf', 'shop']],
  [['ZADD', `${OWN}replicas`, 'inf', NOT_UTF8], `${OWN}replicas`],
  [['ZADD', `${OWN}replicas`, '1.5', 'dead']],
  [['HSET', `${OWN}gone`, 'garbage', MEGABYTE]],
  [['HSET', `${OWN}gone`, '__proto__', 'x']],
  [
    ['HSET', `${OWN}configurations`, 'one', '9999999999999999999999 ab 0 1'],
    `${OWN}configurations`,
  ],
  [['HSET', `${OWN}configurations`, NOT_UTF8, '1 ab 0 1'], `${OWN}configurations`],
  [['HSET', `${OWN}configurations`, 'two', ''], `${OWN}configurations`],
  [['HSET', `${OWN}lease`, 'numbers', '1e400'], `${OWN}lease`],
  [['HSET', `${OWN}lease`, 'renewed_at', 'yesterday', 'number', '-1'], `${OWN}lease`],
  [['HSET', `${OWN}lease`, 'endpoints', `${MEGABYTE}\n\n${'f'.repeat(64)} \u0000`]],
  [['SET', `${OWN}watch`, MEGABYTE], `${OWN}watch`],
  [['SET', `${OWN}settled`, 'not a time']],
  [['HSET', `${OWN}watched`, 'address', MEGABYTE, 'id', 'garbage'], `${OWN}watched`],
  ...UNREADABLE.flatMap((packed, n): [Words, ...string[]][] => {
    const id = typeof packed === 'string' && packed.includes('msg_y') ? 'msg_x' : `msg_bad${n}`;
    return [
      [['HSET', `${SHOP}:deliveries`, id, packed], `${SHOP}:deliveries`],
      [['XADD', `${SHOP}:ready`, '*', 'id', id, 'attempts', 0, 'due', 1]],
    ];
  }),
  [['XADD', `${SHOP}:ready`, '*', 'id', 'msg_unknown', 'attempts', 0]],
  [['XADD', `${SHOP}:ready`, '*', 'f', 'v'], `${SHOP}:ready`],
  [['XADD', `${SHOP}:ready`, '*', 'id', 'msg_1', 'attempts', 'NaN', 'due', 'inf'], `${SHOP}:ready`],
  [['XADD', `${SHOP}:ready`, '*', 'attempts', 1, 'id', 'x', NOT_UTF8, NOT_UTF8], `${SHOP}:ready`],
  [['XGROUP', 'CREATE', `${SHOP}:ready`, 'another', '$', 'MKSTREAM']],
  [['ZADD', `${SHOP}:waiting`, '-inf', 'garbage'], `${SHOP}:waiting`],
  [['ZADD', `${SHOP}:waiting`, '+inf', 'more garbage'], `${SHOP}:waiting`],
  [['ZADD', `${SHOP}:waiting`, '1.5', NOT_UTF8], `${SHOP}:waiting`],
  [['ZADD', `${SHOP}:waiting`, '-inf', '1:msg_unknown']],
  [['ZADD', `${SHOP}:waiting`, 'inf', '99999999999999999999:msg_z'], `${SHOP}:waiting`],
  [['HSET', `${SHOP}:waits`, '1:msg_unknown', 'soon', '__proto__', '1e400']],
  [['HSET', `${SHOP}:attempts`, 'msg_unknown', MEGABYTE, '__proto__', NOT_UTF8]],
  [['HSET', `${SHOP}:throttle`, 'until', 'inf', 'length', '-1'], `${SHOP}:throttle`],
  [['HSET', `${SHOP}:dead`, 'msg_bad', 'garbage']],
  [['ZADD', `${SHOP}:dead-order`, 'inf', 'msg_bad']],
  [['ZADD', `${SHOP}:dead-order`, '-inf', 'msg_ghost']],
  [['XADD', `${OWN}quarantine`, '*', 'n', 'x', 'kind', NOT_UTF8]],
];

async function write(redis: Redis, commands: readonly Words[]): Promise<void> {
  for (const [name, ...args] of commands) await redis.call(name, ...args);
}

async function setUp() {
  const server = await startRedis();
  const redis = new Redis(server.url, { protocol: 2 });
  const receiver = await TestReceiver.start();
  const file = {
    redis: { url: server.url },
    endpoints: { shop: { url: receiver.url, secrets: [TEST_SECRET], concurrency: 4 } },
    routes: [{ name: 'cancel', match: 'order:*', to: 'shop', include: ['value'] }],
  };
  let count = 0;
  /** Lets keys expire, and waits for their webhooks. */
  const expectDelivered = async (keys: number) => {
    count += keys;
    const names = Array.from({ length: keys }, (_, n) => `order:${count - n}`);
    await Promise.all(names.map((name) => redis.set(name, 'v', 'PX', 1_500)));
    await eventually(
      'the webhooks',
      () => names.every((name) => receiver.keys.includes(name)),
      30_000,
    );
    const own = receiver.requests.filter(({ body }) => names.includes(body.data.key));
    expect(own.map(({ body }) => body.data.value)).toEqual(names.map(() => 'v'));
    expect(own.every(({ body }) => body.data.expired_at !== null)).toBe(true);
  };
  return {
    ...{ server, redis, receiver, file, expectDelivered },
    [Symbol.asyncDispose]: async () => {
      redis.disconnect();
      await receiver[Symbol.asyncDispose]();
      await server.stop();
    },
  };
}

describe.concurrent('a state that others write to', () => {
  it.each(['while no relay runs', 'while it runs'])(
    'keeps its own entries after any write %s',
    async (when) => {
      await using one = await setUp();
      const { redis, file, expectDelivered, receiver } = one;
      const isLate = when === 'while it runs';
      await using first = await RelayProcess.start(file);
      await expectDelivered(5);
      if (!isLate) await first.stop();
      await write(
        redis,
        FOREIGN.map(([command]) => command),
      );
      await using second = isLate ? null : await RelayProcess.start(file);
      const relay = second ?? first;
      await expectDelivered(20);
      // Entries that are read only at a start are found at the next one.
      const expected = FOREIGN.flatMap(([, ...keys]) => keys).filter(
        (key) => !isLate || !/unrouted|watched/.test(key),
      );
      let missing: readonly string[] = [];
      await eventually('each key is named', async () => {
        const records = await redis.xrange(`${OWN}quarantine`, '-', '+');
        const named = new Set(records.map(([, [, , , key]]) => key));
        missing = expected.filter((key) => !named.has(key));
        return missing.length === 0;
      }).catch(() => expect(missing).toEqual([]));
      await expectDelivered(5);
      expect(relay.running).toBe(true);
      expect(relay.logs('internal_error')).toEqual([]);
      expect(new Set(receiver.keys).size).toBe(receiver.keys.length);
      expect(await relay.get('/readyz?verbose')).toMatchObject({
        status: 200,
        text: expect.stringMatching(/quarantine: \d+ records/),
      });
    },
    90_000,
  );

  it('renames keys of another type, and continues', async () => {
    await using one = await setUp();
    const { redis, file, expectDelivered } = one;
    await using relay = await RelayProcess.start(file);
    await expectDelivered(3);
    const keys = typedKeys('expiry-relay', [0], ['shop']);
    await write(
      redis,
      keys.flatMap(([key, type]): Words[] => [
        ['DEL', key],
        type === 'string' ? ['RPUSH', key, 'a'] : ['SET', key, MEGABYTE],
      ]),
    );
    await redis.set(`${OWN}quarantine`, 'x');
    await expectDelivered(10);
    expect(relay.running).toBe(true);
  }, 60_000);
});
