import { describe, expect, it } from 'vitest';
import { RedisDeadlines } from '../../src/deadlines/redis-deadlines.js';
import { FencedError } from '../../src/model/errors.js';
import { leaseKey, valueKeys } from '../../src/state/format.js';
import { ALWAYS_HELD } from '../../src/state/lease.js';
import { RedisValues } from '../../src/values/redis-values.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';
import { describeValues, due, NOW_MS, texts, worth } from './values.contract.js';

const shared = sharedRedis();
let prefixes = 0;

async function open() {
  prefixes += 1;
  const opened = await openState(shared.server.port, `values-${prefixes}`);
  return {
    values: new RedisValues(opened.state, ALWAYS_HELD),
    state: opened.state,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

describeValues('values in Redis', open);

describe('values in Redis', () => {
  const right = {
    deadline_ms: NOW_MS + 5,
    bytes: 1,
    read_at_ms: NOW_MS,
    base64: null,
    omitted: null,
  };
  it.each([
    'garbage',
    '',
    '[]',
    JSON.stringify({ ...right }),
    JSON.stringify({ ...right, value: 'x', deadline_ms: 9e15 }),
    JSON.stringify({ ...right, value: 'x', bytes: -1 }),
    JSON.stringify({ ...right, value: 'x', omitted: 'why not' }),
    JSON.stringify({ ...right, value: 'x', read_at_ms: 'now' }),
    `${JSON.stringify({ ...right, value: 0 }).replace(':0}', `:${'['.repeat(9_999)}${']'.repeat(9_999)}}`)}`,
  ])('that no relay has written count as none: %.60s', async (text) => {
    await using one = await open();
    const { read } = valueKeys(one.state.prefix, 0);
    await one.values.keep([worth('x', due('a', 5)), worth('y', due('b', 5))]);
    await shared.client.hset(read, 'a', text);
    expect(await texts(one.values, due('a', 5), due('b', 5))).toEqual([null, 'y']);
    expect(await shared.client.hexists(read, 'a')).toBe(0);
    expect(await one.values.findMissing([due('a', 5)])).toHaveLength(1);
    expect(await one.state.quarantine.depth()).toMatchObject({ entries: 1, last: { key: read } });
  });

  it('without a deadline in the index are pruned, too', async () => {
    await using one = await open();
    const { read, deadlines } = valueKeys(one.state.prefix, 0);
    for (const score of ['-inf', '+inf', '1e300']) {
      await shared.client.hset(read, score, 'x');
      await shared.client.zadd(deadlines, score, score);
    }
    await one.values.prune(0, NOW_MS);
    expect(await shared.client.exists(read, deadlines)).toBe(0);
    expect(await one.state.quarantine.depth()).toMatchObject({ entries: 2 });
  });

  it('are the same for every replica', async () => {
    await using one = await open();
    await one.values.keep([worth('x', due('a', 5))]);
    expect(await texts(new RedisValues(one.state, ALWAYS_HELD), due('a', 5))).toEqual(['x']);
  });

  it('are written only by the replica that watches', async () => {
    await using one = await open();
    const fenced = new RedisValues(one.state, { token: null });
    const taken = new RedisValues(one.state, { token: 'of another time' });
    await shared.client.hset(leaseKey(one.state.prefix), 'token', 'another');
    for (const values of [fenced, taken]) {
      await expect(values.keep([worth('x', due('a', 5))])).rejects.toThrow(FencedError);
      await expect(values.forget([due('a', 5)])).rejects.toThrow(FencedError);
      await expect(values.prune(0, NOW_MS)).rejects.toThrow(FencedError);
    }
  });

  it('that are old and unknown to the index are pruned, in any number', async () => {
    await using one = await open();
    const { values, state } = one;
    const deadlines = new RedisDeadlines(state, ALWAYS_HELD, [0], () => undefined);
    const old = Array.from({ length: 350 }, (_, n) => due(`old-${n}`, n));
    const isKnown = (n: number) => n % 3 === 0;
    await values.keep([...old, due('young', 1_000)].map((key) => worth('x', key)));
    const known = old.filter((_, n) => isKnown(n));
    await deadlines.put(
      known.map((key) => ({ ...key, ttl: 'volatile' as const, readAtMs: NOW_MS })),
    );
    await deadlines.take(0, NOW_MS + 100, 999);
    await values.prune(0, NOW_MS + 500);
    expect(await texts(values, due('young', 1_000))).toEqual(['x']);
    expect((await texts(values, ...old)).map((text) => text !== null)).toEqual(
      old.map((_, n) => isKnown(n)),
    );
    const { prefix } = state;
    expect(await shared.client.hlen(`{${prefix}}:1:values:0:read`)).toBe(known.length + 1);
  });
});
