/** For each write of the outbox: failed and not stored, and failed but stored (the reply was lost). */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Claimed, Outbox } from '../../src/outbox/outbox.js';
import { endpointKeys, GROUP } from '../../src/state/format.js';
import { aDelivery } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const never = new AbortController().signal;

const shared = sharedRedis();
let prefixes = 0;

/** An outbox whose connection can be broken, and what the server itself holds. */
async function breakable() {
  prefixes += 1;
  const prefix = `faults-${prefixes}`;
  const proxy = await TcpProxy.start(shared.server.port);
  const opened = await openState(proxy.port, prefix);
  const { redis } = opened.state;
  onTestFinished(async () => {
    await opened[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });
  const ready = () => eventually('the connection', () => redis.status === 'ready');
  const outbox: Outbox = opened.outbox();
  const keys = endpointKeys(prefix, 'shop');
  const claimOne = async (): Promise<Claimed> => {
    const [claimed] = await outbox.claim('shop', 1, never);
    if (claimed === undefined) throw new Error('nothing claimed');
    return claimed;
  };
  const atServer = {
    stored: () => shared.client.hlen(keys.deliveries),
    waiting: () => shared.client.zcard(keys.waiting),
    dead: () => shared.client.zcard(keys.deadOrder),
    claimed: async () => {
      const summary = (await shared.client.xpending(keys.ready, GROUP)) as unknown[];
      return Number(summary[0]);
    },
  };
  return {
    outbox,
    claimOne,
    atServer,
    /** The write does not reach the server. */
    async failsNotStored(write: () => Promise<unknown>) {
      proxy.cut(true);
      await expect(write()).rejects.toThrow(/^the state Redis at .* cannot be reached$/);
      proxy.cut(false);
      await ready();
    },
    /** The write reaches the server, which `isStored` shows, and its reply never arrives. */
    async failsStored(write: () => Promise<unknown>, isStored: () => Promise<boolean>) {
      proxy.loseReplies();
      const failed = expect(write()).rejects.toThrow(/^the state Redis at .* cannot be reached$/);
      await eventually('it is stored', isStored);
      proxy.cut(false);
      await failed;
      await ready();
    },
  };
}

describe('enqueue', () => {
  const deliveries = [aDelivery({ id: 'a' }), aDelivery({ id: 'b' })];

  it('that failed and was not stored stores all of them when it is repeated', async () => {
    const { outbox, atServer, failsNotStored } = await breakable();
    await failsNotStored(() => outbox.enqueue(deliveries));
    expect(await atServer.stored()).toBe(0);
    await outbox.enqueue(deliveries);
    expect(await outbox.claim('shop', 9, never)).toHaveLength(2);
  });

  it('that failed but was stored stores nothing twice when it is repeated', async () => {
    const { outbox, atServer, failsStored } = await breakable();
    await failsStored(
      () => outbox.enqueue(deliveries),
      async () => (await atServer.stored()) === 2,
    );
    await outbox.enqueue(deliveries);
    expect(await outbox.claim('shop', 9, never)).toHaveLength(2);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 2, oldestDueForMs: null });
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
