/** What every outbox promises, whatever it is made of: one suite for all of them. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Claimed, Outbox } from '../../src/outbox/outbox.js';
import { aDelivery } from '../support/domain.js';

/** An outbox under test, and the means to move its time. */
export interface OutboxUnderTest {
  readonly outbox: Outbox;
  nowMs(): number;
  advance(ms: number): Promise<void>;
}

const never = new AbortController().signal;

export function describeOutbox(name: string, create: () => Promise<OutboxUnderTest>): void {
  describe(`the outbox contract, kept by ${name}`, () => {
    let under: OutboxUnderTest;
    let outbox: Outbox;

    beforeEach(async () => {
      under = await create();
      outbox = under.outbox;
    });
    afterEach(() => outbox.close());

    const store = (...ids: string[]) => outbox.enqueue(ids.map((id) => aDelivery({ id })));
    const claimOne = async (): Promise<Claimed> => {
      const [claimed] = await outbox.claim('shop', 1, never);
      if (claimed === undefined) throw new Error('nothing claimed');
      return claimed;
    };
    const idsOf = (claims: readonly Claimed[]) => claims.map(({ delivery }) => delivery.id);
    const nothingReady = async () => {
      const giveUp = new AbortController();
      const claim = outbox.claim('shop', 1, giveUp.signal);
      await under.advance(0);
      giveUp.abort();
      return (await claim).length === 0;
    };

    it('gives back exactly what was stored', async () => {
      const delivery = aDelivery({ body: Buffer.from([0, 255, 10, 13]), expiredAtMs: 7 });
      expect(await outbox.enqueue([delivery])).toEqual([]);
      expect((await claimOne()).delivery).toEqual(delivery);
    });

    it('hands out the oldest first, and no more than asked for', async () => {
      await store('a', 'b', 'c');
      expect(idsOf(await outbox.claim('shop', 2, never))).toEqual(['a', 'b']);
      expect(idsOf(await outbox.claim('shop', 2, never))).toEqual(['c']);
    });

    it('keeps endpoints apart', async () => {
      await outbox.enqueue([aDelivery({ id: 'a', endpoint: 'other' }), aDelivery({ id: 'b' })]);
      expect(idsOf(await outbox.claim('shop', 9, never))).toEqual(['b']);
      expect(idsOf(await outbox.claim('other', 9, never))).toEqual(['a']);
    });

    it('stores a repeated enqueue once, whether it is ready or claimed', async () => {
      await store('a');
      await store('a');
      await claimOne();
      await store('a');
      expect(await nothingReady()).toBe(true);
    });

    it('never hands out one delivery to two concurrent claims', async () => {
      const claims = Promise.all([outbox.claim('shop', 1, never), outbox.claim('shop', 1, never)]);
      await store('a');
      await under.advance(0);
      await store('b');
      expect((await claims).flatMap(idsOf).sort()).toEqual(['a', 'b']);
    });

    it('waits in claim until there is something', async () => {
      const claim = outbox.claim('shop', 5, never);
      await under.advance(10);
      await store('a');
      expect(idsOf(await claim)).toEqual(['a']);
    });

    it('ends a waiting claim empty when the signal aborts', async () => {
      const giveUp = new AbortController();
      const claim = outbox.claim('shop', 1, giveUp.signal);
      giveUp.abort();
      expect(await claim).toEqual([]);
    });

    it('forgets a delivery that is done', async () => {
      await store('a');
      await outbox.settle(await claimOne(), { kind: 'done' });
      expect(await outbox.depth('shop')).toEqual({ pending: 0, oldestDueAtMs: null });
      await store('a');
      expect((await claimOne()).attempt).toBe(1);
    });

    it('counts attempts over retries', async () => {
      await store('a');
      for (const attempt of [1, 2, 3]) {
        const claimed = await claimOne();
        expect(claimed.attempt).toBe(attempt);
        await outbox.settle(claimed, { kind: 'retry', notBeforeMs: under.nowMs() });
        await under.advance(1);
      }
    });

    it('holds a retry back until its time, not longer', async () => {
      await store('a');
      await outbox.settle(await claimOne(), { kind: 'retry', notBeforeMs: under.nowMs() + 500 });
      await under.advance(450);
      expect(await nothingReady()).toBe(true);
      await under.advance(60);
      expect(idsOf([await claimOne()])).toEqual(['a']);
    });

    it('wakes a waiting claim when a retry becomes due', async () => {
      await store('a');
      await outbox.settle(await claimOne(), { kind: 'retry', notBeforeMs: under.nowMs() + 100 });
      const claim = outbox.claim('shop', 1, never);
      await under.advance(150);
      expect(idsOf(await claim)).toEqual(['a']);
    });

    it('does not let a retry overtake what became due before it', async () => {
      await store('a');
      await outbox.settle(await claimOne(), { kind: 'retry', notBeforeMs: under.nowMs() + 50 });
      await store('b');
      await under.advance(100);
      expect(idsOf(await outbox.claim('shop', 2, never))).toEqual(['b', 'a']);
    });

    it('makes a released delivery ready again without counting the attempt', async () => {
      await store('a');
      await outbox.release(await claimOne());
      expect((await claimOne()).attempt).toBe(1);
    });

    it('counts what is ready, waiting and claimed as pending', async () => {
      await store('a', 'b', 'c');
      await outbox.settle(await claimOne(), { kind: 'retry', notBeforeMs: under.nowMs() + 9_000 });
      await claimOne();
      expect((await outbox.depth('shop')).pending).toBe(3);
    });

    it('says since when the oldest due delivery waits', async () => {
      const storedAtMs = under.nowMs();
      await store('a');
      await under.advance(100);
      await store('b');
      expect((await outbox.depth('shop')).oldestDueAtMs).toBeGreaterThanOrEqual(storedAtMs);
      expect((await outbox.depth('shop')).oldestDueAtMs).toBeLessThan(storedAtMs + 100);
      await claimOne();
      expect((await outbox.depth('shop')).oldestDueAtMs).toBeGreaterThanOrEqual(storedAtMs + 100);
    });

    it('keeps a dead letter with its id, body, reason and attempts', async () => {
      const delivery = aDelivery({ id: 'a' });
      await outbox.enqueue([delivery]);
      await outbox.settle(await claimOne(), { kind: 'dead', reason: 'exhausted' });
      const [letter] = await outbox.deadLetters('shop');
      expect(letter).toMatchObject({ delivery, reason: 'exhausted', attempts: 1 });
      expect(await outbox.deadLetterCount('shop')).toBe(1);
      expect((await outbox.depth('shop')).pending).toBe(0);
    });

    it('replays a dead letter as if it were new', async () => {
      const delivery = aDelivery({ id: 'a' });
      await outbox.enqueue([delivery]);
      await outbox.settle(await claimOne(), { kind: 'dead', reason: 'gone' });
      expect(await outbox.replay('shop', 'a')).toBe(true);
      expect(await claimOne()).toMatchObject({ delivery, attempt: 1 });
      expect(await outbox.deadLetterCount('shop')).toBe(0);
      expect(await outbox.replay('shop', 'a')).toBe(false);
    });

    it('ends every wait when it is closed, and hands out nothing more', async () => {
      const claim = outbox.claim('shop', 1, never);
      await outbox.close();
      await outbox.close();
      expect(await claim).toEqual([]);
      expect(await outbox.claim('shop', 1, never)).toEqual([]);
    });
  });
}
