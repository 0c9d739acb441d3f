import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, type TestContext } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { configurationsKey, leaseKey, quarantineKey, watchKey } from '../../src/state/format.js';
import { eventually } from '../support/eventually.js';
import { holds, openReplicas, type ReplicaOptions } from '../support/replicas.js';
import { sharedRedis } from '../support/shared-redis.js';

// The tests run at the same time: each has keys of its own.
const shared = sharedRedis({ emptied: 'once' });
const never = new AbortController().signal;
let prefixes = 0;

async function replicas(context: TestContext, options: ReplicaOptions) {
  prefixes += 1;
  const prefix = `lease-${prefixes}`;
  const leases = await openReplicas(context, shared.server.port, prefix, options);
  const holders = () => leases.filter(({ token }) => token !== null);
  const stored = () => shared.client.hget(leaseKey(prefix), 'token');
  return { leases, holders, stored, prefix };
}

// Alone, since others would make it late.
describe('the lease that nobody else could have', () => {
  it.for<[what: string, written: string[]]>([
    ['a holder that never renewed it', ['HSET', 'lease', 'token', 'dead:1']],
    ['no token of a relay', ['HSET', 'lease', 'token', 'garbage', 'renewals', '1']],
    [
      'numbers that are none',
      ['HSET', 'lease', 'numbers', '1e400', 'number', '-', 'renewed_at', ''],
    ],
    ['a name of a newer configuration', ['HSET', 'configurations', 'a b', '9 a1 0 1']],
    ['a number beyond all others', ['HSET', 'configurations', 'ab', `${'9'.repeat(400)} a1 0 1`]],
    ['a legacy holder without a TTL', ['SET', 'watch', 'older:1']],
    ['a legacy holder for hours', ['SET', 'watch', 'older:1', 'PX', '9000000']],
  ])(
    'is taken although somebody has written %s',
    async ([, [command = '', part, ...words]], context) => {
      prefixes += 1;
      const prefix = `lease-${prefixes}`;
      await shared.client.call(command, `{${prefix}}:1:${part}`, ...words);
      const [one] = await openReplicas(context, shared.server.port, prefix, { names: ['one'] });
      expect(await holds(one)).toMatch(/^one:/);
      expect(one?.number).toBe(1);
    },
  );

  it('is taken soon although somebody has written rows of 20,000 replicas, which no command reads', async (context) => {
    prefixes += 1;
    const prefix = `lease-${prefixes}`;
    const configurations = configurationsKey(prefix);
    const rows = Array.from({ length: 20_000 }, (_, n) => [`r${n}`, '7 a1 0 1']).flat();
    await shared.client.hset(configurations, ...rows);
    const [one] = await openReplicas(context, shared.server.port, prefix, { names: ['one'] });
    expect(await holds(one)).toMatch(/^one:/);
    expect(await shared.client.hkeys(configurations)).toEqual(['one']);
    const [[, fields] = ['', []]] = await shared.client.xrange(quarantineKey(prefix), '-', '+');
    expect(fields).toContain('20000 rows: more than any relay writes');
  });

  it('counts configurations anew where somebody has written the largest number', async (context) => {
    prefixes += 1;
    const prefix = `lease-${prefixes}`;
    await shared.client.hset(leaseKey(prefix), 'numbers', '9'.repeat(15));
    const [one] = await openReplicas(context, shared.server.port, prefix, { names: ['one'] });
    await holds(one);
    await sleep(1_200);
    expect(one?.number).toBe(1);
    expect(await shared.client.exists(quarantineKey(prefix))).toBe(0);
  });

  it.for(['', 'x', '9'.repeat(400)])(
    'keeps a generation where somebody writes "%s"',
    async (text, context) => {
      const { leases, prefix } = await replicas(context, { names: ['one'] });
      const [one] = leases;
      await holds(one);
      const before = one?.generation ?? Number.NaN;
      await shared.client.hset(leaseKey(prefix), 'generation', text);
      await eventually(
        'a look',
        async () => (await shared.client.hget(leaseKey(prefix), 'generation')) !== text,
      );
      await eventually('a new generation', () => (one?.generation ?? 0) > before);
    },
  );

  it('leaves its holder all endpoints, whatever somebody writes into it', async (context) => {
    const { leases, prefix } = await replicas(context, { names: ['one'] });
    const [one] = leases;
    const token = await holds(one);
    const written = { digest: 'ab', endpoints: 'ff shop', number: '9' };
    await shared.client.hset(leaseKey(prefix), written);
    await sleep(1_200);
    expect(one?.delivers('shop')).toBe(true);
    expect(one?.token).toBe(token);
    expect(await shared.client.hget(leaseKey(prefix), 'endpoints')).not.toBe(written.endpoints);
  });

  it('is taken at once by one that remembers as much as any other', async (context) => {
    let aheadMs = 0;
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
    const { leases, prefix } = await replicas(context, { names: ['veteran'], clock });
    const [veteran] = leases;
    veteran?.compete(true);
    aheadMs = 20_000;
    const foreverMs = Date.now() - 60_000;
    await shared.client.hset(configurationsKey(prefix), 'older', `1 a1 ${foreverMs} 9`);
    const askedAtMs = Date.now();
    veteran?.start();
    await veteran?.taken(never);
    expect(Date.now() - askedAtMs).toBeLessThan(300);
  });

  it('is taken again at once by one that was away, when there is no other', async (context) => {
    const { leases } = await replicas(context, { names: ['one'] });
    const [one] = leases;
    const token = await holds(one);
    const leftAtMs = Date.now();
    one?.withdraw();
    one?.compete(true);
    await one?.taken(never);
    expect(Date.now() - leftAtMs).toBeLessThan(400);
    expect(one?.token).not.toBe(token);
  });
});

describe.concurrent('the lease', () => {
  it('is taken at once when nobody holds it, and kept', async (context) => {
    const { leases, stored } = await replicas(context, { names: ['one'] });
    const token = await holds(leases[0]);
    await sleep(2_500);
    expect(leases[0]?.token).toBe(token);
    expect(await stored()).toBe(token);
  });

  it('is held by one of several', async (context) => {
    const { leases, holders } = await replicas(context, { names: ['one', 'other', 'third'] });
    for (const lease of leases) {
      lease.compete(true);
      lease.start();
    }
    await eventually('held', () => holders().length === 1);
    await sleep(1_000);
    expect(holders()).toHaveLength(1);
  });

  it('is not sought by a replica that could not capture', async (context) => {
    const { leases } = await replicas(context, { names: ['deaf'] });
    leases[0]?.start();
    await sleep(700);
    expect(leases[0]?.token).toBeNull();
  });

  it('passes on at once when its holder stops, or can capture no longer', async (context) => {
    const { leases } = await replicas(context, { names: ['one', 'other', 'third'] });
    const [one, other, third] = leases;
    await holds(one);
    other?.compete(true);
    other?.start();
    one?.withdraw();
    const askedAtMs = Date.now();
    await other?.taken(never);
    expect(Date.now() - askedAtMs).toBeLessThan(1_500);
    third?.compete(true);
    third?.start();
    await other?.stop();
    await third?.taken(never);
    expect(Date.now() - askedAtMs).toBeLessThan(3_000);
  });

  it('is handed on by a holder that misses a primary, once another one has missed none for a while', async (context) => {
    const { leases } = await replicas(context, { names: ['one', 'other'] });
    const [one, other] = leases;
    await holds(one);
    other?.compete(true);
    other?.start();
    await sleep(3_500);
    const gapAtMs = Date.now();
    one?.compete(false);
    await one?.due(never);
    expect(one?.token).not.toBeNull();
    // Until then the other one may notice the same gap.
    expect(Date.now() - gapAtMs).toBeGreaterThan(2_900);
    expect(Date.now() - gapAtMs).toBeLessThan(5_000);
    one?.withdraw();
    one?.compete(false);
    await other?.taken(never);
  });

  it('is kept by a holder that had no gap, although another replica listens for longer', async (context) => {
    const { leases } = await replicas(context, { names: ['one', 'older'] });
    const [one, older] = leases;
    older?.compete(true);
    await sleep(500);
    // The older one looks only once the lease is taken.
    const token = await holds(one);
    older?.start();
    const due = Promise.race([one?.due(never), sleep(6_000, 'kept')]);
    expect(await due).toBe('kept');
    expect(one?.token).toBe(token);
  });

  it('is kept by a holder with a gap that all replicas had', async (context) => {
    const { leases } = await replicas(context, { names: ['one', 'other'] });
    const [one, other] = leases;
    const token = await holds(one);
    other?.compete(true);
    other?.start();
    await sleep(500);
    one?.compete(true);
    other?.compete(false);
    const due = Promise.race([one?.due(never), sleep(6_000, 'kept')]);
    expect(await due).toBe('kept');
    expect(one?.token).toBe(token);
  });

  it('is left to the one that has listened for longest, by those who came later', async (context) => {
    const { leases, prefix } = await replicas(context, {
      names: ['one', 'first', 'second', 'third'],
    });
    const [one, first, second, third] = leases;
    await holds(one);
    for (const next of [first, second, third]) {
      next?.compete(true);
      next?.start();
      await sleep(450);
    }
    // The holder was alive since all of them started, but may not have received everything.
    one?.state.close();
    await shared.client.hdel(leaseKey(prefix), 'token');
    await shared.client.del(watchKey(prefix));
    await Promise.race([first, second, third].map((each) => each?.taken(never)));
    expect([second?.token, third?.token]).toEqual([null, null]);
    expect(first?.token).not.toBeNull();
  });

  it('is left to others by one that was away, however short', async (context) => {
    const { leases, holders } = await replicas(context, { names: ['one', 'other'] });
    const [one, other] = leases;
    await holds(one);
    other?.compete(true);
    other?.start();
    await sleep(600);
    // It has missed events that the other may have received.
    one?.withdraw();
    expect(one?.token).toBeNull();
    one?.compete(true);
    await other?.taken(never);
    await sleep(700);
    expect(holders()).toEqual([other]);
  });

  it('is not left to one that has died since', async (context) => {
    const { leases, prefix } = await replicas(context, { names: ['newcomer'] });
    const nowMs = Date.now();
    await shared.client.hset(configurationsKey(prefix), 'dead', `1 a1 ${nowMs - 5_000} 9`);
    await holds(leases[0]);
    expect(Date.now() - nowMs).toBeGreaterThanOrEqual(900);
    expect(Date.now() - nowMs).toBeLessThan(2_500);
  });

  it('passes on within three seconds when its holder dies, under another token', async (context) => {
    const { leases } = await replicas(context, { names: ['one', 'other'] });
    const [one, other] = leases;
    const token = await holds(one);
    other?.compete(true);
    other?.start();
    one?.state.close();
    const diedAtMs = Date.now();
    await other?.taken(never);
    expect(Date.now() - diedAtMs).toBeLessThan(3_000);
    expect(other?.token).not.toBe(token);
  });

  it('has a generation that grows each time that it is taken, also after the state was emptied', async (context) => {
    const { leases, prefix } = await replicas(context, { names: ['one', 'two'] });
    const [one, two] = leases;
    const terms: number[] = [];
    for (const lease of leases) lease.start();
    const note = async (lease: (typeof leases)[number] | undefined) => {
      lease?.compete(true);
      await lease?.taken(never);
      terms.push(lease?.generation ?? Number.NaN);
      await sleep(600);
      expect(lease?.generation).toBe(terms.at(-1));
    };
    await note(one);
    one?.withdraw();
    expect(one?.generation).toBeNull();
    await note(two);
    two?.withdraw();
    await sleep(50);
    await shared.client.del(leaseKey(prefix));
    await note(one);
    expect(terms.toSorted((a, b) => a - b)).toEqual(terms);
    expect(new Set(terms).size).toBe(3);
  });

  it('is kept by a holder that cannot renew it, until another one holds it', async (context) => {
    const { leases, stored, prefix } = await replicas(context, { names: ['one', 'other'] });
    const [one, other] = leases;
    const token = await holds(one);
    // A flush.
    await shared.client.del(leaseKey(prefix), watchKey(prefix));
    await eventually('taken again', async () => (await stored()) === token);
    await shared.client.hset(leaseKey(prefix), 'token', 'other:1');
    await one?.lost(never);
    expect(one?.token).toBeNull();
    expect(other?.token).toBeNull();
  });

  it('is not kept by a holder that has not noticed that another one held it, and let it go', async (context) => {
    const { leases, prefix } = await replicas(context, { names: ['one'] });
    const [one] = leases;
    const token = await holds(one);
    const key = leaseKey(prefix);
    await shared.client
      .multi()
      .hset(key, 'token', 'other:1')
      .hincrby(key, 'renewals', 1)
      .hdel(key, 'token')
      .del(watchKey(prefix))
      .exec();
    await one?.lost(never);
    await one?.taken(never);
    expect(one?.token).not.toBe(token);
  });

  it('is held for no longer than its length, whatever the clock of Redis was when it was renewed', async (context) => {
    const { leases, prefix } = await replicas(context, { names: ['heir'] });
    const aheadMs = Date.now() + 3_600_000;
    const left = { token: 'dead:1', renewals: 9, renewed_at: aheadMs, number: 1, numbers: 1 };
    await shared.client.hset(leaseKey(prefix), left);
    const askedAtMs = Date.now();
    await holds(leases[0]);
    expect(Date.now() - askedAtMs).toBeGreaterThanOrEqual(1_400);
    expect(Date.now() - askedAtMs).toBeLessThan(4_000);
  });

  it('is left to a relay of version 0.1 that holds it, and seen by such a relay when it is held', async (context) => {
    const { leases, prefix } = await replicas(context, { names: ['one'] });
    await shared.client.set(watchKey(prefix), 'older:1', 'PX', 2_000);
    const askedAtMs = Date.now();
    const token = await holds(leases[0]);
    expect(Date.now() - askedAtMs).toBeGreaterThanOrEqual(1_900);
    expect(await shared.client.get(watchKey(prefix))).toBe(token);
    await leases[0]?.stop();
    expect(await shared.client.exists(watchKey(prefix))).toBe(0);
  });

  it('has no TTL that an eviction policy could shorten, beside the one for version 0.1', async (context) => {
    const { leases, prefix } = await replicas(context, { names: ['one'] });
    await holds(leases[0]);
    const keys = await shared.client.keys(`{${prefix}}:*`);
    expect(keys).toContain(leaseKey(prefix));
    for (const key of keys) {
      if (key !== watchKey(prefix)) expect([key, await shared.client.pttl(key)]).toEqual([key, -1]);
    }
    // As an eviction would.
    await shared.client.del(watchKey(prefix));
    expect(leases[0]?.token).not.toBeNull();
    await sleep(700);
    expect(await shared.client.exists(watchKey(prefix))).toBe(1);
  });
});

describe.concurrent('the lease, among replicas with different configurations', () => {
  it('goes to the newest one once that has listened for a while, when the holder is through', async (context) => {
    const { leases } = await replicas(context, { names: ['old', 'new@b2'] });
    const [old, newer] = leases;
    await holds(old);
    newer?.compete(true);
    newer?.start();
    const askedAtMs = Date.now();
    await old?.due(never);
    expect(Date.now() - askedAtMs).toBeGreaterThanOrEqual(2_400);
    expect(old?.token).not.toBeNull();
    expect(newer?.standing?.kind).toBe('succeeding');
    old?.withdraw();
    old?.compete(true);
    await newer?.taken(never);
    await eventually('the standing', () => old?.standing?.kind === 'superseded');
    await eventually('the standing', () => newer?.standing?.kind === 'leading');
    expect(old?.delivers('shop')).toBe(false);
    expect([old?.delivers('log'), old?.delivers('gone'), newer?.delivers('shop')]).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('goes back to the older one when the newer one stops, and both know that they are alone', async (context) => {
    const { leases } = await replicas(context, { names: ['old', 'new@b2'] });
    const [old, newer] = leases;
    await holds(newer);
    old?.compete(true);
    old?.start();
    // The configuration that came later is the newer one, whatever its name.
    await newer?.due(never);
    newer?.withdraw();
    newer?.compete(true);
    await old?.taken(never);
    await eventually('the standing', () => newer?.standing?.kind === 'superseded');
    await old?.stop();
    await newer?.taken(never);
    await eventually('the standing', () => newer?.standing?.kind === 'current');
  });

  it('is not asked for by one that cannot capture yet, however new', async (context) => {
    const { leases } = await replicas(context, { names: ['old', 'new@b2'] });
    const [old, newer] = leases;
    const token = await holds(old);
    newer?.start();
    await eventually('leading', () => old?.standing?.kind === 'leading');
    await sleep(4_000);
    expect(old?.token).toBe(token);
    expect(old?.standings).toEqual(['current', 'leading']);
  });

  it('stays where it is when a replica of the older one restarts', async (context) => {
    const { leases } = await replicas(context, { names: ['old', 'new@b2', 'again'] });
    const [old, newer, again] = leases;
    await holds(old);
    newer?.compete(true);
    newer?.start();
    await old?.due(never);
    old?.withdraw();
    await newer?.taken(never);
    const token = newer?.token;
    again?.compete(true);
    again?.start();
    await eventually('superseded', () => again?.standing?.kind === 'superseded');
    await old?.stop();
    await sleep(4_000);
    expect(newer?.token).toBe(token);
  });

  it('goes to a configuration that was away and is back, since it is the newest again', async (context) => {
    const { leases } = await replicas(context, { names: ['old', 'new@b2', 'back'] });
    const [old, newer, back] = leases;
    await holds(old);
    await old?.stop();
    await holds(newer);
    back?.compete(true);
    back?.start();
    await newer?.due(never);
    expect(back?.number).toBe(3);
  });

  it('is taken by a newer one at once when nobody holds it', async (context) => {
    const { leases } = await replicas(context, { names: ['old', 'new@b2'] });
    const [old, newer] = leases;
    await holds(old);
    old?.state.close();
    newer?.compete(true);
    newer?.start();
    const diedAtMs = Date.now();
    await newer?.taken(never);
    expect(Date.now() - diedAtMs).toBeLessThan(3_000);
    await eventually('the standing', () => newer?.standing?.kind === 'current');
  });
});

describe.concurrent('the lease, when a replica reloads another configuration', () => {
  it('stays with a holder that reloads, whose configuration is the newest from then on', async (context) => {
    const { leases, prefix } = await replicas(context, { names: ['one', 'two'] });
    const [one, two] = leases;
    const token = await holds(one);
    two?.compete(true);
    two?.start();
    await eventually('both run', () => two?.number === 1);
    one?.reload('b2');
    expect(one?.number).toBeNull();
    await eventually('the new number', () => one?.number === 2);
    await eventually('the standing', () => two?.standing?.kind === 'superseded');
    await sleep(4_000);
    expect(one?.token).toBe(token);
    expect(await shared.client.hget(leaseKey(prefix), 'digest')).toBe('b2');
    two?.reload('b2');
    await eventually('the standing', () => two?.standing?.kind === 'current');
    expect(two?.number).toBe(2);
    await eventually('the standing', () => one?.standing?.kind === 'current');
    expect(one?.standings).toEqual(['current', 'leading', 'current']);
  });

  it('goes to a standby that reloads first, once the holder is through', async (context) => {
    const { leases } = await replicas(context, { names: ['one', 'two'] });
    const [one, two] = leases;
    await holds(one);
    two?.compete(true);
    two?.start();
    await eventually('both run', () => two?.number === 1);
    two?.reload('b2');
    await one?.due(never);
    one?.withdraw();
    one?.compete(true);
    await two?.taken(never);
    expect(two?.number).toBe(2);
    one?.reload('b2');
    await eventually('the standing', () => one?.standing?.kind === 'current');
  });

  it('has a newer configuration also where it goes back to one that no replica has any more', async (context) => {
    const { leases } = await replicas(context, { names: ['one'] });
    const [one] = leases;
    await holds(one);
    one?.reload('b2');
    await eventually('the new number', () => one?.number === 2);
    one?.reload('a1');
    await eventually('the newest number', () => one?.number === 3);
  });
});
