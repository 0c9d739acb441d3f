import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import type { Claimed } from '../../src/outbox/outbox.js';
import { endpointKeys, GROUP, goneField, goneKey, replicasKey } from '../../src/state/format.js';
import { aDelivery, deadOf, retryAt } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { ManualClock } from '../support/manual-clock.js';
import { type OutboxOptions, openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';
import { describeOutbox, lettersOf } from './outbox.contract.js';

const shared = sharedRedis();
let prefixes = 0;

async function anOutbox(given: OutboxOptions & { prefix?: string } = {}) {
  prefixes += 1;
  const prefix = given.prefix ?? `test-${prefixes}`;
  const opened = await openState(shared.server.port, prefix);
  onTestFinished(() => opened[Symbol.asyncDispose]());
  return { outbox: opened.outbox(given), prefix, scripts: opened.scripts };
}

describeOutbox('the outbox in Redis', async () => ({
  outbox: (await anOutbox()).outbox,
  nowMs: () => systemClock.monotonicMs(),
  // Redis needs a moment even for what is due now.
  advance: (ms) => sleep(ms + 20),
}));

const never = new AbortController().signal;

const DEAD = deadOf('exhausted');

describe('the outbox in Redis', () => {
  it('leaves nothing behind of a delivery that is done', async () => {
    const { outbox, prefix } = await anOutbox();
    await outbox.enqueue([aDelivery()]);
    const [claimed] = await outbox.claim('shop', 1, never);
    if (claimed) await outbox.settleDone([claimed]);
    const keys = await shared.client.keys(`{${prefix}}:*`);
    const ready = `{${prefix}}:1:outbox:shop:ready`;
    expect(keys.sort()).toEqual([ready, `{${prefix}}:1:replicas`, `{${prefix}}:format`]);
    expect(await shared.client.xlen(ready)).toBe(0);
  });

  it.each([true, false])(
    'leaves nothing behind of deliveries that were retried and are done, also if another claim is lost: %j',
    async (isLost) => {
      const { outbox, prefix } = await anOutbox();
      await outbox.enqueue(['a', 'b'].map((id) => aDelivery({ id })));
      for (const claimed of await outbox.claim('shop', 2, never)) {
        await outbox.settle(claimed, retryAt(0), 0);
      }
      const claims = await outbox.claim('shop', 2, never);
      const { ready, deliveries, attempts } = endpointKeys(prefix, 'shop');
      const [[entry] = ['']] = await shared.client.xrange(ready, '-', '+', 'COUNT', 1);
      if (isLost) await shared.client.multi().xdel(ready, entry).xack(ready, GROUP, entry).exec();
      await outbox.settleDone(claims);
      const left = isLost ? ['a'] : [];
      expect(await shared.client.hkeys(deliveries)).toEqual(left);
      expect(await shared.client.hkeys(attempts)).toEqual(left);
    },
  );

  it('replays a dead letter without the attempts that a relay of version 0.1 has left', async () => {
    const { outbox, prefix } = await anOutbox();
    await outbox.enqueue([aDelivery({ id: 'a' })]);
    const claimOne = async () => (await outbox.claim('shop', 1, never))[0] as Claimed;
    await outbox.settle(await claimOne(), DEAD, 0);
    await shared.client.hset(endpointKeys(prefix, 'shop').attempts, 'a', '[1,2,"dns"]');
    await outbox.dead.replay('shop', 'a');
    await outbox.settle(await claimOne(), DEAD, 0);
    expect((await outbox.dead.find('shop', 'a'))?.history).toEqual([]);
  });

  it('says which living replicas an endpoint has answered 410, and where these are', async () => {
    const { outbox: one, prefix } = await anOutbox();
    const { outbox: other } = await anOutbox({ prefix, replica: 'other' });
    const goneTo = async (outbox: typeof one) => {
      const [claimed] = await outbox.claim('shop', 1, never);
      const gone = deadOf('gone');
      if (claimed) await outbox.settle(claimed, gone, 0);
    };
    await one.enqueue(['a', 'b', 'c'].map((id) => aDelivery({ id })));
    expect(await one.dead.goneEndpoints()).toEqual(new Map());
    await goneTo(one);
    expect(await other.dead.goneEndpoints()).toEqual(new Map([['shop', ['one.example:1']]]));
    // It has stopped: nothing of it counts, and the next to find out clears it away.
    await shared.client.zrem(replicasKey(prefix), 'one');
    expect(await other.dead.goneEndpoints()).toEqual(new Map());
    await goneTo(other);
    expect(await one.dead.goneEndpoints()).toEqual(new Map([['shop', ['other.example:1']]]));
    expect(await shared.client.hkeys(goneKey(prefix))).toEqual([goneField('other', 'shop')]);
  });

  it('is shared: what one replica stores another claims, and only one of them', async () => {
    const { outbox: one, prefix } = await anOutbox();
    const { outbox: other } = await anOutbox({ prefix, replica: 'other' });
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
    const { outbox: one, prefix } = await anOutbox();
    const { outbox: other } = await anOutbox({ prefix, replica: 'other' });
    const claim = other.claim('shop', 1, never);
    await one.enqueue([aDelivery()]);
    expect(await claim).toHaveLength(1);
  });

  it('keeps only the youngest dead letters', async () => {
    const { outbox } = await anOutbox({ deadLettersMax: 2 });
    for (const id of ['a', 'b', 'c']) {
      await outbox.enqueue([aDelivery({ id })]);
      const [claimed] = await outbox.claim('shop', 1, never);
      if (claimed) await outbox.settle(claimed, DEAD, 0);
      await sleep(2);
    }
    const letters = await lettersOf(outbox.dead);
    expect(letters.map(({ delivery }) => delivery.id)).toEqual(['b', 'c']);
  });

  it('keeps all that a gone endpoint leaves behind', async () => {
    const { outbox } = await anOutbox({ deadLettersMax: 2 });
    await outbox.enqueue(['a', 'b', 'c', 'd'].map((id) => aDelivery({ id })));
    for (const claimed of await outbox.claim('shop', 4, never)) {
      await outbox.settle(claimed, deadOf('gone'), 0);
    }
    expect(await outbox.depth('shop')).toMatchObject({ deadLetters: 4 });
  });

  it('gives back a claim that arrived after the connection that sent it was given up', async () => {
    const clock = new ManualClock();
    const { outbox, prefix } = await anOutbox({ clock });
    await outbox.enqueue([aDelivery({ id: 'a' }), aDelivery({ id: 'b' })]);
    const [known] = await outbox.claim('shop', 1, never);
    // What a packet does that comes late: nobody waits for its reply.
    const { ready } = endpointKeys(prefix, 'shop');
    await shared.client.xreadgroup('GROUP', GROUP, 'one', 'COUNT', 1, 'STREAMS', ready, '>');
    let claims: readonly Claimed[] = [];
    void outbox.claim('shop', 1, never).then((found) => {
      claims = found;
    });
    await eventually('it is given back, and claimed', async () => {
      await clock.advance(1_000);
      return claims.length > 0;
    });
    expect(claims.map(({ delivery, attempt }) => [delivery.id, attempt])).toEqual([['b', 1]]);
    expect(known?.delivery.id).toBe('a');
  });

  it('is not held up by a delivery that nobody can read', async () => {
    const { outbox, prefix } = await anOutbox();
    await outbox.enqueue(['a', 'b', 'c'].map((id) => aDelivery({ id })));
    await shared.client.hset(endpointKeys(prefix, 'shop').deliveries, 'b', 'garbage');
    const claims = await outbox.claim('shop', 3, never);
    expect(claims.map(({ delivery }) => delivery.id)).toEqual(['a', 'c']);
  });

  it('is not throttled for longer than the endpoint asked for, whatever was done to the clock', async () => {
    const { outbox, prefix } = await anOutbox();
    await outbox.enqueue([aDelivery()]);
    const { throttle } = endpointKeys(prefix, 'shop');
    await shared.client.hset(throttle, { until: Date.now() + 9e9, length: 30_000 });
    expect(await outbox.claim('shop', 1, never)).toHaveLength(1);
    expect(await shared.client.exists(throttle)).toBe(0);
  });

  it('is throttled in each replica, and after a restart', async () => {
    const { outbox: one, prefix } = await anOutbox();
    const { outbox: other } = await anOutbox({ prefix, replica: 'other' });
    await one.enqueue(['a', 'b'].map((id) => aDelivery({ id })));
    const [claimed] = await one.claim('shop', 1, never);
    const later = retryAt(9e12);
    if (claimed) await one.settle(claimed, later, 1_000);
    const settledAtMs = systemClock.monotonicMs();
    await one.close();
    const { outbox: restarted } = await anOutbox({ prefix, replica: 'restarted' });
    const claims = await Promise.race(
      [other, restarted].map((outbox) => outbox.claim('shop', 1, never)),
    );
    expect(claims.map(({ delivery }) => delivery.id)).toEqual(['b']);
    expect(systemClock.monotonicMs() - settledAtMs).toBeGreaterThan(950);
  });

  it('gives back later what it could not release at the end of a claim', async () => {
    const clock = new ManualClock();
    const { outbox, scripts } = await anOutbox({ clock });
    await outbox.enqueue([aDelivery()]);
    const giveUp = new AbortController();
    const claim = outbox.claim('shop', 1, giveUp.signal);
    const { release } = scripts;
    const failing = () => Promise.reject(new Error('no connection'));
    Object.assign(scripts, { release: failing });
    giveUp.abort();
    await expect(claim).rejects.toThrow('no connection');
    Object.assign(scripts, { release });
    await clock.advance(10_000);
    expect(await outbox.claim('shop', 1, never)).toMatchObject([{ attempt: 1 }]);
  });

  it('claims a second entry of a delivery, with any text in its field `replayed`', async () => {
    const { outbox, prefix } = await anOutbox();
    await outbox.enqueue([aDelivery({ id: 'a' })]);
    const { ready } = endpointKeys(prefix, 'shop');
    const fields = ['id', 'a', 'attempts', 0, 'due', 1, 'replayed', 'b c'];
    await shared.client.xadd(ready, '*', ...fields);
    const claims = await outbox.claim('shop', 2, never);
    expect(claims).toMatchObject([
      { delivery: { id: 'a' }, isReplay: false },
      { delivery: { id: 'a' }, isReplay: true },
    ]);
  });

  it('stores a batch that is larger than an argument may be on this server', async () => {
    await shared.client.config('SET', 'proto-max-bulk-len', '1mb');
    onTestFinished(async () => {
      await shared.client.config('SET', 'proto-max-bulk-len', '512mb');
    });
    const { outbox } = await anOutbox();
    const body = Buffer.alloc(900_000, 'x');
    await outbox.enqueue(['a', 'b'].map((id) => aDelivery({ id, body })));
    const claims = await outbox.claim('shop', 2, never);
    expect(claims.map(({ delivery }) => delivery.body.equals(body))).toEqual([true, true]);
  });

  it('settles as many claims at once as the largest concurrency allows', async () => {
    const { outbox } = await anOutbox();
    const ids = Array.from({ length: 2_047 }, (_, n) => `msg_${n}`);
    await outbox.enqueue(ids.map((id) => aDelivery({ id })));
    const claims = await outbox.claim('shop', 2_047, never);
    await outbox.settleDone(claims);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 0, oldestDueForMs: null });
  });
});
