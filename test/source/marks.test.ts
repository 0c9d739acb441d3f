import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { namesOf, Sequence } from '../../src/capture/sequence.js';
import { systemClock } from '../../src/lib/clock.js';
import type { ExpiredEvent } from '../../src/model/vocabulary.js';
import { Marks } from '../../src/source/marks.js';
import { anExpiredEvent } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { sharedRedis } from '../support/shared-redis.js';

const CHANNEL = '{expiry-relay}:marks';
const RUN_ID = 'a1b2c3d4e5';
const DATABASES = [0, 1];

const shared = sharedRedis();

function connect(user = '', password = ''): Redis {
  const { port } = shared.server;
  const login = user === '' ? {} : { username: user, password };
  const redis = new Redis({ port, host: '127.0.0.1', protocol: 2, ...login });
  onTestFinished(() => redis.disconnect());
  return redis;
}

const unexpected = (error: Error): void => {
  throw error;
};

const marksOf = (redis: Redis, runId: string | null = RUN_ID, onRefused = unexpected) =>
  new Marks({ redis, channel: CHANNEL, runId, onRefused });

/** A replica that receives the expirations of both databases. */
async function aListener() {
  const redis = connect();
  const marks = marksOf(redis);
  const sequence = new Sequence();
  const received: string[] = [];
  const events: ExpiredEvent[] = [];
  redis.on('messageBuffer', (channel: Buffer, key: Buffer) => {
    if (channel.toString() === CHANNEL) {
      const mark = marks.of(key);
      if (mark === null) return;
      received.push(mark);
      return sequence.mark(mark);
    }
    const database = DATABASES.findIndex((n) => channel.toString() === `__keyevent@${n}__:expired`);
    events.push(sequence.place(anExpiredEvent({ database, key })) as ExpiredEvent);
  });
  await redis.subscribe(...DATABASES.map((n) => `__keyevent@${n}__:expired`));
  await marks.subscribe(redis);
  return { events, received };
}

/** Writes short-lived keys in both databases, `count` times. */
async function write(count: number): Promise<void> {
  const redis = connect();
  for (let n = 0; n < count; n += 1) {
    const [database = 0] = [DATABASES[n % 2]];
    await redis
      .pipeline()
      .select(database)
      .set(`key ${n % 3}`, '', 'PX', 1)
      .exec();
    await systemClock.sleep(2);
    await redis
      .pipeline()
      .select(database)
      .exists(`key ${n % 3}`)
      .exec();
  }
}

it('every subscriber receives a mark at the same place among the expirations of several databases', async () => {
  await shared.client.config('SET', 'notify-keyspace-events', 'Ex');
  const first = await aListener();
  const writing = Promise.all(Array.from({ length: 4 }, () => write(100)));
  const marks = marksOf(connect());
  expect(await marks.publish('7.1')).toBe('a1b2c3d4.7.1');
  const second = await aListener();
  for (let n = 2; n < 12; n += 1) expect(await marks.publish(`7.${n}`)).toBe(`a1b2c3d4.7.${n}`);
  await writing;
  await marks.publish('7.12');
  await eventually('the last mark', () => second.received.at(-1) === 'a1b2c3d4.7.12');
  await eventually('the last mark', () => first.received.length === 12);
  expect(second.received).toEqual(first.received.slice(1));
  expect(second.events.length).toBeGreaterThan(50);
  const alsoFirst = first.events.slice(-second.events.length);
  const replayed = (event: ExpiredEvent) => namesOf({ ...event, isReplayed: true });
  for (const [at, event] of second.events.entries()) {
    const names = replayed(event);
    expect(names.length).toBeGreaterThan(0);
    expect(replayed(alsoFirst[at] ?? event)).toEqual(expect.arrayContaining([...names]));
  }
});

it('a mark of another server, and a message that is no mark, are ignored', () => {
  const redis = connect();
  const message = (run: string) => Buffer.from(`${run}.7.1`);
  expect(marksOf(redis).of(message('a1b2c3d4'))).toBe('a1b2c3d4.7.1');
  expect(marksOf(redis).of(message('ffffffff'))).toBeNull();
  expect(marksOf(redis).of(message(''))).toBeNull();
  expect(marksOf(redis, null).of(message(''))).toBe('.7.1');
  for (const other of ['', 'a1b2c3d4.7', 'a1b2c3d4.7.1 ', 'a1b2c3d4.7.-1', '\u{1f600}']) {
    expect(marksOf(redis).of(Buffer.from(other))).toBeNull();
  }
});

it.each([
  ['publish', '-publish', ['allchannels']],
  ['subscribe to the channel', '+publish', ['resetchannels', '&__keyevent@0__:*']],
])('a user who may not %s has no marks, which is logged once', async (_, rule, channels) => {
  await shared.client.call(
    'ACL',
    'SETUSER',
    'limited',
    'reset',
    'on',
    '>secret',
    '+@all',
    rule,
    ...channels,
  );
  const refused: string[] = [];
  const marks = marksOf(
    connect('limited', 'secret'),
    RUN_ID,
    ({ message }) => void refused.push(message),
  );
  await marks.subscribe(connect('limited', 'secret'));
  expect(await marks.publish('7.1')).toBeNull();
  expect(await marks.publish('7.2')).toBeNull();
  expect(refused).toEqual([expect.stringMatching(/^NOPERM /)]);
});

it('a failed connection is no refusal', async () => {
  const redis = connect();
  await redis.ping();
  redis.disconnect();
  await expect(marksOf(redis).publish('7.1')).rejects.toThrow();
});
