/** What every outbox promises, whatever it is made of: one suite for all of them. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeadLetter, Disposition } from '../../src/model/vocabulary.js';
import type { Claimed, DeadLetters, Outbox } from '../../src/outbox/outbox.js';
import { HISTORY_MAX } from '../../src/state/format.js';
import { aDelivery, aFailure, deadOf, retryAt } from '../support/domain.js';
import { settle as settleBy } from '../support/settle.js';

/** An outbox under test, and the means to move its time. */
export interface OutboxUnderTest {
  readonly outbox: Outbox;
  /** By its monotonic clock. */
  nowMs(): number;
  advance(ms: number): Promise<void>;
}

const never = new AbortController().signal;

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
    const settle = (claimed: Claimed, disposition: Disposition, retryAfterMs = 0) =>
      settleBy(outbox, claimed, disposition, retryAfterMs);
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
        throttledForMs: 0,
        paused: null,
      });
      await store('a');
      expect((await claimOne()).attempt).toBe(1);
    });

    it('counts attempts over retries', async () => {
      await store('a');
      for (const attempt of [1, 2, 3]) {
        const claimed = await claimOne();
        expect(claimed.attempt).toBe(attempt);
        await settle(claimed, retryAt(under.nowMs()));
        await under.advance(1);
      }
    });

    it('holds a retry back until its time, not longer', async () => {
      await store('a');
      await settle(await claimOne(), retryAt(under.nowMs() + 1_500));
      await under.advance(450);
      expect(await nothingReady()).toBe(true);
      await under.advance(1_060);
      expect(idsOf([await claimOne()])).toEqual(['a']);
    });

    it('wakes a waiting claim when a retry becomes due', async () => {
      await store('a');
      await settle(await claimOne(), retryAt(under.nowMs() + 100));
      const claim = outbox.claim('shop', 1, never);
      await under.advance(150);
      expect(idsOf(await claim)).toEqual(['a']);
    });

    it('does not let a retry overtake what became due before it', async () => {
      await store('a');
      await settle(await claimOne(), retryAt(under.nowMs() + 50));
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
      await settle(await claimOne(), retryAt(under.nowMs() + 9_000));
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
      await settle(await claimOne(), retryAt(under.nowMs() + 50));
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
        await settle(claimed, retryAt(under.nowMs()));
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

    it('lets a fresh delivery wait for one due retry at most, where there is one place', async () => {
      await store(...Array.from({ length: 20 }, (_, n) => `retry-${n}`));
      for (const claimed of await outbox.claim('shop', 20, never)) {
        await settle(claimed, retryAt(under.nowMs()));
      }
      await under.advance(1);
      const claimed: string[] = [];
      for (let n = 0; n < 16; n += 1) {
        await store(`fresh-${n}`);
        claimed.push((await claimOne()).delivery.id);
      }
      const retries = claimed.filter((id) => id.startsWith('retry')).length;
      expect(retries).toBeGreaterThanOrEqual(2);
      expect(retries).toBeLessThanOrEqual(4);
      const text = claimed.map((id) => id.charAt(0)).join('');
      expect(text).not.toContain('rr');
    });

    it('gives all places to due retries when nothing is fresh', async () => {
      await store('a', 'b', 'c', 'd');
      for (const claimed of await outbox.claim('shop', 4, never)) {
        await settle(claimed, retryAt(under.nowMs()));
      }
      await under.advance(1);
      expect(await outbox.claim('shop', 4, never)).toHaveLength(4);
    });

    it('keeps a dead letter with its id, body, reason and attempts', async () => {
      const delivery = aDelivery({ id: 'a' });
      await outbox.enqueue([delivery]);
      await settle(await claimOne(), deadOf('exhausted'));
      const [letter] = await lettersOf(outbox.dead);
      expect(letter).toMatchObject({ delivery, reason: 'exhausted', attempts: 1 });
      expect(await outbox.depth('shop')).toMatchObject({ pending: 0, deadLetters: 1 });
    });

    it('replays a dead letter as if it were new', async () => {
      const delivery = aDelivery({ id: 'a' });
      await outbox.enqueue([delivery]);
      await settle(await claimOne(), deadOf('gone'));
      expect(await outbox.dead.replay('shop', 'a')).toBe(true);
      expect(await claimOne()).toMatchObject({ delivery, attempt: 1 });
      expect((await outbox.depth('shop')).deadLetters).toBe(0);
      expect(await outbox.dead.replay('shop', 'a')).toBe(false);
    });

    it('hands a replayed delivery out as one, also when it was handed back', async () => {
      await store('a');
      const first = await claimOne();
      expect(first).toMatchObject({ attempt: 1, isReplay: false });
      await settle(first, deadOf('exhausted'));
      await outbox.dead.replay('shop', 'a');
      const replayed = await claimOne();
      expect(replayed).toMatchObject({ attempt: 1, isReplay: true });
      await outbox.release(replayed);
      const again = await claimOne();
      expect(again).toMatchObject({ attempt: 1, isReplay: true });
      await settle(again, retryAt(under.nowMs()));
      await under.advance(1);
      expect(await claimOne()).toMatchObject({ attempt: 2, isReplay: false });
    });

    describe('the history of a delivery', () => {
      const failure = (durationMs: number, outcome = 'HTTP 503') =>
        aFailure({ startedMs: under.nowMs() - durationMs, durationMs, outcome });
      const failOnce = async (durationMs: number) => {
        await settle(await claimOne(), retryAt(under.nowMs(), failure(durationMs)));
        await under.advance(1);
      };
      const die = async (last = failure(7, 'timeout')) =>
        settle(await claimOne(), deadOf('exhausted', last));
      const historyOf = async () => (await lettersOf(outbox.dead)).at(-1)?.history;

      it('is kept by its dead letter: the failed attempts, oldest first', async () => {
        await store('a');
        await failOnce(2_000);
        await die();
        const [letter] = await lettersOf(outbox.dead);
        expect(letter?.history).toEqual([
          { startedAtMs: expect.any(Number), durationMs: 2_000, outcome: 'HTTP 503' },
          { startedAtMs: expect.any(Number), durationMs: 7, outcome: 'timeout' },
        ]);
        const [first = 0, last = 0] =
          letter?.history.map(({ startedAtMs }) => letter.diedAtMs - startedAtMs) ?? [];
        expect(first).toBeGreaterThanOrEqual(2_000);
        expect(first).toBeLessThan(4_000);
        expect(last).toBeGreaterThanOrEqual(7);
        expect(last).toBeLessThan(1_000);
      });

      it('is kept for the latest attempts, up to its limit', async () => {
        await store('a');
        for (let n = 0; n < HISTORY_MAX + 2; n += 1) await failOnce(n);
        await die(failure(HISTORY_MAX + 2));
        const durations = Array.from({ length: HISTORY_MAX }, (_, n) => n + 3);
        expect((await historyOf())?.map(({ durationMs }) => durationMs)).toEqual(durations);
      });

      it('has nothing of an attempt that was not made', async () => {
        await store('a');
        await failOnce(1);
        await outbox.release(await claimOne());
        await settle(await claimOne(), deadOf('gone'));
        expect((await historyOf())?.map(({ durationMs }) => durationMs)).toEqual([1]);
      });

      it('begins again with a replay', async () => {
        await store('a');
        await failOnce(1);
        await die();
        await outbox.dead.replay('shop', 'a');
        await die();
        expect(await historyOf()).toMatchObject([{ durationMs: 7 }]);
      });

      it('ends when the delivery is done', async () => {
        await store('a');
        await failOnce(1);
        await settle(await claimOne(), { kind: 'done' });
        await store('a');
        await die();
        expect(await historyOf()).toMatchObject([{ durationMs: 7 }]);
      });
    });

    it('drops a dead letter permanently', async () => {
      await store('a');
      await settle(await claimOne(), deadOf('gone'));
      expect(await outbox.dead.drop('shop', 'a')).toBe(true);
      expect(await lettersOf(outbox.dead)).toEqual([]);
      expect(await outbox.dead.drop('shop', 'a')).toBe(false);
      expect(await outbox.dead.replay('shop', 'a')).toBe(false);
    });

    describe('an endpoint that asks to be sent nothing for a while', () => {
      const LONG_MS = 3_600_000;
      const later = () => retryAt(under.nowMs() + 9_000_000);
      const throttledForMs = async () => (await outbox.depth('shop')).throttledForMs;

      it('is throttled: nothing is handed out for that time, then all of it', async () => {
        await store('a', 'b', 'c');
        await settle(await claimOne(), later(), 1_500);
        expect(await throttledForMs()).toBeGreaterThan(0);
        expect(await throttledForMs()).toBeLessThanOrEqual(1_500);
        await under.advance(400);
        expect(await nothingReady()).toBe(true);
        const claim = outbox.claim('shop', 9, never);
        await under.advance(1_150);
        expect(idsOf(await claim)).toEqual(['b', 'c']);
        expect(await throttledForMs()).toBe(0);
      });

      it('is throttled by a webhook that becomes a dead letter, too', async () => {
        await store('a', 'b');
        const dead = deadOf('exhausted');
        await settle(await claimOne(), dead, LONG_MS);
        expect(await nothingReady()).toBe(true);
      });

      it('is throttled until the latest time that it has asked for', async () => {
        await store('a', 'b', 'c', 'd');
        const [one, other, last] = await outbox.claim('shop', 3, never);
        if (!(one && other && last)) throw new Error('nothing claimed');
        await settle(one, later(), 100);
        await settle(other, later(), LONG_MS);
        await settle(last, later(), 100);
        expect(await throttledForMs()).toBeGreaterThan(LONG_MS - 60_000);
        await under.advance(100);
        expect(await nothingReady()).toBe(true);
      });

      it('is throttled no less by an attempt that says nothing of it', async () => {
        await store('a', 'b', 'c');
        const [one, other] = await outbox.claim('shop', 2, never);
        if (!(one && other)) throw new Error('nothing claimed');
        await settle(one, later(), LONG_MS);
        await settle(other, { kind: 'done' });
        expect(await nothingReady()).toBe(true);
      });

      it('wakes no claim that waits before that is over', async () => {
        await store('a', 'b');
        const [one] = await outbox.claim('shop', 1, never);
        if (!one) throw new Error('nothing claimed');
        await settle(one, later(), 1_000);
        const claim = outbox.claim('shop', 9, never);
        await under.advance(0);
        await store('c');
        await under.advance(1_050);
        expect(idsOf(await claim)).toEqual(['b', 'c']);
      });

      it('holds up no other endpoint', async () => {
        await store('a');
        await settle(await claimOne(), later(), LONG_MS);
        await outbox.enqueue([aDelivery({ endpoint: 'other' })]);
        expect(await outbox.claim('other', 1, never)).toHaveLength(1);
      });

      it('is throttled no longer once one of its dead letters is replayed', async () => {
        await store('dead', 'a', 'b');
        await settle(await claimOne(), deadOf('exhausted'));
        await settle(await claimOne(), later(), LONG_MS);
        expect(await outbox.dead.replay('shop', 'dead')).toBe(true);
        expect(await throttledForMs()).toBe(0);
        expect(idsOf(await outbox.claim('shop', 9, never))).toEqual(['b', 'dead']);
      });

      it('is throttled no longer once it is gone', async () => {
        await store('a', 'b', 'c');
        const [one, other] = await outbox.claim('shop', 2, never);
        if (!(one && other)) throw new Error('nothing claimed');
        await settle(one, later(), LONG_MS);
        await settle(other, deadOf('gone'));
        expect(idsOf(await outbox.claim('shop', 9, never))).toEqual(['c']);
      });
    });

    describe('an endpoint that an operator has paused', () => {
      const WHY = { by: 'alice@host', reason: 'the shop is being deployed' };
      const later = () => retryAt(under.nowMs() + 9_000_000);
      const paused = async () => (await outbox.depth('shop')).paused;

      it('gets nothing until it is resumed, and everything is kept', async () => {
        await store('a');
        expect(await outbox.pauses.pause('shop', WHY)).toBe(true);
        expect(await nothingReady()).toBe(true);
        await store('b');
        const claim = outbox.claim('shop', 9, never);
        await under.advance(1_000);
        expect(await outbox.depth('shop')).toMatchObject({ pending: 2, throttledForMs: 0 });
        expect(await outbox.pauses.resume('shop')).toBe(true);
        await under.advance(300);
        expect(idsOf(await claim)).toEqual(['a', 'b']);
        expect(await paused()).toBe(null);
      });

      it('tells who has paused it, why and when; the first one counts', async () => {
        expect(await paused()).toBe(null);
        await outbox.pauses.pause('shop', WHY);
        const first = await paused();
        expect(first).toMatchObject(WHY);
        await under.advance(50);
        expect(await outbox.pauses.pause('shop', { by: 'bob', reason: null })).toBe(false);
        expect(await paused()).toEqual(first);
        await outbox.pauses.resume('shop');
        expect(await outbox.pauses.resume('shop')).toBe(false);
        await outbox.pauses.pause('shop', { by: 'bob', reason: null });
        expect(await paused()).toMatchObject({ by: 'bob', reason: null });
        expect((await paused())?.sinceMs).toBeGreaterThan(first?.sinceMs ?? Infinity);
      });

      it('ends its attempts in flight as usual', async () => {
        await store('a', 'b', 'c');
        const [one, other, last] = await outbox.claim('shop', 3, never);
        if (!(one && other && last)) throw new Error('nothing claimed');
        await outbox.pauses.pause('shop', WHY);
        await settle(one, { kind: 'done' });
        await settle(other, later());
        await settle(last, deadOf('exhausted'));
        expect(await outbox.depth('shop')).toMatchObject({ pending: 1, deadLetters: 1 });
      });

      it('stays paused when it was throttled, when it is gone, and when a dead letter is replayed', async () => {
        await store('dead', 'a', 'b', 'c');
        await settle(await claimOne(), deadOf('exhausted'));
        const [one, other] = await outbox.claim('shop', 2, never);
        if (!(one && other)) throw new Error('nothing claimed');
        await outbox.pauses.pause('shop', WHY);
        await settle(one, later(), 1_000);
        await settle(other, deadOf('gone'));
        expect(await outbox.dead.replay('shop', 'dead')).toBe(true);
        await under.advance(1_100);
        expect(await nothingReady()).toBe(true);
        expect(await paused()).toMatchObject(WHY);
        await outbox.pauses.resume('shop');
        expect(idsOf(await outbox.claim('shop', 9, never))).toEqual(['c', 'dead']);
      });

      it('holds up no other endpoint', async () => {
        await outbox.pauses.pause('shop', WHY);
        await outbox.enqueue([aDelivery({ endpoint: 'other' })]);
        expect(await outbox.claim('other', 1, never)).toHaveLength(1);
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
