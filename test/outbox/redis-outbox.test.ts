import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { RedisOutbox } from '../../src/outbox/redis-outbox.js';
import { aDelivery } from '../support/domain.js';
import { sharedRedis } from '../support/shared-redis.js';
import { describeOutbox } from './contract.js';

const shared = sharedRedis();
let prefixes = 0;

function anOutbox(given: { prefix?: string; replica?: string; deadLettersMax?: number } = {}) {
  prefixes += 1;
  const prefix = given.prefix ?? `test-${prefixes}`;
  const { replica = 'one', deadLettersMax } = given;
  const outbox = new RedisOutbox({
    redis: shared.client,
    prefix,
    replica,
    clock: systemClock,
    ...(deadLettersMax === undefined ? {} : { deadLettersMax }),
  });
  return { outbox, prefix };
}

describeOutbox('the outbox in Redis', async () => ({
  outbox: anOutbox().outbox,
  nowMs: () => systemClock.nowMs(),
  // Redis needs a moment even for what is due now.
  advance: (ms) => sleep(ms + 20),
}));

const never = new AbortController().signal;

describe('the outbox in Redis', () => {
  it('leaves nothing behind of a delivery that is done', async () => {
    const { outbox, prefix } = anOutbox();
    await outbox.enqueue([aDelivery()]);
    const [claimed] = await outbox.claim('shop', 1, never);
    if (claimed) await outbox.settle(claimed, { kind: 'done' });
    const keys = await shared.client.keys(`{${prefix}}:*`);
    expect(keys.sort()).toEqual([`{${prefix}}:1:outbox:shop:ready`, `{${prefix}}:1:replica:one`]);
    expect(await shared.client.xlen(keys[0] ?? '')).toBe(0);
  });

  it('is shared: what one replica stores another claims, and only one of them', async () => {
    const { outbox: one, prefix } = anOutbox();
    const { outbox: other } = anOutbox({ prefix, replica: 'other' });
    await one.enqueue([aDelivery({ id: 'a' }), aDelivery({ id: 'b' })]);
    const claims = await Promise.all([one.claim('shop', 1, never), other.claim('shop', 1, never)]);
    expect(
      claims
        .flat()
        .map(({ delivery }) => delivery.id)
        .sort(),
    ).toEqual(['a', 'b']);
  });

  it('wakes a claim that waits in another replica', async () => {
    const { outbox: one, prefix } = anOutbox();
    const { outbox: other } = anOutbox({ prefix, replica: 'other' });
    const claim = other.claim('shop', 1, never);
    await one.enqueue([aDelivery()]);
    expect(await claim).toHaveLength(1);
  });

  it('keeps only the youngest dead letters', async () => {
    const { outbox } = anOutbox({ deadLettersMax: 2 });
    for (const id of ['a', 'b', 'c']) {
      await outbox.enqueue([aDelivery({ id })]);
      const [claimed] = await outbox.claim('shop', 1, never);
      if (claimed) await outbox.settle(claimed, { kind: 'dead', reason: 'exhausted' });
      await sleep(2);
    }
    const letters = await outbox.deadLetters('shop');
    expect(letters.map(({ delivery }) => delivery.id)).toEqual(['b', 'c']);
  });

  it('settles many that are done at the same time', async () => {
    const { outbox } = anOutbox();
    const ids = Array.from({ length: 200 }, (_, n) => `msg_${n}`);
    await outbox.enqueue(ids.map((id) => aDelivery({ id })));
    const claims = await outbox.claim('shop', 200, never);
    await Promise.all(claims.map((claimed) => outbox.settle(claimed, { kind: 'done' })));
    expect(await outbox.depth('shop')).toEqual({ pending: 0, oldestDueAtMs: null });
  });
});
