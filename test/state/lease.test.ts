import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Clock, systemClock } from '../../src/clock.js';
import { standbysKey, watchKey } from '../../src/state/format.js';
import { RedisLease } from '../../src/state/lease.js';
import { eventually } from '../support/eventually.js';
import { openState } from '../support/redis-state.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();
const never = new AbortController().signal;
let prefixes = 0;

/** Replicas that may watch. */
async function replicas({
  names,
  clock = systemClock,
}: {
  names: readonly string[];
  clock?: Clock;
}) {
  prefixes += 1;
  const prefix = `lease-${prefixes}`;
  const leases = await Promise.all(
    names.map(async (name) => {
      const opened = await openState(shared.server.port, prefix);
      const lease = new RedisLease(opened.state, name, clock);
      onTestFinished(async () => {
        await lease.stop();
        opened.state.close();
      });
      return Object.assign(lease, { state: opened.state });
    }),
  );
  const holders = () => leases.filter(({ token }) => token !== null);
  return { leases, holders, key: watchKey(prefix), prefix };
}

type Replica = Awaited<ReturnType<typeof replicas>>['leases'][number];

async function holds(lease: Replica | undefined): Promise<string> {
  if (lease === undefined) throw new Error('no such replica');
  lease.want(true);
  lease.start();
  await lease.taken(never);
  return lease.token ?? '';
}

describe('the lease', () => {
  it('is taken at once when nobody holds it, and kept', async () => {
    const { leases, key } = await replicas({ names: ['one'] });
    const token = await holds(leases[0]);
    await sleep(2_500);
    expect(leases[0]?.token).toBe(token);
    expect(await shared.client.get(key)).toBe(token);
  });

  it('is held by one of several', async () => {
    const { leases, holders } = await replicas({ names: ['one', 'other', 'third'] });
    for (const lease of leases) {
      lease.want(true);
      lease.start();
    }
    await eventually('held', () => holders().length === 1);
    await sleep(1_000);
    expect(holders()).toHaveLength(1);
  });

  it('is not sought by a replica that could not capture', async () => {
    const { leases } = await replicas({ names: ['deaf'] });
    leases[0]?.start();
    await sleep(700);
    expect(leases[0]?.token).toBeNull();
  });

  it('passes on at once when its holder stops, or can capture no longer', async () => {
    const { leases } = await replicas({ names: ['one', 'other', 'third'] });
    const [one, other, third] = leases;
    await holds(one);
    other?.want(true);
    other?.start();
    one?.want(false);
    const askedAtMs = Date.now();
    await other?.taken(never);
    expect(Date.now() - askedAtMs).toBeLessThan(1_500);
    third?.want(true);
    third?.start();
    await other?.stop();
    await third?.taken(never);
    expect(Date.now() - askedAtMs).toBeLessThan(3_000);
  });

  it('is left to the one that has listened for longest, by those who came later', async () => {
    const { leases, key } = await replicas({ names: ['one', 'first', 'second', 'third'] });
    const [one, first, second, third] = leases;
    await holds(one);
    for (const next of [first, second, third]) {
      next?.want(true);
      next?.start();
      await sleep(450);
    }
    // The holder was alive since all of them came: that does not say what it has heard.
    one?.state.close();
    await shared.client.del(key);
    await Promise.race([first, second, third].map((each) => each?.taken(never)));
    expect([second?.token, third?.token]).toEqual([null, null]);
    expect(first?.token).not.toBeNull();
  });

  it('is taken at once by one that remembers as much as any other', async () => {
    let aheadMs = 0;
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
    const { leases, prefix } = await replicas({ names: ['veteran'], clock });
    const [veteran] = leases;
    veteran?.want(true);
    aheadMs = 20_000;
    const foreverMs = Date.now() - 60_000;
    await shared.client.hset(standbysKey(prefix), 'older', `${foreverMs}:${Date.now()}`);
    const askedAtMs = Date.now();
    veteran?.start();
    await veteran?.taken(never);
    expect(Date.now() - askedAtMs).toBeLessThan(300);
  });

  it('is left to others by one that was away, however short', async () => {
    const { leases, holders } = await replicas({ names: ['one', 'other'] });
    const [one, other] = leases;
    await holds(one);
    other?.want(true);
    other?.start();
    await sleep(600);
    // It has missed what the other may have heard.
    one?.want(false);
    expect(one?.token).toBeNull();
    one?.want(true);
    await other?.taken(never);
    await sleep(700);
    expect(holders()).toEqual([other]);
  });

  it('is taken again at once by one that was away, when there is no other', async () => {
    const { leases } = await replicas({ names: ['one'] });
    const [one] = leases;
    const token = await holds(one);
    const leftAtMs = Date.now();
    one?.want(false);
    one?.want(true);
    await one?.taken(never);
    expect(Date.now() - leftAtMs).toBeLessThan(400);
    expect(one?.token).not.toBe(token);
  });

  it('is not left to one that has died since', async () => {
    const { leases, prefix } = await replicas({ names: ['newcomer'] });
    const nowMs = Date.now();
    await shared.client.hset(standbysKey(prefix), 'dead', `${nowMs - 5_000}:${nowMs}`);
    await holds(leases[0]);
    expect(Date.now() - nowMs).toBeGreaterThanOrEqual(900);
    expect(Date.now() - nowMs).toBeLessThan(2_000);
    expect(await shared.client.exists(standbysKey(prefix))).toBe(0);
  });

  it('passes on within three seconds when its holder dies, under another token', async () => {
    const { leases } = await replicas({ names: ['one', 'other'] });
    const [one, other] = leases;
    const token = await holds(one);
    other?.want(true);
    other?.start();
    one?.state.close();
    const diedAtMs = Date.now();
    await other?.taken(never);
    expect(Date.now() - diedAtMs).toBeLessThan(3_000);
    expect(other?.token).not.toBe(token);
  });

  it('is taken as soon as the time of a holder that died is over, not at the next look', async () => {
    const waitsMs: number[] = [];
    const isSoon = () => Math.min(...waitsMs) < 2_400;
    // One calm round tells: the next look would be later in each.
    while (waitsMs.length < 3 && !isSoon()) {
      const { leases, key } = await replicas({ names: ['heir'] });
      const setAtMs = Date.now();
      await shared.client.set(key, 'dead:1', 'PX', 2_100);
      await holds(leases[0]);
      waitsMs.push(Date.now() - setAtMs);
    }
    expect(isSoon(), `${waitsMs} ms`).toBe(true);
    expect(Math.min(...waitsMs)).toBeGreaterThanOrEqual(2_100);
  });

  it('is kept by a holder that cannot renew it, until another one holds it', async () => {
    const { leases, key } = await replicas({ names: ['one', 'other'] });
    const [one, other] = leases;
    const token = await holds(one);
    await shared.client.del(key);
    await eventually('taken again', async () => (await shared.client.get(key)) === token);
    await shared.client.set(key, 'other:1', 'PX', 5_000);
    await one?.lost(never);
    expect(one?.token).toBeNull();
    expect(other?.token).toBeNull();
  });
});
