import { describe, expect, it, onTestFinished } from 'vitest';
import { type Clock, systemClock } from '../../src/lib/clock.js';
import { Presence } from '../../src/outbox/presence.js';
import { isRefusal } from '../../src/redis/refusal.js';
import { endpointKeys, replicasKey } from '../../src/state/format.js';
import { aDelivery, deadOf, retryAt } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { openState } from '../support/redis-state.js';
import { settle } from '../support/settle.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
let prefixes = 0;

const never = new AbortController().signal;

/** Two replicas of one outbox; `one` has claimed two of three deliveries. */
async function twoReplicas(clock: Clock = systemClock) {
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
      endpoints: () => ['shop', 'never-used'],
      clock,
      onReclaimed: (...what) => reclaimed.push(what),
    }),
  });
  const [one, other] = [replica('one'), replica('other')];
  await one.presence.heartbeat();
  await other.presence.heartbeat();
  await one.outbox.enqueue(['a', 'b', 'c'].map((id) => aDelivery({ id })));
  const claims = await one.outbox.claim('shop', 2, never);
  const dies = () => shared.client.zrem(replicasKey(prefix), 'one');
  return { one, other, claims, reclaimed, dies, prefix, scripts: opened.scripts };
}

describe('a replica that lives', () => {
  it('keeps its claims', async () => {
    const { other, reclaimed } = await twoReplicas();
    await other.presence.reclaim();
    expect(reclaimed).toEqual([]);
    const claims = await other.outbox.claim('shop', 9, never);
    expect(claims.map(({ delivery }) => delivery.id)).toEqual(['c']);
  });

  it('has the time of its last heartbeat, which has no TTL', async () => {
    const { prefix } = await twoReplicas();
    const [seconds = 0] = (await shared.client.time()).map(Number);
    const seenAtMs = Number(await shared.client.zscore(replicasKey(prefix), 'one'));
    expect(Math.abs(seconds * 1_000 - seenAtMs)).toBeLessThan(5_000);
    expect(await shared.client.pttl(replicasKey(prefix))).toBe(-1);
  });
});

describe('what another client has claimed', () => {
  it.each([Buffer.from([0xff]), Buffer.from('a b'), Buffer.from('__proto__')])(
    'under the name %s is ready again',
    async (name) => {
      const { other, prefix } = await twoReplicas();
      const { ready } = endpointKeys(prefix, 'shop');
      await shared.client.xreadgroup('GROUP', 'relay', name, 'STREAMS', ready, '>');
      await other.presence.reclaim();
      const claims = await other.outbox.claim('shop', 9, AbortSignal.timeout(5_000));
      expect(claims.map(({ delivery }) => delivery.id)).toEqual(['c']);
    },
  );
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

  it('causes an error, and is not ignored, if the user may not list the consumers of a stream', async () => {
    const { scripts, prefix } = await twoReplicas();
    const { ready } = endpointKeys(prefix, 'shop');
    await shared.client.acl('SETUSER', 'default', '-xinfo');
    onTestFinished(async () => void (await shared.client.acl('SETUSER', 'default', '+xinfo')));
    await expect(scripts.others([ready], ['other'])).rejects.toSatisfy(isRefusal);
  });

  it('is reclaimed once, and the replica forgotten', async () => {
    const { other, dies, reclaimed } = await twoReplicas();
    await dies();
    await other.presence.reclaim();
    await other.presence.reclaim();
    expect(reclaimed).toHaveLength(1);
    expect((await other.outbox.depth('shop')).pending).toBe(3);
  });

  it.each([{ kind: 'done' } as const, deadOf('exhausted'), retryAt(0)])(
    'is settled no more by it, should it wake up: $kind',
    async (disposition) => {
      const { one, other, claims, dies } = await twoReplicas();
      await dies();
      await other.presence.reclaim();
      for (const claimed of claims) await settle(one.outbox, claimed, disposition);
      expect((await other.outbox.depth('shop')).pending).toBe(3);
      expect(await other.outbox.claim('shop', 9, never)).toHaveLength(3);
      expect((await other.outbox.depth('shop')).deadLetters).toBe(0);
    },
  );

  it('is handed back at once by one that says goodbye', async () => {
    const { one, other, reclaimed } = await twoReplicas();
    await one.presence.stop();
    await other.presence.reclaim();
    expect(reclaimed).toEqual([['shop', 'one', 2]]);
  });
});

describe('taking over', () => {
  /** `other` runs, round by round; a round begins so long after the one before. */
  async function running() {
    let nowMs = 0;
    /** Of the two that go on by themselves: signs of life, and taking over. */
    const sleepers: (() => void)[] = [];
    const asleep = () => eventually('the round is over', () => sleepers.length === 2);
    const clock: Clock = {
      ...systemClock,
      monotonicMs: () => nowMs,
      sleep: (_, signal) =>
        new Promise((resolve) => {
          const wake = () => {
            signal?.removeEventListener('abort', wake);
            resolve();
          };
          sleepers.push(wake);
          signal?.addEventListener('abort', wake, { once: true });
        }),
    };
    const replicas = await twoReplicas(clock);
    replicas.other.presence.start();
    onTestFinished(() => replicas.other.presence.stop());
    const round = async (afterMs = 2_500) => {
      await asleep();
      nowMs += afterMs;
      for (const wake of sleepers.splice(0)) wake();
      await asleep();
    };
    return { ...replicas, round };
  }

  it('begins a while after the start', async () => {
    const { dies, round, reclaimed } = await running();
    await dies();
    await round();
    expect(reclaimed).toEqual([]);
    await round();
    expect(reclaimed).toEqual([['shop', 'one', 2]]);
  });

  it('spares one that comes back a little later, after Redis was away and nobody had a key', async () => {
    const { one, dies, round, reclaimed } = await running();
    for (let n = 0; n < 3; n += 1) await round();
    await dies();
    await round(12_000);
    await one.presence.heartbeat();
    for (let n = 0; n < 3; n += 1) await round();
    expect(reclaimed).toEqual([]);
  });

  it('does not spare one that stays away', async () => {
    const { dies, round, reclaimed } = await running();
    for (let n = 0; n < 3; n += 1) await round();
    await dies();
    await round(12_000);
    for (let n = 0; n < 2; n += 1) await round();
    expect(reclaimed).toEqual([['shop', 'one', 2]]);
  });

  const HOUR_MS = 3_600_000;

  it.each([HOUR_MS, -HOUR_MS])(
    'spares one that lives while the clock of Redis is set by %d ms',
    async (stepMs) => {
      const { prefix, round, reclaimed } = await running();
      const beats = async (aheadMs: number) => {
        for (let n = 0; n < 5; n += 1) {
          await shared.client.zadd(replicasKey(prefix), Date.now() + aheadMs + n, 'one');
          await round();
        }
      };
      await beats(0);
      await beats(stepMs);
      await beats(0);
      expect(reclaimed).toEqual([]);
    },
  );

  it.each([0, HOUR_MS, -HOUR_MS])(
    'comes ten seconds after the last sign of life, though that is dated %d ms ahead',
    async (aheadMs) => {
      const { prefix, round, reclaimed } = await running();
      await shared.client.zadd(replicasKey(prefix), Date.now() + aheadMs, 'one');
      for (let n = 0; n < 4; n += 1) await round();
      expect(reclaimed).toEqual([]);
      for (let n = 0; n < 2; n += 1) await round();
      expect(reclaimed).toEqual([['shop', 'one', 2]]);
      expect(await shared.client.zscore(replicasKey(prefix), 'one')).toBeNull();
    },
  );

  it('spares one that gives a sign of life at the last moment', async () => {
    const { prefix, scripts } = await twoReplicas();
    const { ready } = endpointKeys(prefix, 'shop');
    const keys = [ready, replicasKey(prefix)];
    const before = await shared.client.zscore(replicasKey(prefix), 'one');
    await shared.client.zincrby(replicasKey(prefix), 2_500, 'one');
    expect(await scripts.reclaim(keys, ['one', before ?? '', 100])).toBe(0);
    expect(await scripts.forgetReplica([replicasKey(prefix)], ['one', before ?? ''])).toBe(0);
  });
});
