/** What every outbox promises, whatever it is made of: one suite for all of them. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BREAKER } from '../../src/outbox/breaker.js';
import type { Claimed, DeadLetters, Outbox } from '../../src/outbox/outbox.js';
import type { DeadLetter, Disposition, EndpointSignal } from '../../src/vocabulary.js';
import { aDelivery } from '../support/domain.js';

/** An outbox under test, and the means to move its time. */
export interface OutboxUnderTest {
  readonly outbox: Outbox;
  /** By its monotonic clock. */
  nowMs(): number;
  advance(ms: number): Promise<void>;
}

const never = new AbortController().signal;

const WORKING: EndpointSignal = { kind: 'working' };
const FAILING: EndpointSignal = { kind: 'failing', pauseMs: 0 };

/** All dead letters of the endpoint shop, oldest first. */
export async function lettersOf(dead: DeadLetters): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for await (const letter of dead.list('shop')) letters.push(letter);
  return letters;
}

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
    const settle = (claimed: Claimed, disposition: Disposition, signal = WORKING) =>
      outbox.settle(claimed, disposition, signal);
    const idsOf = (claims: readonly Claimed[]) => claims.map(({ delivery }) => delivery.id);
    const nothingReady = async () => {
      const giveUp = new AbortController();
      const claim = outbox.claim('shop', 1, giveUp.signal);
      await under.advance(0);
      giveUp.abort();
      return (await claim).length === 0;
    };

    it('gives back exactly what was stored', async () => {
      const delivery = aDelivery({
        method: 'PUT',
        contentType: 'application/x-www-form-urlencoded',
        body: Buffer.from([0, 255, 10, 13]),
        expiredAtMs: 7,
      });
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
      await settle(await claimOne(), { kind: 'done' });
      expect(await outbox.depth('shop')).toEqual({
        pending: 0,
        oldestDueForMs: null,
        deadLetters: 0,
        breaker: 'closed',
      });
      await store('a');
      expect((await claimOne()).attempt).toBe(1);
    });

    it('counts attempts over retries', async () => {
      await store('a');
      for (const attempt of [1, 2, 3]) {
        const claimed = await claimOne();
        expect(claimed.attempt).toBe(attempt);
        await settle(claimed, { kind: 'retry', notBeforeMs: under.nowMs() });
        await under.advance(1);
      }
    });

    it('holds a retry back until its time, not longer', async () => {
      await store('a');
      await settle(await claimOne(), { kind: 'retry', notBeforeMs: under.nowMs() + 500 });
      await under.advance(450);
      expect(await nothingReady()).toBe(true);
      await under.advance(60);
      expect(idsOf([await claimOne()])).toEqual(['a']);
    });

    it('wakes a waiting claim when a retry becomes due', async () => {
      await store('a');
      await settle(await claimOne(), { kind: 'retry', notBeforeMs: under.nowMs() + 100 });
      const claim = outbox.claim('shop', 1, never);
      await under.advance(150);
      expect(idsOf(await claim)).toEqual(['a']);
    });

    it('does not let a retry overtake what became due before it', async () => {
      await store('a');
      await settle(await claimOne(), { kind: 'retry', notBeforeMs: under.nowMs() + 50 });
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
      await settle(await claimOne(), { kind: 'retry', notBeforeMs: under.nowMs() + 9_000 });
      await claimOne();
      expect((await outbox.depth('shop')).pending).toBe(3);
    });

    it('says for how long the oldest due delivery has been due', async () => {
      const dueForMs = async () => (await outbox.depth('shop')).oldestDueForMs;
      await store('a');
      await under.advance(500);
      await store('b');
      expect(await dueForMs()).toBeGreaterThanOrEqual(500);
      await claimOne();
      expect(await dueForMs()).toBeLessThan(500);
    });

    it('counts from when a retry became due, also once it was claimed and handed back', async () => {
      await store('a');
      await settle(await claimOne(), { kind: 'retry', notBeforeMs: under.nowMs() + 50 });
      const dueForMs = async () => (await outbox.depth('shop')).oldestDueForMs;
      expect(await dueForMs()).toBeNull();
      await under.advance(150);
      expect(await dueForMs()).toBeGreaterThanOrEqual(100);
      await outbox.release(await claimOne());
      expect(await dueForMs()).toBeGreaterThanOrEqual(100);
    });

    it('lets neither old retries starve fresh deliveries, nor these them', async () => {
      await store(...Array.from({ length: 40 }, (_, n) => `retry-${n}`));
      for (const claimed of await outbox.claim('shop', 40, never)) {
        await settle(claimed, { kind: 'retry', notBeforeMs: under.nowMs() });
      }
      await under.advance(1);
      const claimed: string[] = [];
      for (let round = 0; round < 12; round += 1) {
        await store(...[0, 1, 2, 3].map((n) => `fresh-${round}-${n}`));
        claimed.push(...idsOf(await outbox.claim('shop', 4, never)));
      }
      expect(claimed).toHaveLength(48);
      const retries = claimed.filter((id) => id.startsWith('retry')).length;
      expect(retries).toBeGreaterThanOrEqual(8);
      expect(retries).toBeLessThanOrEqual(12);
    });

    it('gives all places to due retries when nothing is fresh', async () => {
      await store('a', 'b', 'c', 'd');
      for (const claimed of await outbox.claim('shop', 4, never)) {
        await settle(claimed, { kind: 'retry', notBeforeMs: under.nowMs() });
      }
      await under.advance(1);
      expect(await outbox.claim('shop', 4, never)).toHaveLength(4);
    });

    it('keeps a dead letter with its id, body, reason and attempts', async () => {
      const delivery = aDelivery({ id: 'a' });
      await outbox.enqueue([delivery]);
      await settle(await claimOne(), { kind: 'dead', reason: 'exhausted', lastOutcome: null });
      const [letter] = await lettersOf(outbox.dead);
      expect(letter).toMatchObject({ delivery, reason: 'exhausted', attempts: 1 });
      expect(await outbox.depth('shop')).toMatchObject({ pending: 0, deadLetters: 1 });
    });

    it('replays a dead letter as if it were new', async () => {
      const delivery = aDelivery({ id: 'a' });
      await outbox.enqueue([delivery]);
      await settle(await claimOne(), { kind: 'dead', reason: 'gone', lastOutcome: null });
      expect(await outbox.dead.replay('shop', 'a')).toBe(true);
      expect(await claimOne()).toMatchObject({ delivery, attempt: 1 });
      expect((await outbox.depth('shop')).deadLetters).toBe(0);
      expect(await outbox.dead.replay('shop', 'a')).toBe(false);
    });

    it('hands a replayed delivery out as one, also when it was handed back', async () => {
      await store('a');
      const first = await claimOne();
      expect(first).toMatchObject({ attempt: 1, isReplay: false });
      await settle(first, { kind: 'dead', reason: 'exhausted', lastOutcome: null });
      await outbox.dead.replay('shop', 'a');
      const replayed = await claimOne();
      expect(replayed).toMatchObject({ attempt: 1, isReplay: true });
      await outbox.release(replayed);
      const again = await claimOne();
      expect(again).toMatchObject({ attempt: 1, isReplay: true });
      await settle(again, { kind: 'retry', notBeforeMs: under.nowMs() });
      await under.advance(1);
      expect(await claimOne()).toMatchObject({ attempt: 2, isReplay: false });
    });

    it('drops a dead letter for ever', async () => {
      await store('a');
      await settle(await claimOne(), { kind: 'dead', reason: 'gone', lastOutcome: null });
      expect(await outbox.dead.drop('shop', 'a')).toBe(true);
      expect(await lettersOf(outbox.dead)).toEqual([]);
      expect(await outbox.dead.drop('shop', 'a')).toBe(false);
      expect(await outbox.dead.replay('shop', 'a')).toBe(false);
    });

    describe('the circuit breaker', () => {
      const PAUSE_MS = BREAKER.pauseFirstMs;
      const later = () => ({ kind: 'retry', notBeforeMs: under.nowMs() + 9_000_000 }) as const;
      const fail = async (signal = FAILING) => settle(await claimOne(), later(), signal);
      const breaker = async () => (await outbox.depth('shop')).breaker;
      /** Six deliveries are stored, the first five of which failed. */
      const open = async () => {
        await store('a', 'b', 'c', 'd', 'e', 'f', 'g');
        for (let n = 1; n < BREAKER.failuresToOpen; n += 1) expect(await fail()).toBeNull();
        return fail();
      };

      it('is opened by a run of failures: nothing is handed out during the pause', async () => {
        expect(await open()).toEqual({ kind: 'opened', pauseMs: PAUSE_MS });
        expect(await breaker()).toBe('open');
        expect(await nothingReady()).toBe(true);
        expect((await outbox.depth('shop')).pending).toBe(7);
      });

      it('stays closed when one of the run was answered', async () => {
        await store('a', 'b', 'c', 'd', 'e', 'f', 'g');
        for (let n = 1; n < BREAKER.failuresToOpen; n += 1) await fail();
        expect(await settle(await claimOne(), { kind: 'done' })).toBeNull();
        expect(await fail()).toBeNull();
        expect(await breaker()).toBe('closed');
      });

      it('takes no notice of an attempt that says nothing', async () => {
        await store('a', 'b', 'c', 'd', 'e', 'f', 'g');
        for (let n = 1; n < BREAKER.failuresToOpen; n += 1) await fail();
        expect(await fail({ kind: 'none' })).toBeNull();
        expect(await breaker()).toBe('closed');
        expect(await fail()).toMatchObject({ kind: 'opened' });
      });

      it('is closed by a replay: who sends a dead letter again has mended the endpoint', async () => {
        await store('dead');
        await settle(await claimOne(), { kind: 'dead', reason: 'gone', lastOutcome: null });
        await open();
        expect(await outbox.dead.replay('shop', 'dead')).toBe(true);
        expect(await breaker()).toBe('closed');
        expect(idsOf(await outbox.claim('shop', 9, never))).toEqual(
          expect.arrayContaining(['g', 'dead']),
        );
      });

      it('keeps endpoints apart', async () => {
        await open();
        await outbox.enqueue([aDelivery({ endpoint: 'other' })]);
        expect(await outbox.claim('other', 1, never)).toHaveLength(1);
      });

      it('probes with one delivery at a time after the pause, and closes when it is answered', async () => {
        await open();
        const claim = outbox.claim('shop', 9, never);
        await under.advance(PAUSE_MS);
        const [probe] = await claim;
        expect(await breaker()).toBe('half_open');
        expect(await nothingReady()).toBe(true);
        if (probe === undefined) throw new Error('no probe');
        expect(await settle(probe, { kind: 'done' })).toEqual({ kind: 'closed' });
        expect(await breaker()).toBe('closed');
        expect(idsOf(await outbox.claim('shop', 9, never))).toEqual(['g']);
      });

      it('makes the next pause twice as long when the probe fails', async () => {
        await open();
        await under.advance(PAUSE_MS);
        expect(await fail()).toEqual({ kind: 'opened', pauseMs: 2 * PAUSE_MS });
        await under.advance(PAUSE_MS);
        expect(await nothingReady()).toBe(true);
      });

      it('is not opened again by an attempt that began before the pause', async () => {
        await store('a', 'b', 'c', 'd', 'e', 'f', 'g');
        const [last, ...claims] = await outbox.claim('shop', BREAKER.failuresToOpen + 1, never);
        for (const claimed of claims) await settle(claimed, later(), FAILING);
        expect(await breaker()).toBe('open');
        if (last !== undefined) expect(await settle(last, later(), FAILING)).toBeNull();
        await under.advance(PAUSE_MS);
        expect(await breaker()).toBe('half_open');
      });

      it('lets another delivery probe when the first one is handed back', async () => {
        await open();
        await under.advance(PAUSE_MS);
        await outbox.release(await claimOne());
        expect(idsOf(await outbox.claim('shop', 9, never))).toEqual(['g']);
      });

      it('is not closed by what was claimed before the pause, however it was answered', async () => {
        await store('a', 'b', 'c');
        const [one, other] = await outbox.claim('shop', 2, never);
        if (one === undefined || other === undefined) throw new Error('nothing claimed');
        await settle(one, later(), { kind: 'failing', pauseMs: 3_600_000 });
        expect(await settle(other, { kind: 'done' })).toBeNull();
        expect(await breaker()).toBe('open');
        expect(await nothingReady()).toBe(true);
      });

      it('is opened at once by an endpoint that asks for a pause, for as long', async () => {
        await store('a', 'b');
        const asked: EndpointSignal = { kind: 'failing', pauseMs: 3_600_000 };
        expect(await fail(asked)).toEqual({ kind: 'opened', pauseMs: 3_600_000 });
        expect(await nothingReady()).toBe(true);
      });

      it('holds the longest pause that was asked for', async () => {
        await store('a', 'b', 'c');
        const [one, other] = await outbox.claim('shop', 2, never);
        if (one === undefined || other === undefined) throw new Error('nothing claimed');
        await settle(one, later(), { kind: 'failing', pauseMs: 1 });
        await settle(other, later(), { kind: 'failing', pauseMs: 3_600_000 });
        await under.advance(PAUSE_MS);
        expect(await breaker()).toBe('open');
      });
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
