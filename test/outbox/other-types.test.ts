/** A key of the outbox that another client has made one of another type takes no delivery with it. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { endpointKeys, goneKey, replicasKey } from '../../src/state/format.js';
import { aDelivery, deadOf, retryAt } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';
import { lettersOf } from './outbox.contract.js';

const shared = sharedRedis();
const SOON_MS = 5_000;
const RETRY_NOW = retryAt(0);
const DEAD = deadOf('exhausted');
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
  const typeOf = (key: keyof typeof keys) => shared.client.type(keys[key]);
  return { outbox, claim, spoil, typeOf };
}

describe('a delivery', () => {
  it.each(['waiting', 'waits', 'attempts', 'throttle'] as const)(
    'is tried again although "%s" is of another type',
    async (key) => {
      const { outbox, claim, spoil } = await open();
      const claimed = await claim();
      await spoil(key);
      await outbox.settle(claimed, RETRY_NOW, 0);
      expect((await claim()).attempt).toBe(2);
    },
  );

  it.each(['waits', 'throttle', 'replicas'] as const)(
    'that waited is claimed although "%s" is of another type',
    async (key) => {
      const { outbox, claim, spoil } = await open();
      await outbox.settle(await claim(), RETRY_NOW, 0);
      await spoil(key);
      expect((await claim()).attempt).toBe(2);
    },
  );

  it('that was retried is done although "attempts" is of another type', async () => {
    const { outbox, claim, spoil } = await open();
    await outbox.settle(await claim(), RETRY_NOW, 0);
    const claimed = await claim();
    await spoil('attempts');
    await outbox.settleDone([claimed]);
    expect(await outbox.depth('shop')).toMatchObject({ pending: 0 });
  });

  it('that is done at the first attempt leaves "attempts" alone', async () => {
    const { outbox, claim, spoil, typeOf } = await open();
    const claimed = await claim();
    await spoil('attempts');
    await outbox.settleDone([claimed]);
    expect(await typeOf('attempts')).toBe('list');
  });

  it.each(['dead', 'deadOrder', 'attempts', 'throttle', 'gone', 'replicas'] as const)(
    'becomes a dead letter although "%s" is of another type',
    async (key) => {
      const { outbox, claim, spoil } = await open();
      const claimed = await claim();
      await spoil(key);
      await outbox.settle(claimed, { ...DEAD, reason: 'gone' }, 0);
      expect(await lettersOf(outbox.dead)).toMatchObject([
        { reason: 'gone', delivery: aDelivery() },
      ]);
    },
  );

  it.each(['deadOrder', 'deliveries', 'ready', 'throttle', 'attempts'] as const)(
    'is replayed although "%s" is of another type',
    async (key) => {
      const { outbox, claim, spoil } = await open();
      await outbox.settle(await claim(), DEAD, 0);
      await spoil(key);
      expect(await outbox.dead.replay('shop', aDelivery().id)).toBe(true);
      expect((await claim()).delivery).toEqual(aDelivery());
    },
  );
});
