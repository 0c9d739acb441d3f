import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/clock.js';
import { Presence } from '../../src/outbox/presence.js';
import { replicaKey } from '../../src/state/format.js';
import { aDelivery } from '../support/domain.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
let prefixes = 0;

const never = new AbortController().signal;

/** Two replicas of one outbox; `one` has claimed two of three deliveries. */
async function twoReplicas() {
  prefixes += 1;
  const prefix = `test-${prefixes}`;
  const reclaimed: [string, string, number][] = [];
  const opened = await openState(shared.server.port, prefix);
  onTestFinished(() => opened[Symbol.asyncDispose]());
  const replica = (name: string) => ({
    outbox: opened.outbox({ replica: name }),
    presence: new Presence({
      state: opened.state,
      scripts: opened.scripts,
      replica: name,
      endpoints: ['shop', 'never-used'],
      clock: systemClock,
      onReclaimed: (...what) => reclaimed.push(what),
    }),
  });
  const [one, other] = [replica('one'), replica('other')];
  await one.presence.beat();
  await other.presence.beat();
  await one.outbox.enqueue(['a', 'b', 'c'].map((id) => aDelivery({ id })));
  const claims = await one.outbox.claim('shop', 2, never);
  const dies = () => shared.client.del(replicaKey(prefix, 'one'));
  return { one, other, claims, reclaimed, dies, prefix };
}

describe('a replica that lives', () => {
  it('keeps its claims', async () => {
    const { other, reclaimed } = await twoReplicas();
    await other.presence.reclaim();
    expect(reclaimed).toEqual([]);
    const claims = await other.outbox.claim('shop', 9, never);
    expect(claims.map(({ delivery }) => delivery.id)).toEqual(['c']);
  });

  it('has a key that ends with it', async () => {
    const { prefix } = await twoReplicas();
    const lifeMs = await shared.client.pttl(replicaKey(prefix, 'one'));
    expect(lifeMs).toBeGreaterThan(5_000);
    expect(lifeMs).toBeLessThanOrEqual(10_000);
  });
});

describe('what a dead replica had claimed', () => {
  it('is ready again for the others, the attempt counted', async () => {
    const { other, dies, reclaimed } = await twoReplicas();
    await dies();
    await other.presence.reclaim();
    expect(reclaimed).toEqual([['shop', 'one', 2]]);
    const claims = await other.outbox.claim('shop', 9, never);
    expect(claims.map(({ delivery, attempt }) => [delivery.id, attempt])).toEqual([
      ['c', 1],
      ['a', 2],
      ['b', 2],
    ]);
  });

  it('is reclaimed once, and the replica forgotten', async () => {
    const { other, dies, reclaimed } = await twoReplicas();
    await dies();
    await other.presence.reclaim();
    await other.presence.reclaim();
    expect(reclaimed).toHaveLength(1);
    expect((await other.outbox.depth('shop')).pending).toBe(3);
  });

  it.each([
    { kind: 'done' } as const,
    { kind: 'dead', reason: 'exhausted' } as const,
    { kind: 'retry', notBeforeMs: 0 } as const,
  ])('is settled no more by it, should it wake up: $kind', async (disposition) => {
    const { one, other, claims, dies } = await twoReplicas();
    await dies();
    await other.presence.reclaim();
    for (const claimed of claims) await one.outbox.settle(claimed, disposition, { kind: 'none' });
    expect((await other.outbox.depth('shop')).pending).toBe(3);
    expect(await other.outbox.claim('shop', 9, never)).toHaveLength(3);
    expect((await other.outbox.depth('shop')).deadLetters).toBe(0);
  });

  it('is handed back at once by one that says goodbye', async () => {
    const { one, other, reclaimed } = await twoReplicas();
    await one.presence.stop();
    await other.presence.reclaim();
    expect(reclaimed).toEqual([['shop', 'one', 2]]);
  });
});
