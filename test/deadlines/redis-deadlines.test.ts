import { describe, expect, it } from 'vitest';
import type { CapturedName } from '../../src/deadlines/deadlines.js';
import { RedisDeadlines } from '../../src/deadlines/redis-deadlines.js';
import { FencedError } from '../../src/model/errors.js';
import type { CapturedExpiration } from '../../src/model/vocabulary.js';
import { claimedKey, deadlineKeys, watermarkKey } from '../../src/state/format.js';
import { ALWAYS_HELD } from '../../src/state/lease.js';
import { aCapturedExpiration, aDelivery } from '../support/domain.js';
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
    claim: async (claimed: readonly CapturedExpiration[]) =>
      void (await outbox.enqueue([], claimed)),
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

  it('removes an entry and stores its delivery in one step: both, or neither', async () => {
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

  it('fences a replica that no longer watches', async () => {
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

  it('puts many entries before it removes a later one', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    const keys = Array.from({ length: 700 }, (_, n) => `order:${n}`);
    const put = deadlines.put(keys.map((key) => until(key, 5)));
    await deadlines.remove([at('order:0'), at('order:699')]);
    await put;
    expect(await deadlines.find([at('order:0'), at('order:699')])).toEqual([null, null]);
    expect(await deadlines.count()).toBe(698);
  });

  it('has the last mark before which all is settled, which only the holder of the lease stores', async () => {
    await using opened = await open();
    const { deadlines, state } = opened;
    expect(await deadlines.watermark()).toEqual([]);
    await deadlines.advanceWatermark(['a1.7.1']);
    await deadlines.advanceWatermark(['a1.7.2']);
    expect(await deadlines.watermark()).toEqual(['a1.7.2']);
    const fenced = new RedisDeadlines(state, { token: null, number: 1 }, [0], () => undefined);
    await expect(fenced.advanceWatermark(['a1.7.3'])).rejects.toThrow(FencedError);
    expect(await deadlines.watermark()).toEqual(['a1.7.2']);
  });

  it('accepts no settled mark of a replica of another configuration', async () => {
    await using opened = await open();
    const { deadlines, state } = opened;
    await deadlines.advanceWatermark(['.7.1']);
    const other = new RedisDeadlines(state, { token: '', number: 2 }, [0], () => undefined);
    expect(await other.watermark()).toEqual([]);
    expect(await deadlines.watermark()).toEqual(['.7.1']);
  });

  it('has the captures of relays of version 0.1 until a later mark is settled', async () => {
    await using opened = await open();
    const { deadlines, state } = opened;
    expect(await deadlines.capturedByOlder([at('a')])).toEqual([null]);
    await shared.client.zadd(claimedKey(state.prefix), NOW_MS, '0:a');
    await shared.client.set(watermarkKey(state.prefix), NOW_MS);
    expect(await deadlines.capturedByOlder([at('a'), at('b')])).toEqual([NOW_MS, null]);
    expect(await deadlines.watermark()).toEqual([]);
    expect(await shared.client.get(watermarkKey(state.prefix))).toBe(String(NOW_MS));
    await deadlines.advanceWatermark(['a1.7.1']);
    expect(await deadlines.capturedByOlder([at('a')])).toEqual([null]);
  });

  it('sets keys without a route aside for a replica that has one, and brings them back', async () => {
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

  it('forgets keys that were set aside long ago', async () => {
    await using opened = await open();
    const { deadlines } = opened;
    await deadlines.put([until('a', 5), until('b', 9)]);
    await deadlines.setAside([at('a'), at('b')]);
    await deadlines.forgetAside(0, NOW_MS + 5);
    await deadlines.bringBack(0, () => true);
    expect(await deadlines.find([at('a'), at('b')])).toEqual([null, NOW_MS + 9]);
  });

  it('lists captured expirations for some seconds', async () => {
    await using opened = await open();
    const nowMs = Date.now();
    const one = aCapturedExpiration({ key: Buffer.from('a'), detectedAtMs: nowMs - 1_000 });
    const other = aCapturedExpiration({ key: Buffer.from('b'), detectedAtMs: nowMs - 30_000 });
    const third = aCapturedExpiration({
      ...{ database: 1, key: Buffer.from([0x3a, 0xff, 0x3a]), detectedAtMs: nowMs },
      names: ['=1'],
    });
    for (const claim of [other, one, third]) await opened.outbox.enqueue([], [claim]);
    const found: CapturedName[] = [];
    for await (const batch of opened.deadlines.recentlyCaptured()) found.push(...batch);
    found.sort((a, b) => a.detectedAtMs - b.detectedAtMs);
    expect(found).toEqual([
      { database: 0, key: one.key, name: 'run.1.1+0', detectedAtMs: nowMs - 1_000 },
      { database: 1, key: third.key, name: '=1', detectedAtMs: nowMs },
    ]);
    const asked = [
      { database: 0, key: one.key, name: 'run.1.1+0' },
      { database: 0, key: one.key, name: 'run.1.1+1' },
      { database: 1, key: one.key, name: 'run.1.1+0' },
      { database: 0, key: other.key, name: 'run.1.1+0' },
      { database: 1, key: third.key, name: '=1' },
    ];
    const are = [true, false, false, false, true];
    expect(await opened.deadlines.areCaptured(asked)).toEqual(are);
    // More than are read at once.
    const many = Array.from({ length: 500 }, () => asked).flat();
    expect(await opened.deadlines.areCaptured(many)).toEqual(many.map((_, at) => are[at % 5]));
  });

  it('leaves nothing behind when the last key is gone', async () => {
    await using opened = await open();
    await opened.deadlines.put([until('a', 5)]);
    await opened.deadlines.put([gone('a', 1)]);
    expect(await shared.client.keys(`{${opened.state.prefix}}:1:deadlines:*`)).toEqual([]);
  });
});
