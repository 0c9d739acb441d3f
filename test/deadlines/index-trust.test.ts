import { describe, expect, it } from 'vitest';
import { IndexTrust, type TermSession } from '../../src/deadlines/index-trust.js';
import { ALL_SLOTS, type Slots, slotOf } from '../../src/redis/slots.js';
import { at } from './deadlines.contract.js';

const [A, B] = [at('a'), at('b')];

/** The slot of one key. */
const slotsOf = (key: string): Slots => ({
  isAll: false,
  first: slotOf(key),
  has: (slot) => slot === slotOf(key),
});

const session = (barrier: () => Promise<void> = async () => undefined): TermSession => ({
  tellsRemovals: () => true,
  barrier,
});

const never = () => new Promise<void>(() => undefined);

/** Two primaries, the first of which hangs. */
function twoTerms() {
  const trust = new IndexTrust();
  const [hanging, other] = [session(never), session()];
  trust.begin(hanging, slotsOf('a'));
  trust.begin(other, slotsOf('b'));
  return { trust, hanging, other };
}

describe('the index of several primaries', () => {
  it('waits for no other primary than those of the keys', async () => {
    const { trust, other } = twoTerms();
    expect(trust.isCatchingUp(B)).toBe(true);
    trust.catchUp(other);
    expect([A, B].map((key) => trust.isCatchingUp(key))).toEqual([true, false]);
    expect(await trust.caughtUp([B])).toBe(true);
    const isReceived = await trust.barrier([B]);
    expect([A, B].map(isReceived)).toEqual([false, true]);
  });

  it('loses and gains trust for the keys of one primary', () => {
    const { trust, hanging, other } = twoTerms();
    for (const each of [hanging, other]) trust.gain(each, 0);
    trust.lose(A);
    expect([A, B, at('b', 1)].map((key) => trust.tellsRemovals(key))).toEqual([false, true, false]);
  });

  it('knows nothing about the keys of a primary that is away', async () => {
    const { trust, hanging } = twoTerms();
    const waiting = trust.caughtUp([A]);
    trust.end(hanging);
    expect(await waiting).toBe(false);
    expect(await trust.caughtUp([A])).toBe(false);
    expect(trust.isCatchingUp(A)).toBe(true);
    expect(trust.tellsRemovals(A)).toBe(false);
    expect((await trust.barrier([A]))(A)).toBe(false);
  });
});

describe('the index of one primary', () => {
  it('concerns every key', async () => {
    const trust = new IndexTrust();
    const only = session();
    trust.begin(only, ALL_SLOTS);
    trust.catchUp(only);
    trust.gain(only, 0);
    expect(await trust.caughtUp([A, B])).toBe(true);
    expect([A, B].map(await trust.barrier([A]))).toEqual([true, true]);
    expect(trust.tellsRemovals(B)).toBe(true);
  });

  it('has received nothing for certain when the connection fails, or the term ends meanwhile', async () => {
    const trust = new IndexTrust();
    const broken = session(() => Promise.reject(new Error('closed')));
    trust.begin(broken, ALL_SLOTS);
    expect((await trust.barrier([A]))(A)).toBe(false);
    trust.end(broken);
    const ending = session(async () => trust.end(ending));
    trust.begin(ending, ALL_SLOTS);
    expect((await trust.barrier([A]))(A)).toBe(false);
  });
});
