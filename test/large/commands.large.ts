/** With half a million members in each structure of the state, no command blocks Redis for long. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { RedisDeadlines } from '../../src/deadlines/redis-deadlines.js';
import { systemClock } from '../../src/lib/clock.js';
import { DEAD_LETTER_BATCH, Maintenance } from '../../src/outbox/maintenance.js';
import { Presence } from '../../src/outbox/presence.js';
import { RedisDeadLetters } from '../../src/outbox/redis-dead-letters.js';
import { Waits } from '../../src/outbox/waits.js';
import {
  capturedKey,
  deadlineKeys,
  endpointKeys,
  endpointsKey,
  GROUP,
  HISTORY_MAX,
  quarantineKey,
  replicasKey,
  unroutedKey,
  valueKeys,
} from '../../src/state/format.js';
import { ALWAYS_HELD } from '../../src/state/lease.js';
import { RedisValues } from '../../src/values/redis-values.js';
import { PREFIX } from '../support/dead-letters.js';
import { aCapturedExpiration, aDelivery } from '../support/domain.js';
import { packDelivery } from '../support/packed-delivery.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const MEMBERS = 500_000;

/** The longest wait of other clients of the Redis. */
const HELD_US_MAX = 20_000;

const never = new AbortController().signal;
const NOW_MS = Date.now();

const shared = sharedRedis();

/** Runs a line of Lua for each member; `i` counts them. */
async function fill(line: string, ...keys: readonly string[]): Promise<void> {
  const step = MEMBERS / 50;
  for (let from = 1; from <= MEMBERS; from += step) {
    const lua = `for i = ${from}, ${from + step - 1} do ${line} end`;
    await shared.client.eval(lua, keys.length, ...keys);
  }
}

const zadd = (key: number, member: string, score = 'i') =>
  `redis.call('ZADD', KEYS[${key}], ${score}, ${member})`;

const [BEFORE_ID, AFTER_ID] = packDelivery(aDelivery({ id: 'ID', body: Buffer.from('{}') }))
  .toString()
  .replaceAll('\n', '\\n')
  .split('ID');
const PACKED = `'${BEFORE_ID}msg_' .. i .. '${AFTER_ID}'`;
const LETTER = `'{"reason":"exhausted","attempts":1,"last_outcome":null,"died_at_ms":' .. i .. '}\\n' .. ${PACKED}`;

const HISTORY = Array.from({ length: HISTORY_MAX }, () => '[1764360062123,12,"HTTP 500"]').join();

beforeEach(async () => {
  await shared.client.config('SET', 'slowlog-log-slower-than', '-1');
});

/** Starts to record commands that block Redis too long. */
async function begin() {
  const { state, scripts, outbox } = await openState(shared.server.port, PREFIX);
  onTestFinished(() => state.close());
  await shared.client.config('SET', 'slowlog-log-slower-than', HELD_US_MAX);
  await shared.client.call('SLOWLOG', 'RESET');
  return { state, scripts, outbox: outbox() };
}

afterEach(async () => {
  const slow = (await shared.client.call('SLOWLOG', 'GET', '10')) as [
    number,
    number,
    number,
    string[],
  ][];
  expect(slow.map(([, , us, words]) => `${us} us: ${words.join(' ').slice(0, 200)}`)).toEqual([]);
});

describe('no command blocks Redis', () => {
  it('when recorded expirations are removed', async () => {
    await fill(zadd(1, `'0:=1:order:' .. i`), capturedKey(PREFIX));
    const { outbox } = await begin();
    const key = Buffer.from('order:1');
    for (let n = 0; n < MEMBERS / 2_000 + 1; n += 1) {
      await outbox.enqueue([], [aCapturedExpiration({ key, detectedAtMs: NOW_MS })]);
    }
    expect(await shared.client.zcard(capturedKey(PREFIX))).toBeLessThan(500);
  });

  it('when a database was emptied, or its deadlines are swept', async () => {
    const { tracked, overdue } = deadlineKeys(PREFIX, 0);
    const unrouted = unroutedKey(PREFIX, 0);
    for (const key of [tracked, overdue, unrouted]) await fill(zadd(1, `'order:' .. i`), key);
    const { state } = await begin();
    const deadlines = new RedisDeadlines(state, ALWAYS_HELD, [0], () => undefined);
    await deadlines.count();
    await deadlines.overdue(0, NOW_MS, 20_000);
    await deadlines.take(0, NOW_MS, 500);
    await deadlines.forgetAside(0, MEMBERS / 2);
    await deadlines.bringBack(0, () => true);
    expect(await deadlines.forget(0)).toBeGreaterThanOrEqual(MEMBERS);
  });

  it('when values are pruned, and many of them are still needed', async () => {
    const { read, deadlines } = valueKeys(PREFIX, 0);
    const { tracked } = deadlineKeys(PREFIX, 0);
    await fill(
      `${zadd(1, `'order:' .. i`)} redis.call('HSET', KEYS[2], 'order:' .. i, '{}') ` +
        `if i % 2 == 0 then ${zadd(3, `'order:' .. i`)} end`,
      ...[deadlines, read, tracked],
    );
    const { state } = await begin();
    const values = new RedisValues(state, ALWAYS_HELD);
    await values.prune(0, NOW_MS);
    expect(await shared.client.zcard(deadlines)).toBe(MEMBERS / 2);
    await values.forgetAll(0);
  });

  it('when dead letters are listed, expire, and are too many', async () => {
    const { dead, deadOrder } = endpointKeys(PREFIX, 'shop');
    await fill(
      `${zadd(1, `'msg_' .. i`)} redis.call('HSET', KEYS[2], 'msg_' .. i, ${LETTER})`,
      ...[deadOrder, dead],
    );
    const { state, scripts } = await begin();
    const letters = new RedisDeadLetters(state, scripts);
    expect(await letters.newest(['shop'], 100)).toHaveLength(100);
    let pages = 0;
    for await (const page of letters.pages(['shop'])) pages += page.length > 0 ? 1 : 0;
    expect(pages).toBe(MEMBERS / 100);
    expect(await letters.expire('shop', 1_000)).toBe(MEMBERS);
  });

  it('when an unknown endpoint is given up, and retries are limited', async () => {
    const { ready, deliveries, waiting, waits, attempts, deadOrder } = endpointKeys(PREFIX, 'shop');
    await fill(
      `redis.call('HSET', KEYS[1], 'msg_' .. i, ${PACKED}) ` +
        `if i % 2 == 0 then redis.call('XADD', KEYS[2], '*', 'id', 'msg_' .. i, 'attempts', 0, 'due', 0) ` +
        `else ${zadd(3, `'1:msg_' .. i`)} redis.call('HSET', KEYS[4], '1:msg_' .. i, 1) ` +
        `redis.call('HSET', KEYS[5], 'msg_' .. i, '${HISTORY}') end`,
      ...[deliveries, ready, waiting, waits, attempts],
    );
    await shared.client.xgroup('CREATE', ready, GROUP, '0');
    await shared.client.zadd(endpointsKey(PREFIX), 1, 'shop');
    const { state, scripts, outbox } = await begin();
    const endpoint = { retry: { scheduleMs: [1_000], jitter: 0 } };
    const nothing = () => undefined;
    const parts = { state, scripts, clock: systemClock };
    const waitEvents = { stateClockSet: nothing, waitsLimited: nothing };
    await new Waits({
      ...parts,
      endpoints: () => new Map([['shop', endpoint]]),
      events: waitEvents,
    }).runOnce();
    await outbox.depth('shop');
    const events = {
      unknownEndpoint: nothing,
      unknownEndpointDeadLettered: nothing,
      deadLettersExpired: nothing,
      indexRestored: nothing,
    };
    const limits = () => ({ keepMs: 3_600_000, graceMs: 0 });
    const times = { limits, isClockSteady: () => true };
    const upkeep = new Maintenance({ ...parts, outbox, ...times, events });
    for (let round = 0; round < 2; round += 1) await upkeep.runOnce();
    const args = ['shop', '1', 'unknown_endpoint', DEAD_LETTER_BATCH];
    const { throttle, dead } = endpointKeys(PREFIX, 'shop');
    const keys = [
      endpointsKey(PREFIX),
      ready,
      deliveries,
      waiting,
      throttle,
      dead,
      deadOrder,
      waits,
      attempts,
      quarantineKey(PREFIX),
    ];
    while (Number(await scripts.deadLetterUnknown(keys, args)) > 0);
    expect(await shared.client.zcard(deadOrder)).toBe(MEMBERS);
  });

  it('when a replica died that had claimed all deliveries, or came back without its claims', async () => {
    const { ready, deliveries } = endpointKeys(PREFIX, 'shop');
    await fill(
      `redis.call('HSET', KEYS[1], 'msg_' .. i, ${PACKED}) ` +
        `redis.call('XADD', KEYS[2], '*', 'id', 'msg_' .. i, 'attempts', 0, 'due', 0)`,
      ...[deliveries, ready],
    );
    await shared.client.xgroup('CREATE', ready, GROUP, '0');
    for (const replica of ['one', 'dead']) {
      const count = MEMBERS / 2;
      await shared.client.xreadgroup(
        ...(['GROUP', GROUP, replica, 'COUNT', count, 'STREAMS', ready, '>'] as const),
      );
    }
    const { state, scripts, outbox } = await begin();
    expect(await outbox.claim('shop', 500, never)).toHaveLength(500);
    const presence = new Presence({
      ...{ state, scripts, replica: 'other', endpoints: () => ['shop'], clock: systemClock },
      onReclaimed: () => undefined,
    });
    await shared.client.zadd(replicasKey(PREFIX), NOW_MS, 'one');
    await presence.heartbeat();
    await presence.reclaim();
    const rest = (await shared.client.xpending(ready, GROUP)) as [number, ...unknown[]];
    expect(rest[0]).toBe(500);
  });

  it('when many deliveries are stored at once', async () => {
    const { outbox } = await begin();
    for (let n = 0; n < 20; n += 1) {
      const some = Array.from({ length: 500 }, (_, at) => aDelivery({ id: `msg_${n}_${at}` }));
      const claimed = some.map(({ id }) =>
        aCapturedExpiration({
          key: Buffer.from(id),
          deadlineMs: 1,
          detectedAtMs: NOW_MS,
        }),
      );
      await outbox.enqueue(some, claimed);
    }
    expect((await outbox.claim('shop', 1_000, never)).length).toBe(1_000);
  });
});
