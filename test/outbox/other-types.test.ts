/** A key of the outbox that another client has made one of another type takes no delivery with it. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { endpointKeys, goneKey, replicasKey } from '../../src/state/format.js';
import { aDelivery } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';
import { lettersOf } from './outbox.contract.js';

const shared = sharedRedis();
const SOON_MS = 5_000;
const NONE = { kind: 'none' } as const;
const FAILING = { kind: 'failing', pauseMs: 0 } as const;
const RETRY_NOW = { kind: 'retry', notBeforeMs: 0 } as const;
const DEAD = { kind: 'dead', reason: 'exhausted', lastOutcome: null } as const;
let prefixes = 0;

async function open() {
  prefixes += 1;
  const prefix = `other-types-${prefixes}`;
  const opened = await openState(shared.server.port, prefix);
  onTestFinished(() => opened[Symbol.asyncDispose]());
  const outbox = opened.outbox();
  await outbox.enqueue([aDelivery()]);
  const claim = async () => {
    const [claimed] = await outbox.claim('shop', 1, AbortSignal.timeout(SOON_MS));
    if (claimed === undefined) throw new Error('nothing was claimed');
    return claimed;
  };
  const keys = {
    ...endpointKeys(prefix, 'shop'),
    gone: goneKey(prefix),
    replicas: replicasKey(prefix),
  };
  const spoil = async (key: keyof typeof keys) => {
    await shared.client.del(keys[key]);
    await shared.client.rpush(keys[key], 'of another client');
  };
  return { outbox, claim, spoil };
}

describe('a delivery', () => {
  it.each(['waiting', 'waits', 'breaker'] as const)(
    'is tried again although "%s" is of another type',
    async (key) => {
      const { outbox, claim, spoil } = await open();
      const claimed = await claim();
      await spoil(key);
      await outbox.settle(claimed, RETRY_NOW, FAILING);
      expect((await claim()).attempt).toBe(2);
    },
  );

  it.each(['waits', 'breaker', 'replicas'] as const)(
    'that waited is claimed although "%s" is of another type',
    async (key) => {
      const { outbox, claim, spoil } = await open();
      await outbox.settle(await claim(), RETRY_NOW, NONE);
      await spoil(key);
      expect((await claim()).attempt).toBe(2);
    },
  );

  it.each(['dead', 'deadOrder', 'breaker', 'gone', 'replicas'] as const)(
    'becomes a dead letter although "%s" is of another type',
    async (key) => {
      const { outbox, claim, spoil } = await open();
      const claimed = await claim();
      await spoil(key);
      await outbox.settle(claimed, { ...DEAD, reason: 'gone' }, FAILING);
      expect(await lettersOf(outbox.dead)).toMatchObject([
        { reason: 'gone', delivery: aDelivery() },
      ]);
    },
  );

  it.each(['deadOrder', 'deliveries', 'ready', 'breaker'] as const)(
    'is replayed although "%s" is of another type',
    async (key) => {
      const { outbox, claim, spoil } = await open();
      await outbox.settle(await claim(), DEAD, NONE);
      await spoil(key);
      expect(await outbox.dead.replay('shop', aDelivery().id)).toBe(true);
      expect((await claim()).delivery).toEqual(aDelivery());
    },
  );

  it('is released although "breaker" is of another type', async () => {
    const { outbox, claim, spoil } = await open();
    const claimed = await claim();
    await spoil('breaker');
    await outbox.release(claimed);
    expect((await claim()).attempt).toBe(1);
  });
});
