/** What a full Redis still lets the outbox do: all but to store something new. */
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { Presence } from '../../src/outbox/presence.js';
import {
  endpointKeys,
  endpointsKey,
  GROUP,
  quarantineKey,
  replicasKey,
} from '../../src/state/format.js';
import { aDelivery, deadOf, retryAt } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';
import { lettersOf } from './outbox.contract.js';

const never = new AbortController().signal;
const DEAD = deadOf('exhausted');

const shared = sharedRedis();
let prefixes = 0;

const maxmemory = (bytes: number) => shared.client.config('SET', 'maxmemory', bytes);
/** Less than any server uses. */
const fill = () => maxmemory(1);

afterEach(() => maxmemory(0));

async function anOutbox() {
  prefixes += 1;
  const prefix = `full-${prefixes}`;
  const { state, scripts, outbox } = await openState(shared.server.port, prefix);
  onTestFinished(() => state.close());
  const presence = (replica: string) =>
    new Presence({
      ...{ state, scripts, replica, endpoints: () => ['shop'], clock: systemClock },
      onReclaimed: () => undefined,
    });
  const one = outbox();
  await one.enqueue(['a', 'b', 'c'].map((id) => aDelivery({ id })));
  return { outbox: one, presence, scripts, prefix, keys: endpointKeys(prefix, 'shop') };
}

describe('a Redis at its maxmemory', () => {
  it('stores nothing new, says why, and nothing of it', async () => {
    const { outbox } = await anOutbox();
    await fill();
    await expect(outbox.enqueue([aDelivery({ id: 'd' })])).rejects.toThrow(
      /has reached maxmemory and rejects writes\. Give it more memory$/,
    );
    expect(await outbox.depth('shop')).toMatchObject({ pending: 3 });
  });

  it('hands out deliveries, the first of all as well', async () => {
    const { outbox } = await anOutbox();
    await fill();
    expect(await outbox.claim('shop', 2, never)).toHaveLength(2);
    expect(await outbox.claim('shop', 2, never)).toHaveLength(1);
  });

  it('hands out what waited for its time', async () => {
    const { outbox } = await anOutbox();
    for (const claimed of await outbox.claim('shop', 3, never)) {
      await outbox.settle(claimed, retryAt(0), 0);
    }
    await fill();
    const claims = await outbox.claim('shop', 3, never);
    expect(claims.map(({ attempt }) => attempt)).toEqual([2, 2, 2]);
  });

  it('settles: done, retry and dead', async () => {
    const { outbox } = await anOutbox();
    const [done, retry, dead] = await outbox.claim('shop', 3, never);
    if (!(done && retry && dead)) throw new Error('not claimed');
    await fill();
    await outbox.settleDone([done]);
    await outbox.settle(retry, retryAt(9e12), 1);
    await outbox.settle(dead, DEAD, 1);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 1, deadLetters: 1 });
    // A void claim, as well.
    await outbox.settleDone([done]);
    await outbox.settle(retry, retryAt(0), 0);
    await outbox.settle(dead, DEAD, 0);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 1, deadLetters: 1 });
  });

  it('limits waits', async () => {
    const { outbox, keys, prefix, scripts } = await anOutbox();
    for (const claimed of await outbox.claim('shop', 3, never)) {
      await outbox.settle(claimed, retryAt(0), 0);
    }
    for (const id of ['a', 'b', 'c']) await shared.client.zincrby(keys.waiting, 9e9, `1:${id}`);
    await fill();
    expect(
      await scripts.limitWaits([keys.waiting, keys.waits, quarantineKey(prefix)], ['0', 100, 0]),
    ).toMatchObject({
      1: 3,
    });
    expect(await outbox.claim('shop', 3, never)).toHaveLength(3);
  });

  it('takes claims back that were not attempted', async () => {
    const { outbox } = await anOutbox();
    const claims = await outbox.claim('shop', 3, never);
    await fill();
    for (const claimed of claims) await outbox.release(claimed);
    expect(await outbox.claim('shop', 3, never)).toMatchObject([
      { attempt: 1 },
      { attempt: 1 },
      { attempt: 1 },
    ]);
  });

  it('gives back claims whose replies were lost', async () => {
    const { outbox, keys, scripts } = await anOutbox();
    await outbox.claim('shop', 3, never);
    await fill();
    expect(String(await scripts.releaseUnknown([keys.ready], ['one', '-', 100]))).toBe('');
    expect(await shared.client.xpending(keys.ready, GROUP)).toEqual([0, null, null, null]);
  });

  it('takes signs of life, the first one as well, and hands over what the dead had claimed', async () => {
    const { outbox, presence, prefix } = await anOutbox();
    await outbox.claim('shop', 3, never);
    await shared.client.zrem(replicasKey(prefix), 'one');
    await fill();
    await presence('other').heartbeat();
    await presence('other').heartbeat();
    expect(await shared.client.zscore(replicasKey(prefix), 'other')).not.toBeNull();
    await presence('other').reclaim();
    expect((await outbox.claim('shop', 3, never)).map(({ attempt }) => attempt)).toEqual([2, 2, 2]);
  });

  it('buries what waits for an endpoint that nobody has', async () => {
    const { outbox, scripts, prefix, keys } = await anOutbox();
    const [claimed] = await outbox.claim('shop', 1, never);
    if (claimed) await outbox.settle(claimed, retryAt(9e12), 0);
    await shared.client.zadd(endpointsKey(prefix), 1, 'shop');
    await fill();
    const { ready, deliveries, waiting, throttle, dead, deadOrder, waits } = keys;
    const own = [
      endpointsKey(prefix),
      ready,
      deliveries,
      waiting,
      throttle,
      dead,
      deadOrder,
      waits,
      quarantineKey(prefix),
    ];
    const args = ['shop', 1, 'unknown_endpoint', 2];
    for (const buried of [2, 1, 0]) expect(await scripts.deadLetterUnknown(own, args)).toBe(buried);
    expect(await lettersOf(outbox.dead)).toHaveLength(3);
  });

  it('replays, drops and forgets dead letters', async () => {
    const { outbox } = await anOutbox();
    for (const claimed of await outbox.claim('shop', 3, never)) {
      await outbox.settle(claimed, DEAD, 0);
    }
    await fill();
    expect(await outbox.dead.replay('shop', 'a')).toBe(true);
    expect(await outbox.dead.drop('shop', 'b')).toBe(true);
    expect(await outbox.dead.expire('shop', -1_000)).toBe(1);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 1, deadLetters: 0 });
    expect(await outbox.claim('shop', 9, never)).toMatchObject([
      { delivery: { id: 'a' }, attempt: 1 },
    ]);
  });
});
