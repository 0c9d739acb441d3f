/** However much lies in Redis, each script does a bounded part of the work. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { RedisDeadLetters } from '../../src/outbox/redis-dead-letters.js';
import { capturedKey, endpointKeys, GROUP } from '../../src/state/format.js';
import { aDeadLetter, PREFIX, storeDeadLetters } from '../support/dead-letters.js';
import { aCapturedExpiration, aDelivery } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const never = new AbortController().signal;
const NOW_MS = Date.parse('2026-11-22T06:00:00.000Z');

const shared = sharedRedis();

async function anOutbox() {
  const opened = await openState(shared.server.port, PREFIX);
  onTestFinished(() => opened.state.close());
  return opened;
}

describe('after a burst', () => {
  it('the expirations that are remembered are forgotten by and by', async () => {
    const { outbox } = await anOutbox();
    const captured = capturedKey(PREFIX);
    await shared.client.eval(
      `for i = 1, 10000 do redis.call('ZADD', KEYS[1], i, '0:=1:old:' .. i) end`,
      1,
      captured,
    );
    const left: number[] = [];
    for (let n = 0; n < 6; n += 1) {
      const one = aCapturedExpiration({ key: Buffer.from(`order:${n}`), detectedAtMs: NOW_MS });
      await outbox().enqueue([], [one]);
      left.push(await shared.client.zcard(captured));
    }
    expect(left).toEqual([8_001, 6_002, 4_003, 2_004, 5, 6]);
  });

  it('what a replica is said to hold and does not know of is given back, page by page', async () => {
    const { outbox } = await anOutbox();
    const ids = Array.from({ length: 1_200 }, (_, n) => `msg_${n}`);
    await outbox().enqueue(ids.map((id) => aDelivery({ id })));
    // Of this one, nobody remembers what it has claimed.
    expect(await outbox().claim('shop', ids.length, never)).toHaveLength(ids.length);
    const again = await outbox().claim('shop', ids.length, never);
    expect(again.map(({ delivery, attempt }) => [delivery.id, attempt])).toEqual(
      ids.map((id) => [id, 1]),
    );
    const { ready } = endpointKeys(PREFIX, 'shop');
    const [pending] = await shared.client.xpending(ready, GROUP);
    expect(pending).toBe(ids.length);
  });
});

describe('dead letters', () => {
  const idsOf = async (pages: AsyncIterable<readonly { delivery: { id: string } }[]>) => {
    const ids: string[] = [];
    for await (const page of pages) ids.push(...page.map(({ delivery }) => delivery.id));
    return ids;
  };

  async function letters() {
    const { state, scripts } = await anOutbox();
    return new RedisDeadLetters(state, scripts);
  }

  /** Of two endpoints, by turns; three at each millisecond. */
  const MIXED = Array.from({ length: 2_400 }, (_, n) =>
    aDeadLetter({
      agoMs: 10_000 - Math.floor(n / 3),
      delivery: { id: `msg_${String(n).padStart(4, '0')}`, endpoint: n % 2 ? 'shop' : 'audit' },
    }),
  );

  it('come in one order, however they are read', async () => {
    await storeDeadLetters(shared.client, MIXED);
    const dead = await letters();
    const all = await idsOf(dead.pages(['audit', 'shop']));
    const ordered = MIXED.toSorted(
      (one, other) =>
        one.diedAtMs - other.diedAtMs ||
        (one.delivery.endpoint < other.delivery.endpoint ? -1 : 0) ||
        (one.delivery.endpoint > other.delivery.endpoint ? 1 : 0),
    );
    expect(all).toEqual(ordered.map(({ delivery }) => delivery.id));
    const newest = await dead.newest(['audit', 'shop'], 100);
    expect(newest.map(({ delivery }) => delivery.id)).toEqual(all.slice(-100));
    expect([...(await dead.counts(['audit', 'shop']))]).toEqual([
      ['audit', 1_200],
      ['shop', 1_200],
    ]);
  });

  it('that died at one millisecond are all dropped, page by page', async () => {
    const same = Array.from({ length: 2_300 }, (_, n) =>
      aDeadLetter({ delivery: { id: `msg_${n}` } }, NOW_MS),
    );
    await storeDeadLetters(shared.client, same);
    const dead = await letters();
    let dropped = 0;
    for await (const page of dead.pages(['shop'])) {
      for (const { delivery } of page) dropped += (await dead.drop('shop', delivery.id)) ? 1 : 0;
    }
    expect(dropped).toBe(same.length);
  });

  it('that die again while pages are read are not read again', async () => {
    await storeDeadLetters(shared.client, MIXED);
    const dead = await letters();
    const { deadOrder } = endpointKeys(PREFIX, 'shop');
    const read = new Set<string>();
    let count = 0;
    for await (const page of dead.pages(['shop'])) {
      for (const { delivery } of page) {
        read.add(delivery.id);
        count += 1;
        await shared.client.zadd(deadOrder, Date.now() + 60_000, delivery.id);
      }
    }
    expect([count, read.size]).toEqual([1_200, 1_200]);
  });
});
