/** For each write of the outbox: failed and not stored, and failed but stored (the reply was lost). */
import { describe, expect, it } from 'vitest';
import { RedisDeadlines } from '../../src/deadlines/redis-deadlines.js';
import { FencedError } from '../../src/model/errors.js';
import type { CapturedExpiration, Delivery } from '../../src/model/vocabulary.js';
import type { Claimed, Outbox } from '../../src/outbox/outbox.js';
import { deadlineKeys, endpointKeys, GROUP, leaseKey } from '../../src/state/format.js';
import { ALWAYS_HELD } from '../../src/state/lease.js';
import { openBreakableState } from '../support/breakable-state.js';
import { aCapturedExpiration, aDelivery } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const never = new AbortController().signal;

const shared = sharedRedis();
let prefixes = 0;

/** An outbox whose connection can be broken, another replica's, and what the server itself holds. */
async function breakable() {
  prefixes += 1;
  const prefix = `faults-${prefixes}`;
  const { opened, failsNotStored, failsStored } = await openBreakableState(shared, prefix);
  const lease = { token: '', delivers: () => true };
  const holdUnder = async (token: string) => {
    lease.token = token;
    await shared.client.hset(leaseKey(prefix), 'token', token);
  };
  await holdUnder('one:1');
  const outbox: Outbox = opened.outbox({ lease });
  const keys = endpointKeys(prefix, 'shop');
  const claimOne = async (): Promise<Claimed> => {
    const [claimed] = await outbox.claim('shop', 1, never);
    if (claimed === undefined) throw new Error('nothing claimed');
    return claimed;
  };
  const { tracked } = deadlineKeys(prefix, 0);
  const deadlines = new RedisDeadlines(opened.state, ALWAYS_HELD, [0], () => undefined);
  const atServer = {
    tracked: () => shared.client.zcard(tracked),
    stored: () => shared.client.hlen(keys.deliveries),
    ready: () => shared.client.xlen(keys.ready),
    waiting: () => shared.client.zcard(keys.waiting),
    dead: () => shared.client.zcard(keys.deadOrder),
    claimed: async () => {
      const summary = (await shared.client.xpending(keys.ready, GROUP)) as unknown[];
      return Number(summary[0]);
    },
  };
  /** Another replica delivers all that is ready. */
  const deliverElsewhere = async () => {
    await using other = await openState(shared.server.port, prefix);
    const elsewhere = other.outbox({ replica: 'two' });
    for (const claimed of await elsewhere.claim('shop', 9, never)) {
      await elsewhere.settle(claimed, { kind: 'done' }, 0);
    }
  };
  /** Another replica takes the lease, and captures. */
  const captureElsewhere = async (
    deliveries: readonly Delivery[],
    claimed: readonly CapturedExpiration[],
  ) => {
    await using other = await openState(shared.server.port, prefix);
    await shared.client.hset(leaseKey(prefix), 'token', 'two:1');
    const heir = { token: 'two:1', delivers: () => true };
    await other.outbox({ replica: 'two', lease: heir }).enqueue(deliveries, claimed);
  };
  const faults = { failsNotStored, failsStored };
  const elsewhere = { deliverElsewhere, captureElsewhere };
  return { prefix, outbox, deadlines, holdUnder, claimOne, atServer, ...elsewhere, ...faults };
}

describe('enqueue', () => {
  const deliveries = [aDelivery({ id: 'a' }), aDelivery({ id: 'b' })];

  it('that failed and was not stored stores all of them when it is repeated', async () => {
    const { outbox, atServer, failsNotStored } = await breakable();
    const batch = outbox.beginBatch('plain');
    await failsNotStored(() => outbox.enqueue(deliveries, [], batch));
    expect(await atServer.stored()).toBe(0);
    await outbox.enqueue(deliveries, [], batch);
    expect(await outbox.claim('shop', 9, never)).toHaveLength(2);
  });

  it('that failed but was stored stores nothing twice when it is repeated', async () => {
    const { outbox, atServer, failsStored } = await breakable();
    const batch = outbox.beginBatch('plain');
    await failsStored(
      () => outbox.enqueue(deliveries, [], batch),
      async () => (await atServer.stored()) === 2,
    );
    await outbox.enqueue(deliveries, [], batch);
    expect(await outbox.claim('shop', 9, never)).toHaveLength(2);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 2, oldestDueForMs: null });
  });

  it('that failed but was stored sends nothing again when it is repeated after the deliveries', async () => {
    const { outbox, atServer, deliverElsewhere, failsStored } = await breakable();
    const batch = outbox.beginBatch('plain');
    await failsStored(
      () => outbox.enqueue(deliveries, [], batch),
      async () => (await atServer.stored()) === 2,
    );
    await deliverElsewhere();
    expect(await atServer.stored()).toBe(0);
    await outbox.enqueue(deliveries, [], batch);
    expect(await atServer.stored()).toBe(0);
    expect(await atServer.ready()).toBe(0);
  });

  it('that failed but was stored does not hide what the other writer stores meanwhile', async () => {
    const { outbox, atServer, deliverElsewhere, failsStored } = await breakable();
    const batch = outbox.beginBatch('plain');
    await failsStored(
      () => outbox.enqueue(deliveries, [], batch),
      async () => (await atServer.stored()) === 2,
    );
    await deliverElsewhere();
    await outbox.enqueue([aDelivery({ id: 'c' })], [], outbox.beginBatch('carrying'));
    await outbox.enqueue(deliveries, [], batch);
    await outbox.enqueue([aDelivery({ id: 'd' })], [], outbox.beginBatch('plain'));
    expect(await atServer.stored()).toBe(2);
  });

  it('is not repeated under another token of the lease', async () => {
    const { outbox, holdUnder, atServer, failsNotStored } = await breakable();
    const batch = outbox.beginBatch('plain');
    await failsNotStored(() => outbox.enqueue(deliveries, [], batch));
    await holdUnder('one:2');
    await expect(outbox.enqueue(deliveries, [], batch)).rejects.toThrow(FencedError);
    expect(await atServer.stored()).toBe(0);
  });
});

describe('enqueue by the next holder of an expiration', () => {
  const key = Buffer.from('order:1');
  const NOW_MS = 1_700_000_000_000;
  const captureOf = (...names: string[]) =>
    aCapturedExpiration({
      key,
      deadlineMs: NOW_MS,
      detectedAtMs: NOW_MS + 5,
      names,
      deliveryIds: ['a', 'b'],
    });
  const deliveries = [aDelivery({ id: 'a' }), aDelivery({ id: 'b' })];
  const until = { database: 0, key, ttl: 'volatile', deadlineMs: NOW_MS, readAtMs: 0 } as const;

  /** The holder dies with the reply of its enqueue; what it stored is delivered. */
  async function captured() {
    const under = await breakable();
    const { outbox, deadlines, atServer, failsStored, deliverElsewhere } = under;
    await deadlines.put([until]);
    const claimed = [captureOf('run.1.1+0')];
    await failsStored(
      () => outbox.enqueue(deliveries, claimed),
      async () => (await atServer.stored()) === 2,
    );
    await deliverElsewhere();
    // The next holder has read the deadline before it took over.
    await shared.client.zadd(deadlineKeys(under.prefix, 0).tracked, NOW_MS, key);
    return under;
  }

  it('stores nothing where the last one did under any of its names, and removes its entry', async () => {
    const { captureElsewhere, atServer } = await captured();
    await captureElsewhere(deliveries, [captureOf('run.2.1-1', 'run.1.1+0')]);
    expect(await atServer.stored()).toBe(0);
    expect(await atServer.ready()).toBe(0);
    expect(await atServer.tracked()).toBe(0);
    // It is known by the other name as well, from now on.
    await captureElsewhere(deliveries, [captureOf('run.2.1-1')]);
    expect(await atServer.stored()).toBe(0);
  });

  it('leaves the entry of the next life of the key alone', async () => {
    const { captureElsewhere, deadlines, atServer } = await captured();
    await deadlines.put([{ ...until, deadlineMs: NOW_MS + 3_000 }]);
    const later = { ...captureOf('run.1.1+0'), deadlineMs: NOW_MS + 3_000 };
    await captureElsewhere(deliveries, [{ ...later, detectedAtMs: NOW_MS + 9_000 }]);
    expect(await atServer.stored()).toBe(0);
    expect(await atServer.tracked()).toBe(1);
  });

  it('stores the other expirations of the batch, and the next one of the key', async () => {
    const { captureElsewhere, atServer } = await captured();
    const next = { ...captureOf('run.1.1+1'), deliveryIds: ['c'] };
    const other = { ...captureOf('run.1.1+0'), key: Buffer.from('order:2'), deliveryIds: ['d'] };
    const more = [aDelivery({ id: 'c' }), aDelivery({ id: 'd' })];
    await captureElsewhere([...deliveries, ...more], [captureOf('run.1.1+0'), next, other]);
    expect(await atServer.stored()).toBe(2);
    expect(await atServer.ready()).toBe(2);
  });
});

describe('release', () => {
  it.each([
    ['was not stored', false],
    ['was stored', true],
  ])('that failed and %s leaves one delivery ready when it is repeated', async (_, isStored) => {
    const { outbox, claimOne, atServer, failsNotStored, failsStored } = await breakable();
    await outbox.enqueue([aDelivery()]);
    const claimed = await claimOne();
    const release = () => outbox.release(claimed);
    if (isStored) await failsStored(release, async () => (await atServer.claimed()) === 0);
    else await failsNotStored(release);
    await outbox.release(claimed);
    expect(await atServer.ready()).toBe(1);
    expect((await claimOne()).attempt).toBe(1);
  });
});

describe.each([
  ['replay', { dead: 0, stored: 1, ready: 1 }],
  ['drop', { dead: 0, stored: 0, ready: 0 }],
] as const)('%s of a dead letter', (step, after) => {
  it.each([
    ['was not stored', false],
    ['was stored', true],
  ])('that failed and %s has its effect once when it is repeated', async (_, isStored) => {
    const { outbox, claimOne, atServer, failsNotStored, failsStored } = await breakable();
    await outbox.enqueue([aDelivery({ id: 'a' })]);
    const dead = { kind: 'dead', reason: 'exhausted', lastOutcome: null } as const;
    await outbox.settle(await claimOne(), dead, 0);
    const write = () => outbox.dead[step]('shop', 'a');
    if (isStored) await failsStored(write, async () => (await atServer.dead()) === 0);
    else await failsNotStored(write);
    expect(await write()).toBe(!isStored);
    expect({
      dead: await atServer.dead(),
      stored: await atServer.stored(),
      ready: await atServer.ready(),
    }).toEqual(after);
  });
});

describe('claim', () => {
  it('that failed and was not made is made when it is repeated', async () => {
    const { outbox, claimOne, failsNotStored } = await breakable();
    await outbox.enqueue([aDelivery()]);
    await failsNotStored(() => outbox.claim('shop', 1, never));
    expect((await claimOne()).attempt).toBe(1);
  });

  it('that failed but was made is given back, and does not count as an attempt', async () => {
    const { outbox, claimOne, atServer, failsStored } = await breakable();
    await outbox.enqueue([aDelivery({ id: 'a' }), aDelivery({ id: 'b' })]);
    const known = await claimOne();
    await failsStored(
      () => outbox.claim('shop', 1, never),
      async () => (await atServer.claimed()) === 2,
    );
    const again = await claimOne();
    expect(again).toMatchObject({ delivery: { id: 'b' }, attempt: 1 });
    for (const claimed of [known, again]) await outbox.settle(claimed, { kind: 'done' }, 0);
    expect(await atServer.stored()).toBe(0);
  });
});

describe.each([
  ['done', { kind: 'done' }, { stored: 0, waiting: 0, dead: 0 }],
  ['retry', { kind: 'retry', notBeforeMs: 9e12 }, { stored: 1, waiting: 1, dead: 0 }],
  [
    'dead',
    { kind: 'dead', reason: 'exhausted', lastOutcome: null },
    { stored: 0, waiting: 0, dead: 1 },
  ],
] as const)('settle: %s', (_, disposition, after) => {
  const seen = async (atServer: Awaited<ReturnType<typeof breakable>>['atServer']) => ({
    stored: await atServer.stored(),
    waiting: await atServer.waiting(),
    dead: await atServer.dead(),
  });

  it('that failed and was not stored is stored when it is repeated', async () => {
    const { outbox, claimOne, atServer, failsNotStored } = await breakable();
    await outbox.enqueue([aDelivery()]);
    const claimed = await claimOne();
    await failsNotStored(() => outbox.settle(claimed, disposition, 0));
    expect(await seen(atServer)).toEqual({ stored: 1, waiting: 0, dead: 0 });
    await outbox.settle(claimed, disposition, 0);
    expect(await seen(atServer)).toEqual(after);
  });

  it('that failed but was stored changes nothing when it is repeated', async () => {
    const { outbox, claimOne, atServer, failsStored } = await breakable();
    await outbox.enqueue([aDelivery()]);
    const claimed = await claimOne();
    await failsStored(
      () => outbox.settle(claimed, disposition, 0),
      async () => (await atServer.claimed()) === 0,
    );
    await outbox.settle(claimed, disposition, 0);
    expect(await seen(atServer)).toEqual(after);
  });
});
