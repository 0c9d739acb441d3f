import { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { namesOf, Sequence } from '../../src/capture/sequence.js';
import { systemClock } from '../../src/lib/clock.js';
import type { ExpiredEvent } from '../../src/model/vocabulary.js';
import { Marks } from '../../src/source/marks.js';
import { anExpiredEvent } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { sharedRedis } from '../support/shared-redis.js';

const OWN_PREFIX = '{expiry-relay}:';
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

const marksOf = (redis: Redis, runId: string | null = RUN_ID) =>
  new Marks(redis, 0, systemClock, OWN_PREFIX, runId);

/** A replica that hears what expires in both databases. */
async function aListener() {
  const redis = connect();
  const marks = marksOf(redis);
  const sequence = new Sequence();
  const heard: string[] = [];
  const events: ExpiredEvent[] = [];
  redis.on('messageBuffer', (channel: Buffer, key: Buffer) => {
    const mark = marks.of(key);
    if (mark !== null) {
      heard.push(mark);
      return sequence.mark(mark);
    }
    const database = DATABASES.findIndex((n) => channel.toString() === `__keyevent@${n}__:expired`);
    events.push(sequence.place(anExpiredEvent({ database, key })) as ExpiredEvent);
  });
  await redis.subscribe(...DATABASES.map((n) => `__keyevent@${n}__:expired`));
  return { events, heard };
}

/** Keys that live for a moment, again and again, in both databases. */
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

it('all who listen hear a mark at the same place among the expirations of several databases', async () => {
  await shared.client.config('SET', 'notify-keyspace-events', 'Ex');
  const first = await aListener();
  const writing = Promise.all(Array.from({ length: 4 }, () => write(100)));
  const marks = marksOf(connect());
  expect(await marks.write('7.1')).toBe('a1b2c3d4.7.1');
  const second = await aListener();
  for (let n = 2; n < 12; n += 1) expect(await marks.write(`7.${n}`)).toBe(`a1b2c3d4.7.${n}`);
  await writing;
  await marks.write('7.12');
  await eventually('the last mark', () => second.heard.at(-1) === 'a1b2c3d4.7.12');
  await eventually('the last mark', () => first.heard.length === 12);
  expect(second.heard).toEqual(first.heard.slice(1));
  expect(second.events.length).toBeGreaterThan(50);
  const alsoFirst = first.events.slice(-second.events.length);
  const replayed = (event: ExpiredEvent) => namesOf({ ...event, isReplayed: true });
  for (const [at, event] of second.events.entries()) {
    const names = replayed(event);
    expect(names.length).toBeGreaterThan(0);
    expect(replayed(alsoFirst[at] ?? event)).toEqual(expect.arrayContaining([...names]));
  }
});

it('a mark of another server, and a key that is none, are not taken for one', () => {
  const redis = connect();
  const mark = (run: string) => Buffer.from(`${OWN_PREFIX}mark:${run}.7.1`);
  expect(marksOf(redis).of(mark('a1b2c3d4'))).toBe('a1b2c3d4.7.1');
  expect(marksOf(redis).of(mark('ffffffff'))).toBeNull();
  expect(marksOf(redis).of(mark(''))).toBeNull();
  expect(marksOf(redis, null).of(mark(''))).toBe('.7.1');
  expect(marksOf(redis).of(Buffer.from(`${OWN_PREFIX}canary:a1b2c3d4.7.1`))).toBeNull();
});

it('no mark is written by a user who must not write', async () => {
  await shared.client.call('ACL', 'SETUSER', 'reader', 'on', '>secret', '~*', '+@all', '-set');
  expect(await marksOf(connect('reader', 'secret')).write('7.1')).toBeNull();
});
