/** For each write of the outbox: failed and not stored, and failed but stored (the reply was lost). */
import { describe, expect, it } from 'vitest';
import { FencedError } from '../../src/model/errors.js';
import type { Claimed, Outbox } from '../../src/outbox/outbox.js';
import { endpointKeys, GROUP, leaseKey } from '../../src/state/format.js';
import { openBreakableState } from '../support/breakable-state.js';
import { aDelivery, aFailure, deadOf, retryAt } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { settle } from '../support/settle.js';
import { sharedRedis } from '../support/shared-redis.js';
import { lettersOf } from './outbox.contract.js';

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
  const atServer = {
    stored: () => shared.client.hlen(keys.deliveries),
    ready: () => shared.client.xlen(keys.ready),
    waiting: () => shared.client.zcard(keys.waiting),
    dead: () => shared.client.zcard(keys.deadOrder),
    recorded: async () =>
      JSON.parse(`[${(await shared.client.hget(keys.attempts, 'msg_1')) ?? ''}]`).length,
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
      await elsewhere.settleDone([claimed]);
    }
  };
  const faults = { failsNotStored, failsStored };
  return { outbox, holdUnder, claimOne, atServer, deliverElsewhere, ...faults };
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
    const dead = deadOf('exhausted');
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
    for (const claimed of [known, again]) await outbox.settleDone([claimed]);
    expect(await atServer.stored()).toBe(0);
  });
});

describe.each([
  ['done', { kind: 'done' }, { stored: 0, waiting: 0, dead: 0, recorded: 0 }],
  ['retry', retryAt(9e12), { stored: 1, waiting: 1, dead: 0, recorded: 1 }],
  ['dead', deadOf('exhausted'), { stored: 0, waiting: 0, dead: 1, recorded: 0 }],
] as const)('settle: %s', (_, disposition, after) => {
  const seen = async (atServer: Awaited<ReturnType<typeof breakable>>['atServer']) => ({
    stored: await atServer.stored(),
    waiting: await atServer.waiting(),
    dead: await atServer.dead(),
    recorded: await atServer.recorded(),
  });

  it('that failed and was not stored is stored when it is repeated', async () => {
    const { outbox, claimOne, atServer, failsNotStored } = await breakable();
    await outbox.enqueue([aDelivery()]);
    const claimed = await claimOne();
    await failsNotStored(() => settle(outbox, claimed, disposition));
    expect(await seen(atServer)).toEqual({ stored: 1, waiting: 0, dead: 0, recorded: 0 });
    await settle(outbox, claimed, disposition);
    expect(await seen(atServer)).toEqual(after);
  });

  it('that failed but was stored changes nothing when it is repeated', async () => {
    const { outbox, claimOne, atServer, failsStored } = await breakable();
    await outbox.enqueue([aDelivery()]);
    const claimed = await claimOne();
    await failsStored(
      () => settle(outbox, claimed, disposition),
      async () => (await atServer.claimed()) === 0,
    );
    await settle(outbox, claimed, disposition);
    expect(await seen(atServer)).toEqual(after);
  });
});

describe('the history of a delivery whose retry', () => {
  it.each([
    ['was not stored', false],
    ['was stored', true],
  ])('failed and %s has each attempt once', async (_, isStored) => {
    const { outbox, claimOne, atServer, failsNotStored, failsStored } = await breakable();
    await outbox.enqueue([aDelivery()]);
    const claimed = await claimOne();
    const retry = () => outbox.settle(claimed, retryAt(0), 0);
    if (isStored) await failsStored(retry, async () => (await atServer.claimed()) === 0);
    else await failsNotStored(retry);
    await retry();
    const last = await claimOne();
    const die = () => outbox.settle(last, deadOf('exhausted', aFailure({ outcome: 'dns' })), 0);
    if (isStored) await failsStored(die, async () => (await atServer.claimed()) === 0);
    else await failsNotStored(die);
    await die();
    expect(await lettersOf(outbox.dead)).toMatchObject([
      { attempts: 2, history: [{ outcome: 'HTTP 500' }, { outcome: 'dns' }] },
    ]);
  });
});
