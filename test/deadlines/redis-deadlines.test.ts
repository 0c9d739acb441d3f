import { describe, expect, it } from 'vitest';
import { RedisDeadlines } from '../../src/deadlines/redis-deadlines.js';
import { FencedError } from '../../src/model/errors.js';

import { keyId } from '../../src/model/key-id.js';
import type { ConsumedDeadline } from '../../src/model/vocabulary.js';
import { deadlineKeys } from '../../src/state/format.js';
import { ALWAYS_HELD } from '../../src/state/lease.js';
import { aDelivery } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';
import { at, claimOf, describeDeadlines, gone, NOW_MS, until } from './deadlines.contract.js';

const shared = sharedRedis();
let prefixes = 0;

async function open() {
  prefixes += 1;
  const opened = await openState(shared.server.port, `deadlines-${prefixes}`);
  const deadlines = new RedisDeadlines(opened.state, ALWAYS_HELD, [0, 1], () => undefined);
  const outbox = opened.outbox();
  return {
    deadlines,
    outbox,
    state: opened.state,
    claim: async (claimed: readonly ConsumedDeadline[]) => void (await outbox.enqueue([], claimed)),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

describeDeadlines('an index of deadlines in Redis', open);

describe('an index of deadlines in Redis', () => {
  it('is the same for every replica, and survives each of them', async () => {
    await using one = await open();
    const other = new RedisDeadlines(one.state, ALWAYS_HELD, [0, 1], () => undefined);
    await one.deadlines.put([until('a', 5), until('b', 9)]);
    expect(await other.take(0, NOW_MS + 5, 9)).toHaveLength(1);
    expect(await one.deadlines.overdue(0, NOW_MS + 5, 9)).toHaveLength(1);
    expect(await one.deadlines.earliestMs(0)).toBe(NOW_MS + 9);
  });

  it('gives up an entry and stores its delivery in one step: both, or neither', async () => {
    await using opened = await open();
    const { deadlines, outbox } = opened;
    await deadlines.put([until('a', 5)]);
    const claimed = [claimOf({ ...at('a'), deadlineMs: NOW_MS + 5 })];
    const ready = `{${opened.state.prefix}}:1:outbox:other:ready`;
    await shared.client.set(ready, 'of somebody else');
    const delivery = aDelivery({ endpoint: 'other' });
    await expect(outbox.enqueue([delivery], claimed)).rejects.toThrow('WRONGTYPE');
    expect(await deadlines.count()).toBe(1);
    await shared.client.del(ready);
    await outbox.enqueue([delivery], claimed);
    expect(await deadlines.count()).toBe(0);
    expect((await outbox.depth('other')).pending).toBe(1);
  });

  it('keeps due entries although "overdue" is of another type', async () => {
    await using opened = await open();
    const { deadlines, state } = opened;
    await deadlines.put([until('a', 5)]);
    await shared.client.set(deadlineKeys(state.prefix, 0).overdue, 'of another client');
    expect(await deadlines.take(0, NOW_MS + 5, 9)).toHaveLength(1);
  });

  it('tells a replica that no longer watches that it is fenced', async () => {
    await using opened = await open();
    const fenced = new RedisDeadlines(
      opened.state,
      { token: null, number: 1 },
      [0],
      () => undefined,
    );
    const key = { database: 0, key: Buffer.from('a') };
    await expect(fenced.put([until('a', 5)])).rejects.toThrow(FencedError);
    await expect(fenced.remove([key])).rejects.toThrow(FencedError);
    await expect(fenced.take(0, NOW_MS, 9)).rejects.toThrow(FencedError);
    expect(opened.state.problem).toBeNull();
  });

  it('puts many before what is removed behind them', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    const keys = Array.from({ length: 700 }, (_, n) => `order:${n}`);
    const put = deadlines.put(keys.map((key) => until(key, 5)));
    await deadlines.remove([at('order:0'), at('order:699')]);
    await put;
    expect(await deadlines.find([at('order:0'), at('order:699')])).toEqual([null, null]);
    expect(await deadlines.count()).toBe(698);
  });

  it('knows until when all is settled, by whoever watches', async () => {
    await using opened = await open();
    const { deadlines, state } = opened;
    expect(await deadlines.settledUntilMs()).toBeNull();
    await deadlines.settled(NOW_MS);
    await deadlines.settled(NOW_MS + 500);
    expect(await deadlines.settledUntilMs()).toBe(NOW_MS + 500);
    const fenced = new RedisDeadlines(state, { token: null, number: 1 }, [0], () => undefined);
    await expect(fenced.settled(NOW_MS + 900)).rejects.toThrow(FencedError);
    expect(await deadlines.settledUntilMs()).toBe(NOW_MS + 500);
  });

  it('takes nothing for settled by a replica of another configuration', async () => {
    await using opened = await open();
    const { deadlines, state } = opened;
    await deadlines.settled(NOW_MS);
    const other = new RedisDeadlines(state, { token: '', number: 2 }, [0], () => undefined);
    expect(await other.settledUntilMs()).toBeNull();
  });

  it('keeps what matches no route of its own for a replica that has one, and brings it back', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('old:1', 5), until('new:1', 5), until('new:2', 9)]);
    await deadlines.take(0, NOW_MS + 5, 9);
    await deadlines.setAside([at('new:1'), at('new:2'), at('new:3')]);
    expect(await deadlines.count()).toBe(1);
    const isNew = (key: Buffer) => key.toString().startsWith('new');
    await deadlines.bringBack(0, (key) => !isNew(key));
    expect(await deadlines.count()).toBe(1);
    // Set again meanwhile.
    await deadlines.put([until('new:2', 99)]);
    await deadlines.bringBack(0, isNew);
    expect(await deadlines.find([at('new:1'), at('new:2')])).toEqual([NOW_MS + 5, NOW_MS + 99]);
    expect(await deadlines.overdue(0, NOW_MS + 50, 9)).toHaveLength(2);
  });

  it('forgets what was set aside long ago', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5), until('b', 9)]);
    await deadlines.setAside([at('a'), at('b')]);
    await deadlines.forgetAside(0, NOW_MS + 5);
    await deadlines.bringBack(0, () => true);
    expect(await deadlines.find([at('a'), at('b')])).toEqual([null, NOW_MS + 9]);
  });

  it('knows for some seconds which expiration of a key was claimed last', async () => {
    await using opened = await open();
    const one = { database: 0, key: Buffer.from('a'), deadlineMs: NOW_MS };
    const nowMs = Date.now();
    const other = { ...one, key: Buffer.from('b') };
    await opened.outbox.enqueue([], [{ ...other, detectedAtMs: nowMs - 30_000 }]);
    await opened.outbox.enqueue([], [{ ...one, detectedAtMs: nowMs - 3_000 }]);
    await opened.outbox.enqueue([], [{ ...one, detectedAtMs: nowMs - 1_000 }]);
    const lately = await opened.deadlines.claimedLately([one, other]);
    expect(lately).toEqual([nowMs - 1_000, null]);
    const third = { ...one, database: 1, key: Buffer.from([0x3a, 0xff, 0x3a]) };
    await opened.outbox.enqueue([], [{ ...third, detectedAtMs: nowMs }]);
    const until = async (untilMs: number) => {
      const batches = opened.deadlines.recentlyClaimed(untilMs);
      const found: string[] = [];
      for await (const keys of batches) found.push(...keys.map(keyId));
      return found.sort();
    };
    expect(await until(nowMs)).toEqual([keyId(one), keyId(third)]);
    expect(await until(nowMs - 1)).toEqual([keyId(one)]);
  });

  it('leaves nothing behind when the last key is gone', async () => {
    await using opened = await open();
    await opened.deadlines.put([until('a', 5)]);
    await opened.deadlines.put([gone('a', 1)]);
    expect(await shared.client.keys(`{${opened.state.prefix}}:1:deadlines:*`)).toEqual([]);
  });
});
