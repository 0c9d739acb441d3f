import type { LookupAddress } from 'node:dns';
import { describe, expect, it } from 'vitest';
import { createDnsLookup } from '../../src/delivery/dns.js';
import { ManualClock, settled } from '../support/manual-clock.js';

/** A resolver whose replies a test controls. */
function aLookup() {
  const asked: { hostname: string; answer: (found: LookupAddress[] | Error) => void }[] = [];
  const clock = new ManualClock();
  const lookup = createDnsLookup(
    clock,
    (hostname) =>
      new Promise((resolve, reject) => {
        const answer = (found: LookupAddress[] | Error) =>
          found instanceof Error ? reject(found) : resolve(found);
        asked.push({ hostname, answer });
      }),
  );
  const find = (hostname: string, options: { all?: boolean; family?: number } = { all: true }) =>
    new Promise((resolve, reject) => {
      lookup(hostname, options, (error, address) => (error ? reject(error) : resolve(address)));
    });
  return { asked, clock, find, names: () => asked.map(({ hostname }) => hostname) };
}

const HERE: LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

describe('lookup', () => {
  it('sends one query for a name, even for many connections', async () => {
    const { asked, find } = aLookup();
    const found = Promise.all([find('shop'), find('shop'), find('shop')]);
    asked[0]?.answer(HERE);
    expect(await found).toEqual([HERE, HERE, HERE]);
    expect(asked).toHaveLength(1);
  });

  it('sends a new query for the next connection', async () => {
    const { asked, find } = aLookup();
    const first = find('shop');
    asked[0]?.answer(HERE);
    await first;
    void find('shop');
    expect(asked).toHaveLength(2);
  });

  it('returns one address of the requested family', async () => {
    const { asked, find } = aLookup();
    const found = find('shop', { family: 6 });
    asked[0]?.answer(HERE);
    expect(await found).toBe('::1');
  });

  it('queues lookups of failed names behind each other, and delays no other name', async () => {
    const { asked, find, names } = aLookup();
    for (const name of ['dead-1', 'dead-2']) {
      const failed = expect(find(name)).rejects.toThrow('no such name');
      asked.at(-1)?.answer(new Error('no such name'));
      await failed;
    }
    void find('dead-1').catch(() => undefined);
    void find('dead-2').catch(() => undefined);
    void find('shop');
    await settled();
    expect(names().slice(2).sort()).toEqual(['dead-1', 'shop']);
    asked.find(({ hostname }, at) => at > 1 && hostname === 'dead-1')?.answer(new Error('still'));
    await settled();
    expect(names().slice(2).sort()).toEqual(['dead-1', 'dead-2', 'shop']);
  });

  it('treats a name as slow until a reply is in time', async () => {
    const { asked, clock, find, names } = aLookup();
    const slow = find('slow');
    await clock.advance(1_000);
    void find('dead').catch(() => undefined);
    asked[1]?.answer(new Error('no such name'));
    asked[0]?.answer(HERE);
    await slow;
    void find('slow');
    await settled();
    expect(names()).toEqual(['slow', 'dead', 'slow']);
  });
});
